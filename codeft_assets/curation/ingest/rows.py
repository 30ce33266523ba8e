"""Rows of a source become documents and rejects, in batches of bounded size.

Invariant, checked by the report: rows and parts of rows in = documents + rejects.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from codeft_assets.curation.documents import DOCUMENT_SCHEMA, REJECT_SCHEMA, content_hash, document_id, storable
from codeft_assets.curation.ingest.drafts import Adapter, BadRowError, Draft, Reject, Row
from codeft_assets.curation.ingest.programming_languages import detect_language
from codeft_assets.curation.report import MAX_EXAMPLES, StageReport, merge_reports

ROWS_PER_SHARD = 20_000
WORKER_BYTES = 256 * 2**20
"""What reading adds to the memory of an idle worker at most, with rows of 3 kB as with rows of 300 kB: a shard, the row
and the page of Parquet that are read, what is compressed, and what the allocators keep. Measured: 0.55 to 0.9 of it
(tests/benchmarks/ingest_memory.py)."""
BYTES_PER_SHARD = WORKER_BYTES // 4
"""Of its columns in memory, turns beside the text. A shard ends at whichever bound comes first."""
_BATCHES_PER_SHARD = 16
"""Python's strings become columns so often: they never hold more than a small part of a shard."""
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

    def num_bytes(self) -> int:
        """Return about how many bytes its columns take."""
        if isinstance(self.made, Reject):
            return len(self.made.text)
        return len(self.made.text) + sum(len(turn.content) for turn in self.made.messages or ())


Shard = tuple[pa.Table, pa.Table, StageReport]
"""Documents, rejects, and their counts."""


def adapt_rows(
    rows: Iterable[tuple[str, Row | Reject]],
    adapter: Adapter,
    provenance: Provenance,
    *,
    rows_per_shard: int = ROWS_PER_SHARD,
    bytes_per_shard: int = BYTES_PER_SHARD,
) -> Iterator[Shard]:
    """Yield a shard as soon as ``rows_per_shard`` documents and rejects or ``bytes_per_shard`` are reached.

    The shard that was yielded is not held while the next one is read.

    Raises:
        SchemaChangedError: the first rows all lack the column that the catalogue names.
    """
    pieces = _pieces(rows, adapter, provenance.id_column)
    first = list(itertools.islice(pieces, _SCHEMA_CHECK_ROWS))
    _check_columns(provenance.source, [piece.made for piece in first])
    pieces = itertools.chain(iter(first), pieces)
    del first
    yield from iter(lambda: _next_shard(pieces, provenance, rows_per_shard, bytes_per_shard), None)


def _pieces(rows: Iterable[tuple[str, Row | Reject]], adapter: Adapter, id_column: str) -> Iterator[_Piece]:
    for source_row, row in rows:
        for made in _adapt(row, adapter):
            place = f"{source_row}/{made.part}" if made.part else source_row
            yield _Piece(storable(place), _key(row, made, id_column), _cut(made))


def _next_shard(pieces: Iterator[_Piece], provenance: Provenance, num_rows: int, num_bytes: int) -> Shard | None:
    taken, parts, batch_bytes = itertools.islice(pieces, num_rows), [], num_bytes // _BATCHES_PER_SHARD
    while num_bytes > 0 and (batch := _take(taken, batch_bytes)):
        parts.append(_columns(batch, provenance))
        num_bytes -= parts[-1][0].nbytes + parts[-1][1].nbytes
    if not parts:
        return None
    documents, rejects, reports = zip(*parts, strict=True)
    return pa.concat_tables(documents), pa.concat_tables(rejects), merge_reports(reports)


def _take(pieces: Iterator[_Piece], num_bytes: int) -> list[_Piece]:
    """Return the next pieces, as many as reach ``num_bytes``."""
    taken: list[_Piece] = []
    for piece in pieces:
        taken.append(piece)
        num_bytes -= piece.num_bytes()
        if num_bytes <= 0:
            break
    return taken


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
        raise SchemaChangedError(
            f"source {source!r}: adapter found {rejects[0].detail}; fix the entry in sources.py, or in a project's "
            f"sources.toml"
        )


def _as_text(row: Row) -> str:
    try:
        return json.dumps(row, default=str, ensure_ascii=False)
    except RecursionError:
        return f"an object nested too deeply, with {sorted(row)}"


def _columns(pieces: Sequence[_Piece], provenance: Provenance) -> Shard:
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
