"""Reads the corpus: a table folder whose manifest names its parquet shards."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

SPLITS = ("train", "validation")
COLUMNS = (
    *("document_id", "source", "domain", "format", "language"),
    *("messages", "text", "split", "epochs", "annealing_epochs"),
)
_BATCH_DOCUMENTS = 1024


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
        for batch in self.batches(split, columns):
            yield from batch.to_pylist()

    def batches(self, split: str, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield columns of the documents of one split, a few documents at a time."""
        import pyarrow as pa
        import pyarrow.dataset as ds
        import pyarrow.parquet as pq

        wanted = list(dict.fromkeys((*columns, "split")))
        for shard in self.manifest()["shards"]:
            with pq.ParquetFile(self.folder / shard["path"]) as file:
                for batch in file.iter_batches(_BATCH_DOCUMENTS, columns=wanted):
                    table = pa.Table.from_batches([batch]).filter(ds.field("split") == split)
                    yield table.select(list(columns))
