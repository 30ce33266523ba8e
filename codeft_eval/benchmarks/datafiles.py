"""A benchmark's data: a file of this package, of the folders CODEFT_BENCHMARKS, or of the Hub at a pinned revision.

Rows are checked against the hash and the number that the entry records, wherever they came from. Reading downloads
nothing; ``fetch`` does, once, into the Hub's own cache, and honors HF_ENDPOINT as the Hub's client does.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Protocol

from codeft_assets.base.hub_errors import hub_reason

FOLDER_VARIABLE = "CODEFT_BENCHMARKS"


@dataclass(frozen=True, slots=True, kw_only=True)
class HubFiles:
    """Files of a Hub dataset that hold the same rows, in order."""

    repo: str
    revision: str
    """A commit, never a branch."""
    paths: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.revision) != 40:
            raise ValueError(f"revision {self.revision!r} of {self.repo!r} is no commit; give its 40 hex digits")


class RowReader(Protocol):
    """Rows that another harness reads."""

    def is_present(self) -> bool:
        """Return whether they can be read here without any download."""
        ...

    def read(self) -> list[dict[str, Any]]:
        """Return them."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFile:
    """Rows of JSON or Parquet, with their number and hash."""

    name: str
    """In a folder of CODEFT_BENCHMARKS (several are divided as in PATH), or in this package."""
    columns: tuple[str, ...]
    """The columns that are read and hashed."""
    rows_sha256: str = ""
    """Of the columns, so that one figure holds for every way the rows are stored."""
    file_sha256: str = ""
    """Of the file's bytes, where only that is known."""
    num_rows: int | None = None
    origin: str
    hub: HubFiles | None = None
    is_packaged: bool = False
    """Part of this package, whose revision identifies it."""
    is_built: bool = False
    """Made here from the sources of the corpus: its hash is part of each score, and none is recorded."""
    is_unpinned: bool = False
    """Of a release that the user chooses: its hash is part of each score, and none is recorded."""
    path: str = ""
    """Of a user's own file, which is read there: its hash is part of each score, and none is recorded."""

    reader: RowReader | None = None
    """Reads the rows, where they are no file of ours: their hash is part of each score, and none is recorded."""

    def __post_init__(self) -> None:
        has_origin = self.is_packaged or self.is_built or self.is_unpinned or self.path or self.reader
        if not (has_origin or self.rows_sha256 or self.file_sha256):
            raise ValueError(f"benchmark file {self.name!r} has no recorded hash; record one in its entry")


def is_present(data: DataFile) -> bool:
    """Return whether the rows can be read here without any download."""
    if data.reader:
        return data.reader.is_present()
    return data.is_packaged or bool(_places(data))


@cache
def read_rows(data: DataFile) -> list[dict[str, Any]]:
    """Return the rows' columns, checked against the entry.

    Raises:
        ValueError: the file is absent or differs from the entry's record.
    """
    rows = [{column: row.get(column) for column in data.columns} for row in _read_all(data)]
    if data.num_rows not in (None, len(rows)):
        raise ValueError(f"benchmark file {data.name!r} has {len(rows)} rows, expected {data.num_rows}; fetch it again")
    found = rows_sha256(rows)
    if data.rows_sha256 and found != data.rows_sha256:
        raise ValueError(
            f"the rows of benchmark file {data.name!r} have sha256 {found}, expected {data.rows_sha256}; "
            f"fetch it from {data.origin}"
        )
    return rows


