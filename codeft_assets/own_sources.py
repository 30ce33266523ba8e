"""Your own files as sources: a TOML file names them, so that the package need not be edited.

Each ``[[source]]`` has a ``name`` and a ``path``; everything else has a default. The file is the one that
``CODEFT_SOURCES`` names, else ``sources.toml`` under the data root, if there is one. A teacher's exercises are found in
the same way.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codeft_assets.curation.ingest.adapters import exercise
from codeft_assets.curation.ingest.row_shapes import AnyShape
from codeft_assets.curation.quality.thresholds import parse_threshold
from codeft_assets.origins import FileOrigin
from codeft_assets.source import Source

VARIABLE = "CODEFT_SOURCES"
FILE_NAME = "sources.toml"
TAUGHT_VARIABLE, TAUGHT_KEY = "CODEFT_TAUGHT", "exercises/taught"
"""A folder with a teacher's exercises, and the key of the asset that writes one under the data root."""
_REQUIRED = frozenset({"name", "path"})
_COLUMNS = frozenset({"text", "prompt", "response"})
_FACTS = frozenset({"priority", "weight", "think_spans", "max_rows", "id_column", "max_bad_fraction"})
_FIELDS: Mapping[str, type | tuple[type, ...]] = {
    "name": str,
    "path": str,
    "about": str,
    "domain": str,
    "format": str,
    "license": str,
    "homepage": str,
    "priority": int,
    "weight": (int, float),
    "threshold": (int, float, str),
    "natural_languages": list,
    "think_spans": str,
    "max_rows": int,
    "id_column": str,
    "max_bad_fraction": (int, float),
    "notebook_outputs": bool,
    "text": (str, list),
    "prompt": (str, list),
    "response": (str, list),
}


class SourcesFileError(ValueError):
    """The file of your sources is missing or malformed."""


def own_sources() -> list[Source]:
    """Return the sources that the user's file names, none where there is no such file.

    Raises:
        SourcesFileError: it is missing or malformed, or an entry has an unknown field or a wrong value.
    """
    path = _path()
    return read_sources(path) if path else []


def read_sources(path: Path) -> list[Source]:
    """Return the sources of a TOML file.

    Raises:
        SourcesFileError: as ``own_sources``.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SourcesFileError(
            f"{str(path)!r} cannot be read: {error.strerror}; name another one: {VARIABLE}, or sources in codeft.toml"
        ) from error
    except ValueError as error:
        raise SourcesFileError(f"{str(path)!r} is no TOML: {error}; fix that line") from error
    entries = document.get("source", [])
    if not isinstance(entries, list) or set(document) - {"source"}:
        raise SourcesFileError(f"{str(path)!r} has {sorted(document)}; it holds [[source]] entries and nothing else")
    return [_source(entry, path) for entry in entries]


def taught_sources() -> list[Source]:
    """Return the source of a teacher's exercises, where a teacher has written some.

    Raises:
        SourcesFileError: the folder that ``CODEFT_TAUGHT`` names holds none.
    """
    named = os.environ.get(TAUGHT_VARIABLE)
    folder = Path(named) if named else _home() / "files" / TAUGHT_KEY
    path = folder.absolute() / "exercises.jsonl.gz"
    if not path.is_file():
        if named:
            raise SourcesFileError(
                f"{named!r} holds no exercises.jsonl.gz; run python -m codeft_assets.teachers, or unset "
                f"{TAUGHT_VARIABLE}"
            )
        return []
    return [
        Source(
            name="exercises-taught",
            about="An exercise that a model wrote and solved: a function whose examples passed in the sandbox.",
            origin=FileOrigin(path=str(path)),
            adapter=exercise,
            domain="code",
            format="textbook",
            license="its teacher's",
            homepage="https://arxiv.org/abs/2306.11644",
            priority=80,
            weight=6.0,
            has_sample=False,
        )
    ]


def _path() -> Path | None:
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    own = _home() / FILE_NAME
    return own if own.is_file() else None


def _home() -> Path:
    return Path(os.environ.get("CODEFT_HOME") or ".codeft")


def _source(entry: Mapping[str, Any], file: Path) -> Source:
    where = f"{str(file)!r}, source {entry.get('name', '?')!r}"
    if missing := sorted(_REQUIRED - set(entry)):
        raise SourcesFileError(f"{where}: {missing} missing; every [[source]] has a name and a path")
    if unknown := sorted(set(entry) - set(_FIELDS)):
        raise SourcesFileError(f"{where}: unknown fields {unknown}; those that exist are {sorted(_FIELDS)}")
    for name, value in entry.items():
        if not isinstance(value, _FIELDS[name]) or (isinstance(value, bool) and _FIELDS[name] is not bool):
            raise SourcesFileError(f"{where}: {name} = {value!r} is {type(value).__name__}; {_kind(name)} is wanted")
    try:
        return _build(entry, file)
    except ValueError as error:
        raise SourcesFileError(f"{where}: {error}") from error


def _build(entry: Mapping[str, Any], file: Path) -> Source:
    data_format = entry.get("format", "raw")
    names = {name: _names(entry[name]) for name in _COLUMNS & set(entry)}
    facts = {name: entry[name] for name in _FACTS & set(entry)}
    path = _absolute(entry["path"], file)
    return Source(
        name=entry["name"],
        about=entry.get("about", f"A row or a file of {path}."),
        origin=FileOrigin(path=path, named_in=f"source {entry['name']!r} in {str(file)!r}"),
        adapter=AnyShape(
            is_exchange=data_format not in {"raw", "textbook"},
            notebook_outputs=entry.get("notebook_outputs", False),
            **names,
        ),
        domain=entry.get("domain", "code"),
        format=data_format,
        license=entry.get("license", "not stated"),
        homepage=entry.get("homepage", Path(path).as_uri() if path.startswith("/") else path),
        threshold=parse_threshold(str(entry.get("threshold", "none"))),
        natural_languages=tuple(map(str, entry.get("natural_languages", ()))),
        has_sample=False,
        **facts,
    )


def _names(value: str | list[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(map(str, value))


def _absolute(path: str, file: Path) -> str:
    """Return a URL as it is and a path as seen from the folder of the TOML file."""
    return path if "://" in path or "::" in path else str(file.resolve().parent / Path(path).expanduser())


def _kind(name: str) -> str:
    kinds = _FIELDS[name] if isinstance(_FIELDS[name], tuple) else (_FIELDS[name],)
    return " or ".join(kind.__name__ for kind in kinds)  # type: ignore[union-attr]
