"""The documents that take part in deduplication: those that pass quality and decontamination, a batch of shards a unit.

Invariant: this is the only place where documents, signatures, scores and matches are put side by side, and each of
their shards is read once. A batch is of one source, so that a source that changes leaves the other batches as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from codeft_assets.curation.report import StageReport
from codeft_assets.stages.code_version import code_version_of
from codeft_assets.store.engine import ShardResult, Stage, Unit
from codeft_assets.store.manifest import Shard, combined_hash
from codeft_assets.store.tables import Table

_DOCUMENT_COLUMNS = ("document_id", "source", "language", "num_chars")
LEFT_OUT = "left_out"
ROW_BITS = 32
"""Of a place, its lower bits are a row of a source, the others the number of the source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterInputs:
    """The tables that clustering reads."""

    documents: list[Table]
    signatures: Table
    scores: Table
    matches: Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A shard of documents, and those of other tables that are about the same documents."""

    documents: Shard
    signatures: Shard
    scores: Shard
    matches: Shard

    @property
    def fingerprint(self) -> str:
        """A hash of all of it."""
        shards = (self.documents, self.signatures, self.scores, self.matches)
        return combined_hash(shard.content_hash for shard in shards)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Pieces of one source that follow each other."""

    documents: Table
    first_place: int
    pieces: tuple[Piece, ...]


def list_batches(inputs: ClusterInputs, max_documents: int) -> list[Batch]:
    """Return all documents in batches of at most ``max_documents``, or of one shard.

    Raises:
        ValueError: a table is of other documents.
    """
    shards = [(number, shard) for number, table in enumerate(inputs.documents) for shard in table.manifest().shards]
    others = [shards_beside(table, len(shards)) for table in (inputs.signatures, inputs.scores, inputs.matches)]
    batches: list[Batch] = []
    begun, row = -1, 0
    for (number, shard), *found in zip(shards, *others, strict=True):
        piece = Piece(documents=shard, signatures=found[0], scores=found[1], matches=found[2])
        row = row if number == begun else 0
        last = batches[-1].pieces if number == begun else ()
        if last and sum(other.documents.num_rows for other in last) + shard.num_rows <= max_documents:
            batch, first = (*last, piece), batches.pop().first_place
        else:
            batch, first = (piece,), (number << ROW_BITS) + row
        batches.append(Batch(documents=inputs.documents[number], first_place=first, pieces=batch))
        begun, row = number, row + shard.num_rows
    return batches


def shards_beside(table: Table, count: int, does: str = "holds") -> tuple[Shard, ...]:
    """Return the shards of a table that has one for each shard of documents.

    Raises:
        ValueError: it has another number of them.
    """
    shards = table.manifest().shards
    if len(shards) != count:
        raise of_other_documents(table, f"{len(shards)} shards, the documents have {count}", does)
    return shards


def of_other_documents(table: Table, finding: str, does: str = "holds") -> ValueError:
    """Return the error of a table that is about other documents; ``does`` is what it does with them."""
    return ValueError(
        f"table {table.key!r} {does} other documents than the sources ({finding}); materialize the asset {table.key!r} "
        f"again, then this one"
    )


def participants_stage() -> Stage:
    """Identify the choice of the documents that take part."""
    return Stage(name="steps/participants", code_version=code_version_of(list_participants))


def participant_units(inputs: ClusterInputs, batches: list[Batch]) -> list[Unit]:
    """Return one unit per batch."""
    others = (inputs.signatures, inputs.scores, inputs.matches)
    return [
        Unit(
            name=f"{batch.documents.key} from {batch.first_place % (1 << ROW_BITS):,}",
            fingerprint=combined_hash(piece.fingerprint for piece in batch.pieces),
            args=(batch, *others),
        )
        for batch in batches
    ]


def list_participants(batch: Batch, signatures: Table, scores: Table, matches: Table) -> Iterator[ShardResult]:
    """List the documents of a batch that take part: ids and hashes in bytes, their shard and row, their band keys."""
    parts, num_in = list[pl.DataFrame](), 0
    for number, piece in enumerate(batch.pieces):
        documents = batch.documents.scan_shard(piece.documents).select(_DOCUMENT_COLUMNS).collect()
        found = _side_by_side(documents, piece, signatures, scores, matches)
        parts.append(found.with_columns(shard=pl.lit(number, pl.UInt16)))
        num_in += piece.documents.num_rows
    rows = pl.concat(parts)
    dropped = {LEFT_OUT: num_in - rows.height} if num_in > rows.height else {}
    report = StageReport(num_in=num_in, num_out=rows.height, dropped=dropped)
    yield ShardResult(rows=_with_short_ids(rows).to_arrow(), report=report, in_parts=True)


def _side_by_side(
    documents: pl.DataFrame, piece: Piece, signatures: Table, scores: Table, matches: Table
) -> pl.DataFrame:
    """Return the documents that take part, by row.

    Raises:
        ValueError: signatures, scores or matches are of other documents.
    """
    signed = signatures.scan_shard(piece.signatures).collect()
    scored = scores.scan_shard(piece.scores).select("document_id", "drop_reason", "educational_value").collect()
    matched = matches.scan_shard(piece.matches).select("document_id").collect()["document_id"]
    for table, ids in ((signatures, signed["document_id"]), (scores, scored["document_id"])):
        if not ids.equals(documents["document_id"]):
            raise of_other_documents(table, f"in shard {piece.documents.path}")
    if not matched.is_in(documents["document_id"].implode()).all():
        raise of_other_documents(matches, f"in shard {piece.documents.path}")
    every = [documents.with_row_index("row"), signed.drop("document_id"), scored.drop("document_id")]
    takes_part = pl.col("drop_reason").is_null() & ~pl.col("document_id").is_in(matched.implode())
    return pl.concat(every, how="horizontal").filter(takes_part).drop("drop_reason")


def _with_short_ids(rows: pl.DataFrame) -> pl.DataFrame:
    """Return ids as 16 bytes, and as keys of documents without shingles, which may be exact copies, their hash."""
    content = pl.col("content_hash").cast(pl.Binary)
    first_half = content.bin.slice(0, 8).bin.reinterpret(dtype=pl.UInt64, endianness="little")
    is_short = pl.col("num_shingles") == 0
    bands = [name for name in rows.columns if name.startswith("band_")]
    return rows.with_columns(
        pl.col("document_id").str.decode("hex"),
        content,
        *(pl.when(is_short).then(first_half).otherwise(name).alias(name) for name in bands),
    )
