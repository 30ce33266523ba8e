"""The manifest of a table: its shards in order, their provenance, and the counts of dropped rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import xxhash

from codeft_assets.curation.report import StageReport

MANIFEST_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One parquet file of a table."""

    path: str
    """Relative to the table's folder."""
    num_rows: int
    content_hash: str
    """xxh3-128 of the file's bytes, in hex."""
    unit: str
    """Name of the unit of work that wrote it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The commit record of a table: shards in order, their provenance, and the counts of dropped rows."""

    key: str
    stage: str
    code_version: str
    parameters: Mapping[str, Any]
    fingerprints: tuple[str, ...]
    """One a unit of work, in order: a re-run compares them before it does anything."""
    shards: tuple[Shard, ...]
    rejects: tuple[Shard, ...] = ()
    report: StageReport
    originals: tuple[str, ...] = ()
    """Shards as their units wrote them, where the table has a settled copy: kept, so that the units count as done."""
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def num_rows(self) -> int:
        """Rows over all shards."""
        return sum(shard.num_rows for shard in self.shards)

    @property
    def content_hash(self) -> str:
        """32 hex digits over the shards' contents in order: the table's data version."""
        return combined_hash(shard.content_hash for shard in (*self.shards, *self.rejects))

    def files(self) -> set[str]:
        """Return the files that belong to this version, relative to the table's folder."""
        units = {f"units/{fingerprint}.json" for fingerprint in self.fingerprints}
        return units | {shard.path for shard in (*self.shards, *self.rejects)} | set(self.originals)

    def to_json(self) -> str:
        """Return the manifest as it is stored."""
        record = asdict(self) | {
            "format": MANIFEST_FORMAT,
            "num_rows": self.num_rows,
            "content_hash": self.content_hash,
        }
        return json.dumps(record, indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Return the manifest stored as ``text``.

        Raises:
            ValueError: it was written in a format this version does not read.
        """
        record = json.loads(text)
        if record.get("format") != MANIFEST_FORMAT:
            raise ValueError(
                f"manifest of {record.get('key')!r} has format {record.get('format')!r}; this version reads "
                f"{MANIFEST_FORMAT}; delete the table's folder and build it again"
            )
        report = record["report"]
        examples = {reason: tuple(found) for reason, found in report["examples"].items()}
        return cls(
            key=record["key"],
            stage=record["stage"],
            code_version=record["code_version"],
            parameters=record["parameters"],
            fingerprints=tuple(record["fingerprints"]),
            shards=tuple(Shard(**shard) for shard in record["shards"]),
            rejects=tuple(Shard(**shard) for shard in record["rejects"]),
            report=StageReport(**report | {"examples": examples}),
            originals=tuple(record.get("originals", ())),
            metadata=record["metadata"],
        )


def combined_hash(parts: Iterable[str]) -> str:
    """Return 32 hex digits over ``parts`` in order."""
    return xxhash.xxh3_128_hexdigest("\n".join(parts))
