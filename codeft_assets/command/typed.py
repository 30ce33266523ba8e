"""Commands as a person can type them here: ``make`` only beside the Makefile, ``codeft`` only where PATH has it."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

DEFINITIONS = "codeft_assets.definitions"
_CHECKOUT = Path(__file__).parents[2]


def typed(*words: str) -> str:
    """Return the line that runs ``codeft`` with ``words``, quoted for a shell."""
    installed = Path(sys.executable).with_name("codeft")
    if not installed.is_file():
        return shlex.join([sys.executable, "-m", "codeft_assets.command", *words])
    on_path = shutil.which("codeft") == str(installed)
    return shlex.join(["codeft" if on_path else str(installed), *words])


def typed_asset_list() -> str:
    """Return the line that lists all assets."""
    return typed("dagster", "asset", "list", "-m", DEFINITIONS)


def made(target: str, *words: str) -> str:
    """Return ``make TARGET`` in the folder of codeFT, elsewhere the line that runs ``codeft`` with ``words``."""
    beside_makefile = (_CHECKOUT / "Makefile").is_file() and os.path.samefile(_CHECKOUT, Path.cwd())
    return f"make {target}" if beside_makefile else typed(*words)
