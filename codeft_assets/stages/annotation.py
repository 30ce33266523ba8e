"""Annotation on shards: the labels that ship with the project, and those that a model gives a sample.

Invariant: a unit of work is decided by labels, or by annotator, prompt and sample; what was answered is in a journal
beside the table, so that a run that was killed asks only for the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import xxhash

from codeft_assets.annotators.annotate import Annotator, annotate_questions
from codeft_assets.annotators.calls import open_journal
from codeft_assets.annotators.shipped_labels import read_labeled_file, sample_texts, shipped_labels
from codeft_assets.curation.corpus.redact import redact
from codeft_assets.curation.quality import annotation, labels
from codeft_assets.curation.quality.labels import Label, is_held_out
from codeft_assets.curation.report import MAX_EXAMPLES, StageReport
from codeft_assets.source import Source
from codeft_assets.sources import SOURCES
from codeft_assets.stages.code_version import code_version_of
from codeft_assets.stages.documents import adapter_code
from codeft_assets.stages.texts import all_documents, read_texts
from codeft_assets.store.engine import ShardResult, Stage, Unit
from codeft_assets.store.manifest import combined_hash
from codeft_assets.store.tables import Table

ANNOTATOR_CODE = (
    "codeft_assets.annotators.endpoint:EndpointAnnotator",
    "codeft_assets.annotators.local_model:LocalModelAnnotator",
)
"""One of them is chosen at run time: by name, because their imports are slow."""
SHIPPED = "shipped"
ABSENT_OR_CHANGED = "not_in_installed_version"
ANNOTATION_COLUMNS = {
    "document_id": "the document; of a shipped label, the content hash of the file",
    "name": "the file or row that was read",
    "origin": "its package or source",
    "label": "0 to 5: educational value to a student",
    "reason": "why, in one line",
    "second_label": "label of a second reading, where one was asked for",
    "annotator": "shipped, or the model with its sampling",
    "prompt_hash": "of the prompt the model read; empty for shipped labels",
    "is_held_out": "kept from training, to measure the classifier",
    "language": "language of the code, text if none",
    "text": "the document, as the classifier reads it",
}
_TYPES = {"label": pa.int8(), "second_label": pa.int8(), "is_held_out": pa.bool_()}
_ANNOTATION_SCHEMA = pa.schema([(name, _TYPES.get(name, pa.string())) for name in ANNOTATION_COLUMNS])


def annotations_stage() -> Stage:
    """Identify the reading of labels; the prompt is part of it, the annotator and the sample are part of a unit."""
    adapters = (adapter_code(source) for source in SOURCES.values())  # some of the shipped labels are of sample rows
    version = f"{code_version_of(annotate, *ANNOTATOR_CODE, *adapters)}-{annotation.PROMPT_HASH}"
    return Stage(name="quality/annotations", code_version=version)


def shipped_unit(sources: tuple[Source, ...]) -> Unit:
    """Return the unit of the labels that ship with the project; the packages' files are an input of it."""
    found = shipped_labels()
    files = [read_labeled_file(label) if label.kind == "package" else None for label in found]
    known = [f"{label} {xxhash.xxh3_64_hexdigest(content or b'')}" for label, content in zip(found, files, strict=True)]
    return Unit(name=SHIPPED, fingerprint=xxhash.xxh3_128_hexdigest("\n".join(known)), args=(None, sources))


def annotate(request: AnnotationRequest | None, sources: tuple[Source, ...]) -> Iterator[ShardResult]:
    """Yield the shipped labels with their texts, or an annotator's answers."""
    yield _shipped(sources) if request is None else _annotated(request)


def _shipped(sources: tuple[Source, ...]) -> ShardResult:
    samples, found = sample_texts(sources), shipped_labels()
    pairs = [(label, labels.label_text(label, read_labeled_file, samples)) for label in found]
    rows = [_shipped_row(label, text) for label, text in pairs if text is not None]
    lost = [_shipped_row(label, "") for label, text in pairs if text is None]
    report = StageReport(num_in=len(found), num_out=len(rows), dropped={ABSENT_OR_CHANGED: len(lost)} if lost else {})
    return ShardResult(rows=_annotations(rows), rejects=_annotations(lost), report=report)


