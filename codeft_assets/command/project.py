"""A project is a folder with ``codeft.toml``: settings for the environment that all programs read.

A variable that is set in the environment wins over the file. Sources of one's own are in ``sources.toml`` beside it.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FILE_NAME = "codeft.toml"
SOURCES_NAME = "sources.toml"
SETTINGS: Mapping[str, str] = {
    "home": "CODEFT_HOME",
    "profile": "CODEFT_PROFILE",
    "recipe": "CODEFT_RECIPE",
    "overrides": "CODEFT_RECIPE_OVERRIDES",
    "workers": "CODEFT_WORKERS",
    "sources": "CODEFT_SOURCES",
    "benchmarks": "CODEFT_BENCHMARKS",
    "own_benchmarks": "CODEFT_OWN_BENCHMARKS",
}
"""Setting -> the variable that it stands for."""
_PATHS = frozenset({"home", "sources", "benchmarks", "own_benchmarks"})
TEMPLATE = """\
# Settings of this project; a variable of the environment (CODEFT_PROFILE, ...) wins over a line here.
# home = ".codeft"          # the data root: tables, models, scores, runs
# profile = "full"          # rows from the Hub; "sample" reads the embedded rows and needs no network
# recipe = "smoke"
# overrides = {max_steps = 300}
# workers = 2
"""
SOURCES_TEMPLATE = """\
# Your own files as sources. Every entry has a name and a path, seen from this folder; see
# docs/add_a_source.md in the repository of codeFT.
# [[source]]
# name = "my-code"
# path = "code"
# threshold = "30%"         # drop the lowest 30 % by educational value; 0.5 is a minimum in 0..1, "none" drops none
# After a change, codeft run '*corpus/ledger' makes what follows from it
# and codeft trace documents/my-code lists what is dropped now.
"""


class ProjectError(ValueError):
    """``codeft.toml`` cannot be read or has a setting that does not exist."""


def find_project(folder: Path) -> Path | None:
    """Return the nearest ``codeft.toml`` in ``folder`` or above it."""
    return next((place / FILE_NAME for place in (folder, *folder.parents) if (place / FILE_NAME).is_file()), None)


def project_environment(file: Path | None, environment: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Return the variables to set, those that are set already left out.

    Raises:
        ProjectError: the file cannot be read, or names a setting that does not exist.
    """
    root = file.parent if file else folder
    found = _read(file) if file else {}
    if file and (root / SOURCES_NAME).is_file():
        found.setdefault("CODEFT_SOURCES", str(root / SOURCES_NAME))
    found.setdefault("CODEFT_HOME", str(root / ".codeft"))
    home = environment.get("CODEFT_HOME") or found["CODEFT_HOME"]
    local = str(root / ".codeft") if "://" in home else os.path.abspath(home)  # Dagster's own files need a folder
    found |= {"CODEFT_HOME": home if "://" in home else local, "DAGSTER_HOME": os.path.join(local, "dagster")}
    # a user's folder that is named as a module, "code" with an __init__.py, must not take that module's place
    found |= {"HF_HUB_DISABLE_TELEMETRY": "1", "PYTHONWARNINGS": "ignore", "PYTHONSAFEPATH": "1"}
    return {name: value for name, value in found.items() if not environment.get(name)}


def _read(file: Path) -> dict[str, str]:
    try:
        settings = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ProjectError(f"{str(file)!r} cannot be read as TOML: {error}; fix it, or delete it") from error
    if unknown := sorted(set(settings) - set(SETTINGS)):
        raise ProjectError(f"{str(file)!r}: unknown settings {unknown}; those that exist are {sorted(SETTINGS)}")
    return {SETTINGS[name]: _text(name, value, file) for name, value in settings.items()}


def _text(name: str, value: Any, file: Path) -> str:
    if name == "overrides":
        if not isinstance(value, dict):
            raise ProjectError(f"{str(file)!r}: overrides = {value!r}; a table is wanted, such as {{max_steps = 300}}")
        return json.dumps({field: _plain(field_value) for field, field_value in value.items()})
    return str(file.parent / Path(value).expanduser()) if name in _PATHS else _plain(value)


def _plain(value: Any) -> str:
    return json.dumps(value) if isinstance(value, bool | list | dict) else str(value)


def create_project(folder: Path) -> list[Path]:
    """Write the two files of a project where they are missing and return those that were written."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {folder / FILE_NAME: TEMPLATE, folder / SOURCES_NAME: SOURCES_TEMPLATE}
    written = [path for path in wanted if not path.exists()]
    for path in written:
        path.write_text(wanted[path], encoding="utf-8")
    return written