def rows_sha256(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a hash of rows, whatever they were stored in."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row, sort_keys=True).encode() + b"\n")
    return digest.hexdigest()


def fetch(data: DataFile) -> list[Path]:
    """Download a benchmark's file from the Hub into its cache and check it.

    Raises:
        ValueError: it is not on the Hub, cannot be reached, or differs from the entry's record.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    if data.hub is None:
        raise ValueError(f"benchmark file {data.name!r} is not on the Hub; {_fetch_elsewhere(data)}")
    found = []
    try:
        for path in data.hub.paths:
            place = hf_hub_download(data.hub.repo, path, repo_type="dataset", revision=data.hub.revision)
            found.append(Path(place))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ValueError(
            f"dataset {data.hub.repo!r} at {data.hub.revision[:12]}: {hub_reason(error)}; check the network and "
            f"HF_ENDPOINT, or {_fetch_elsewhere(data)}"
        ) from error
    read_rows.cache_clear()
    read_rows(data)
    return found


def _read_all(data: DataFile) -> list[dict[str, Any]]:
    if data.reader:
        return data.reader.read()
    if data.is_packaged:
        return _parse(data.name, files("codeft_eval").joinpath("data", data.name).read_bytes())
    places = _places(data)
    if not places:
        raise ValueError(f"benchmark file {data.name!r} is not here; {_remedy(data)}")
    return [row for place in places for row in _parse(place.name, _checked_bytes(data, place))]


def _checked_bytes(data: DataFile, place: Path) -> bytes:
    content = place.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if data.file_sha256 and found != data.file_sha256:
        raise ValueError(f"{str(place)!r} has sha256 {found}, expected {data.file_sha256}; fetch it from {data.origin}")
    return content


def _parse(name: str, content: bytes) -> list[dict[str, Any]]:
    """Return the rows in a file's bytes.

    Raises:
        ValueError: they are no rows of JSON.
    """
    if name.endswith(".parquet"):
        import pyarrow as pa
        import pyarrow.parquet as pq

        # on this thread only: one of Arrow's that still holds Python's bytes at exit aborts the process
        return pq.ParquetFile(pa.BufferReader(content), pre_buffer=False).read(use_threads=False).to_pylist()
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"benchmark file {name!r}: byte {error.start} is not UTF-8; save the file as UTF-8") from error
    if name.endswith(".json"):
        return json.loads(text)
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    return [_parse_line(f"line {number} of benchmark file {name!r}", line) for number, line in lines]


def _parse_line(place: str, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{place} is no JSON ({error}); write one object a line") from error
    if not isinstance(row, dict):
        raise ValueError(f"{place} is {line[:60]!r}, no JSON object; write one object a line")
    return row


def _places(data: DataFile) -> list[Path]:
    """Return the first folder's file, or else the Hub's in its cache; empty when neither is there."""
    if data.path:
        return [place] if (place := Path(data.path)).is_file() else []
    folders = filter(None, os.environ.get(FOLDER_VARIABLE, "").split(os.pathsep))
    own = next((place for folder in folders if (place := Path(folder) / data.name).is_file()), None)
    if own is not None:
        return [own]
    if data.hub is None:
        return []
    snapshot = hub_cache() / f"datasets--{data.hub.repo.replace('/', '--')}" / "snapshots" / data.hub.revision
    places = [snapshot / path for path in data.hub.paths]
    return places if all(place.is_file() for place in places) else []


def hub_cache() -> Path:
    """Return where the Hub's client keeps its files; importing the client for this would slow every start."""
    home = os.environ.get("HF_HOME") or "~/.cache/huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or f"{home}/hub").expanduser()


def _remedy(data: DataFile) -> str:
    on_hub = "run `python -m codeft_eval fetch`, or " if data.hub else ""
    return on_hub + _fetch_elsewhere(data)


def _fetch_elsewhere(data: DataFile) -> str:
    """Return how a file gets here without the Hub's client."""
    folder = f"a folder that {FOLDER_VARIABLE} names {state_of(FOLDER_VARIABLE)}"
    if data.is_built:
        return f"it is {data.origin}: run that with --output in {folder}"
    return f"fetch it from {data.origin} into {folder}"


def state_of(variable: str) -> str:
    """Return the value of a variable of the environment as a remark, also that it has none."""
    value = os.environ.get(variable)
    return f"(now {value!r})" if value else "(not set)"
