"""Prints the entries of requirements.lock, hashes included, of what pip's report on standard input would install.

Torch and what only torch needs are in no lock: which build is right depends on the machine. They are installed apart.
"""

import json
import re
import sys
from pathlib import Path


def locked(plan: str, lock: str) -> str:
    """Return the entries of ``lock`` for the packages of ``plan``, JSON as ``pip install --report`` writes it."""
    names = {_canonical(item["metadata"]["name"]) for item in json.loads(plan)["install"]}
    entries = re.findall(r"^\S.*(?:\n\s.*)*", lock, re.MULTILINE)
    return "".join(f"{entry}\n" for entry in entries if _canonical(entry.split("==")[0]) in names)


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.stdout.write(locked(sys.stdin.read(), Path("requirements.lock").read_text()))
