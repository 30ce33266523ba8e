"""Reads the corpus: a table folder whose manifest names its parquet shards."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COLUMNS = (
    *("document_id", "source", "domain", "format", "language"),
    *("messages", "text", "split", "epochs", "annealing_epochs"),
)


@dataclass(frozen=True, slots=True)
class Corpus:
    """A committed mixture table on a local path."""

    folder: Path

    def manifest(self) -> dict[str, Any]:
        """Return the manifest.

        Raises:
            ValueError: the folder holds no committed table.
        """
        path = self.folder / "manifest.json"
        if not path.is_file():
            raise ValueError(f"corpus {str(self.folder)!r} has no manifest.json; materialize corpus/mixture first")
        return json.loads(path.read_text())

    @property
    def content_hash(self) -> str:
        """The table's content hash."""
        return self.manifest()["content_hash"]

    def documents(self, split: str, columns: Sequence[str] = COLUMNS) -> Iterator[dict[str, Any]]:
        """Yield the documents of one split, shard by shard."""
        import pyarrow.dataset as ds
        import pyarrow.parquet as pq

        wanted = list(dict.fromkeys((*columns, "split")))
        for shard in self.manifest()["shards"]:
            table = pq.read_table(self.folder / shard["path"], columns=wanted)
            yield from table.filter(ds.field("split") == split).to_pylist()


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that appears whole or not at all.

    Raises:
        OSError: it cannot be written; what was there before is untouched.
    """
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OSError(
            error.errno, f"cannot write {path}: {error.strerror}; free space or choose another folder"
        ) from error


def file_hash(path: Path) -> str:
    """Return the sha256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_hash(folder: Path, names: Sequence[str]) -> str:
    """Return one sha256 over the named files of a folder."""
    lines = [f"{name} {file_hash(folder / name)}" for name in sorted(names)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