def _annotations(rows: list[dict[str, object]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=_ANNOTATION_SCHEMA)


def _shipped_row(label: Label, text: str) -> dict[str, object]:
    return {
        "document_id": label.content_hash,
        "name": label.name,
        "origin": label.origin,
        "label": label.label,
        "reason": label.reason,
        "annotator": SHIPPED,
        "prompt_hash": "",
        "is_held_out": label.is_held_out,
        "language": labels.label_language(label, text),
        "text": text,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotationRequest:
    """A sample of documents, the annotator that labels it, and its journal."""

    tables: tuple[Table, ...]
    """The documents of all sources."""
    chosen: pl.DataFrame
    """``document_id``, ``content_hash``, ``source``, ``source_row`` and ``language`` of the sample, in its order."""
    num_repeated: int
    """The first of these are read a second time."""
    annotator: Annotator
    max_chars: int
    journal_folder: Path

    @property
    def journal(self) -> Path:
        """The file of the answers: one for a prompt and an annotator, shared by all samples."""
        name = xxhash.xxh3_64_hexdigest(f"{self.annotator.identity} {annotation.PROMPT_HASH} {self.max_chars}")
        return self.journal_folder / f"journal-{name}.sqlite"

    def unit(self) -> Unit:
        """Return the unit of work of this request."""
        content = [value.hex() for value in self.chosen["content_hash"]]
        asked = (self.annotator.identity, str(self.max_chars), str(self.num_repeated), *self.chosen["document_id"])
        return Unit(name="annotator", fingerprint=combined_hash([*asked, *content]), args=(self, ()))


def choose_documents(tables: list[Table], num_wanted: int, *, seed: int) -> pl.DataFrame:
    """Return the stratified sample for an annotator."""
    columns = ["document_id", "content_hash", "source", "source_row", "language", "num_chars"]
    return annotation.stratified_sample(all_documents(tables, columns), num_wanted, seed=seed)


def _annotated(request: AnnotationRequest) -> ShardResult:
    rows = request.chosen.to_dicts()
    texts = read_texts(list(request.tables), request.chosen["document_id"].to_list())
    first = [_question(request, row, text, 0) for row, text in zip(rows, texts, strict=True)]
    num_repeated = request.num_repeated
    again = [_question(request, row, text, 1) for row, text in zip(rows[:num_repeated], texts, strict=False)]
    with open_journal(request.journal) as journal:
        judged = annotate_questions([*first, *again], request.annotator, journal)
    second = {row["document_id"]: judged.found.get(q.key) for row, q in zip(rows, again, strict=False)}
    found, left_out = [], []
    for row, question, text in zip(rows, first, texts, strict=True):
        judgment, repeated = judged.found.get(question.key), second.get(row["document_id"])
        annotated = _annotated_row(request, row, text)
        if judgment is None:
            reason, detail = judged.left_out[question.key]
            left_out.append((reason, annotated | {"reason": f"{reason}: {detail}"}))
            continue
        label = {"label": judgment.label, "reason": judgment.reason}
        found.append(annotated | label | {"second_label": repeated.label if repeated else None})
    report = _annotated_report(len(rows), [(reason, str(row["name"])) for reason, row in left_out])
    return ShardResult(rows=_annotations(found), rejects=_annotations([row for _, row in left_out]), report=report)


def _question(request: AnnotationRequest, row: Mapping[str, object], text: str, reading: int) -> annotation.Question:
    return annotation.build_question(
        redact(text)[0],  # keys and addresses do not leave the machine
        language=str(row["language"]),
        name=_name(row),
        annotator=request.annotator.identity,
        reading=reading,
        max_chars=request.max_chars,
    )


def _name(row: Mapping[str, object]) -> str:
    return f"{row['source']}/{row['source_row']}"


def _annotated_row(request: AnnotationRequest, row: Mapping[str, object], text: str) -> dict[str, object]:
    content_hash = row["content_hash"]
    assert isinstance(content_hash, bytes), "a document's content hash is 16 bytes"
    return {
        "document_id": row["document_id"],
        "name": _name(row),
        "origin": row["source"],
        "annotator": request.annotator.identity,
        "prompt_hash": annotation.PROMPT_HASH,
        "is_held_out": is_held_out(content_hash.hex()),
        "language": row["language"],
        "text": text,
    }


def _annotated_report(num_in: int, left_out: list[tuple[str, str]]) -> StageReport:
    names: dict[str, list[str]] = {}
    for reason, name in left_out:
        names.setdefault(reason, []).append(name)
    return StageReport(
        num_in=num_in,
        num_out=num_in - len(left_out),
        dropped={reason: len(found) for reason, found in names.items()},
        examples={reason: tuple(found[:MAX_EXAMPLES]) for reason, found in names.items()},
    )
