"""Rows of a source become documents and rejects, in batches of bounded size.

Invariant, checked by the report: rows and parts of rows in = documents + rejects.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from codeft_assets.curation.documents import DOCUMENT_SCHEMA, REJECT_SCHEMA, content_hash, document_id
from codeft_assets.curation.ingest.adapters import Adapter, BadRowError, Draft, Reject, Row
from codeft_assets.curation.ingest.normalize import detect_language
from codeft_assets.curation.report import MAX_EXAMPLES, StageReport

ROWS_PER_SHARD = 20_000
"""About 20 to 60 MB of text a shard: a worker's memory stays under half a gigabyte."""
MAX_REJECT_CHARS = 4_000
"""Characters of the row that a reject keeps: enough to see the fault."""
_SCHEMA_CHECK_ROWS = 20
"""If so many first rows all lack a column, upstream has renamed it: fail now, not after six hours."""


class SchemaChangedError(ValueError):
    """Upstream no longer has the columns the catalogue names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """The fields that all documents of a source at one revision share."""

    source: str
    revision: str
    domain: str
    format: str
    license: str


def adapt_rows(
    rows: Iterable[tuple[str, Row]], adapter: Adapter, provenance: Provenance, *, rows_per_shard: int = ROWS_PER_SHARD
) -> Iterator[tuple[pa.Table, pa.Table, StageReport]]:
    """Yield ``(documents, rejects, report)`` for every ``rows_per_shard`` rows of ``(source_row, row)``.

    Raises:
        SchemaChangedError: the first rows all lack the column that the catalogue names.
    """
    iterator = iter(rows)
    first = True
    while batch := list(itertools.islice(iterator, rows_per_shard)):
        pieces = [(key, row, piece) for key, row in batch for piece in _adapt(row, adapter)]
        if first:
            _check_columns(provenance.source, [piece for _, _, piece in pieces[:_SCHEMA_CHECK_ROWS]])
        first = False
        yield _shard(pieces, provenance)


def _adapt(row: Row, adapter: Adapter) -> Sequence[Draft | Reject]:
    try:
        if set(row) == {"malformed"}:  # how an origin marks a line that it could not parse
            raise BadRowError("malformed_json", f"the line is no JSON object: {str(row['malformed'])[:120]!r}")
        return adapter(row)
    except BadRowError as error:
        return [Reject(part="", reason=error.reason, detail=error.detail, text=_as_text(row))]


def _check_columns(source: str, first: Sequence[Draft | Reject]) -> None:
    rejects = [piece for piece in first if isinstance(piece, Reject) and piece.reason == "missing_column"]
    if first and len(rejects) == len(first):
        raise SchemaChangedError(f"source {source!r}: adapter found {rejects[0].detail}; fix the entry in sources.py")


def _as_text(row: Row) -> str:
    return json.dumps(row, default=str, ensure_ascii=False)[:MAX_REJECT_CHARS]


def _shard(
    pieces: Sequence[tuple[str, Row, Draft | Reject]], provenance: Provenance
) -> tuple[pa.Table, pa.Table, StageReport]:
    documents, rejects, examples = [], [], {}
    for key, _, piece in pieces:
        source_row = f"{key}/{piece.part}" if piece.part else key
        if isinstance(piece, Draft):
            documents.append(_document(source_row, piece, provenance))
            continue
        rejects.append(_reject(source_row, piece, provenance))
        shown = examples.get(piece.reason, ())
        examples[piece.reason] = (*shown, f"{source_row}: {piece.detail}")[:MAX_EXAMPLES]
    dropped = Counter(reject["reason"] for reject in rejects)
    report = StageReport(num_in=len(pieces), num_out=len(documents), dropped=dict(dropped), examples=examples)
    return (
        pa.Table.from_pylist(documents, schema=DOCUMENT_SCHEMA),
        pa.Table.from_pylist(rejects, schema=REJECT_SCHEMA),
        report,
    )


def _document(source_row: str, draft: Draft, provenance: Provenance) -> dict[str, object]:
    messages = draft.messages
    return {
        "document_id": document_id(provenance.source, source_row),
        "source": provenance.source,
        "revision": provenance.revision,
        "source_row": source_row,
        "domain": provenance.domain,
        "format": provenance.format,
        "language": draft.language or detect_language(draft.text),
        "messages": messages and [{"role": message.role, "content": message.content} for message in messages],
        "text": draft.text,
        "num_chars": len(draft.text),
        "content_hash": content_hash(draft.text),
        "license": draft.license or provenance.license,
    }


def _reject(source_row: str, reject: Reject, provenance: Provenance) -> dict[str, object]:
    return {
        "source": provenance.source,
        "revision": provenance.revision,
        "source_row": source_row,
        "reason": reject.reason,
        "detail": reject.detail,
        "row": reject.text[:MAX_REJECT_CHARS],
    }
