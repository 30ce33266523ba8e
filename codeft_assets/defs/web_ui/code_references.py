"""Links from an asset's page to the code that makes it: the local file, or its page at the git host if there is one."""

from __future__ import annotations

import re
import subprocess
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg

ROOT = Path(__file__).parents[3]
_HOSTS = r"^(?:https://(?:[^@/]*@)?|ssh://git@|git@)((?:github|gitlab)\.com)[/:](.+?)(?:\.git)?/?$"


def with_code_references(assets: Sequence[Any]) -> list[Any]:
    """Return ``assets`` with a reference to their source; as links if the checkout has a remote at a git host."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        local = dg.with_source_code_references(assets)
        url, branch = web_address(_git("config", "--get", "remote.origin.url")), _git("rev-parse", "HEAD")
        if not (url and branch):
            return list(local)
        mapping = dg.AnchorBasedFilePathMapping(local_file_anchor=ROOT, file_anchor_path_in_repository="")
        return list(dg.link_code_references_to_git(local, url, branch, mapping))


def web_address(remote: str) -> str:
    """Return the web page of a remote at GitHub or GitLab, without the user or token in it; empty for any other."""
    found = re.match(_HOSTS, remote)
    return f"https://{found[1]}/{found[2]}" if found else ""


def _git(*words: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)
    except FileNotFoundError:  # images have no git
        return ""
    return done.stdout.strip()
