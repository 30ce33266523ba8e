"""Rows of a source become documents and rejects, in batches of bounded size.

Invariant, checked by the report: rows and parts of rows in = documents + rejects.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from codeft_assets.curation.documents import DOCUMENT_SCHEMA, REJECT_SCHEMA, content_hash, document_id, storable
from codeft_assets.curation.ingest.drafts import Adapter, BadRowError, Draft, Reject, Row
from codeft_assets.curation.ingest.normalize import detect_language
from codeft_assets.curation.report import MAX_EXAMPLES, StageReport

ROWS_PER_SHARD = 20_000
BYTES_PER_SHARD = 64 * 2**20
"""Of text in memory, turns counted beside the text. A shard ends at whichever bound comes first, so a worker's memory
does not depend on the length of rows: it grows by 6 to 7 times this, tests/benchmarks/ingest_memory.py."""
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
    id_column: str = ""
    """The column that names a row upstream; without one a row is known by its content."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """A row, or a part of it, as a draft or a reject."""

    source_row: str
    key: str
    """Names it within the source: its name upstream, else its content."""
    made: Draft | Reject


def adapt_rows(
    rows: Iterable[tuple[str, Row | Reject]],
    adapter: Adapter,
    provenance: Provenance,
    *,
    rows_per_shard: int = ROWS_PER_SHARD,
    bytes_per_shard: int = BYTES_PER_SHARD,
) -> Iterator[tuple[pa.Table, pa.Table, StageReport]]:
    """Yield ``(documents, rejects, report)`` as soon as ``rows_per_shard`` or ``bytes_per_shard`` is reached.

    Raises:
        SchemaChangedError: the first rows all lack the column that the catalogue names.
    """
    iterator, is_first = iter(rows), True
    while pieces := _next_pieces(iterator, adapter, provenance.id_column, rows_per_shard, bytes_per_shard):
        if is_first:
            _check_columns(provenance.source, [piece.made for piece in pieces[:_SCHEMA_CHECK_ROWS]])
        is_first = False
        yield _shard(pieces, provenance)


def _next_pieces(
    rows: Iterator[tuple[str, Row | Reject]], adapter: Adapter, id_column: str, num_rows: int, num_bytes: int
) -> list[_Piece]:
    pieces: list[_Piece] = []
    for source_row, row in itertools.islice(rows, num_rows):
        for made in _adapt(row, adapter):
            place = f"{source_row}/{made.part}" if made.part else source_row
            pieces.append(_Piece(storable(place), _key(row, made, id_column), _cut(made)))
            turns = made.messages or () if isinstance(made, Draft) else ()
            num_bytes -= sys.getsizeof(made.text) + sum(sys.getsizeof(turn.content) for turn in turns)
        if num_bytes <= 0:
            break
    return pieces


def _adapt(row: Row | Reject, adapter: Adapter) -> Sequence[Draft | Reject]:
    if isinstance(row, Reject):
        return [row]
    try:
        made = adapter(row)
        for draft in made:
            _check_unicode(draft.text)
    except BadRowError as error:
        return [Reject(part="", reason=error.reason, detail=error.detail, text=_as_text(row))]
    except RecursionError:
        return [Reject(part="", reason="nested_too_deeply", detail="", text=_as_text(row))]
    return made


def _check_unicode(text: str) -> None:
    """Raise ``BadRowError`` for half a surrogate pair: JSON may escape it, no encoding can store it."""
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadRowError("not_unicode", f"half a surrogate pair at character {error.start}") from error


def _key(row: Row | Reject, made: Draft | Reject, id_column: str) -> str:
    name = row.get(id_column) if isinstance(row, Mapping) else None
    return made.text if name is None or name == "" else f"{id_column}={name}/{made.part}"


def _cut(made: Draft | Reject) -> Draft | Reject:
    if isinstance(made, Draft):
        return made
    return replace(made, text=storable(made.text[:MAX_REJECT_CHARS]), detail=storable(made.detail))


def _check_columns(source: str, first: Sequence[Draft | Reject]) -> None:
    rejects = [piece for piece in first if isinstance(piece, Reject) and piece.reason == "missing_column"]
    if len(rejects) == len(first) == _SCHEMA_CHECK_ROWS:  # a file of fewer rows may lie beside the data
        raise SchemaChangedError(f"source {source!r}: adapter found {rejects[0].detail}; fix the entry in sources.py")


def _as_text(row: Row) -> str:
    try:
        return json.dumps(row, default=str, ensure_ascii=False)
    except RecursionError:
        return f"an object nested too deeply, with {sorted(row)}"


def _shard(pieces: Sequence[_Piece], provenance: Provenance) -> tuple[pa.Table, pa.Table, StageReport]:
    documents, rejects, examples = [], [], {}
    for piece in pieces:
        if isinstance(made := piece.made, Draft):
            documents.append(_document(piece, made, provenance))
            continue
        rejects.append(_reject(piece, made, provenance))
        shown = examples.get(made.reason, ())
        examples[made.reason] = (*shown, f"{piece.source_row}: {made.detail}")[:MAX_EXAMPLES]
    dropped = Counter(reject["reason"] for reject in rejects)
    report = StageReport(num_in=len(pieces), num_out=len(documents), dropped=dict(dropped), examples=examples)
    return (
        pa.Table.from_pylist(documents, schema=DOCUMENT_SCHEMA),
        pa.Table.from_pylist(rejects, schema=REJECT_SCHEMA),
        report,
    )


def _document(piece: _Piece, draft: Draft, provenance: Provenance) -> dict[str, object]:
    messages = draft.messages
    return {
        "document_id": document_id(provenance.source, piece.key),
        "source": provenance.source,
        "revision": provenance.revision,
        "source_row": piece.source_row,
        "domain": provenance.domain,
        "format": provenance.format,
        "language": draft.language or detect_language(draft.text),
        "messages": messages and [{"role": message.role, "content": message.content} for message in messages],
        "text": draft.text,
        "num_chars": len(draft.text),
        "content_hash": content_hash(draft.text),
        "license": draft.license or provenance.license,
    }


def _reject(piece: _Piece, reject: Reject, provenance: Provenance) -> dict[str, object]:
    return {
        "document_id": document_id(provenance.source, piece.key),
        "source": provenance.source,
        "revision": provenance.revision,
        "source_row": piece.source_row,
        "reason": reject.reason,
        "detail": reject.detail,
        "row": reject.text,
    }
