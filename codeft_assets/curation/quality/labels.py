"""Labels: documents that a person or a model has read and labeled, from 0 (teaches nothing) to 5 (textbook).

Invariant: a label names its document by content. One whose document is absent or has changed is left out and counted,
never applied to other text. The held-out split depends on the content hash alone, so no document changes splits.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from codeft_assets.curation.ingest.normalize import normalize_text
from codeft_assets.curation.ingest.programming_languages import detect_language, language_from_path

MAX_LABEL = 5
GOOD_LABEL, POOR_LABEL = 3, 1
"""A document is good from 3 (FineWeb-Edu's threshold) and poor up to 1; the AUC compares the two."""
WRITTEN, WRITTEN_WEIGHT = "written", 3.0
"""A written text stands for a kind that no package has, and counts as three files: of one repository's solutions, 94 %
in Rust and 89 % in Python scored below 0.25 without the first 95 of them, 52 and 65 % at weight 1, 19 and 44 % at 3."""
HELD_OUT_OF = 4
"""One content hash of four is held out: of 1,200 labels about 290, which measure an AUC to about 0.01."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """One line of a label file."""

    kind: Literal["package", "sample", "written"]
    content_hash: str
    """xxh3-128 in hex: of the bytes of a package file or a written text, ``documents.folded_hash`` of a sample's."""
    label: int
    reason: str
    package: str = ""
    """``cpython`` or the distribution's name; empty for a sample."""
    version: str = ""
    path: str = ""
    """The file below the standard library or ``site-packages``, a written text's name; empty for a sample."""
    source: str = ""
    """The catalogue entry of a sample; empty for others."""
    text: str = ""
    """A text that was written to be labeled, of a kind that no package here has; empty for others."""

    def __post_init__(self) -> None:
        _check_label(self.label, self.reason)
        if self.kind not in ("package", "sample", WRITTEN):
            raise ValueError(f"label kind {self.kind!r} is none of 'package', 'sample', 'written'; correct the file")
        if self.kind == WRITTEN and xxhash.xxh3_128_hexdigest(self.text) != self.content_hash:
            raise ValueError(f"the text of written label {self.path!r} has changed; label it again, under its new hash")

    @property
    def origin(self) -> str:
        """The package or source the document comes from; ``written`` for our own."""
        return self.package or self.source or self.kind

    @property
    def name(self) -> str:
        """The document's name in reports: origin, and path or hash."""
        return f"{self.origin}/{self.path or self.content_hash[:12]}"

    @property
    def is_held_out(self) -> bool:
        """Whether the document is kept from training, to measure the classifier."""
        return is_held_out(self.content_hash)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabeledDocuments:
    """Texts with their labels, row by row."""

    text: pa.Array
    language: pa.Array
    label: npt.NDArray[np.int64]
    origin: tuple[str, ...]
    """Package or source of each document."""
    name: tuple[str, ...]
    """Names of the documents in reports."""
    reason: tuple[str, ...]
    """The annotator's reason for each label."""
    num_left_out: int
    """Labels whose document was absent or had changed."""

    def __len__(self) -> int:
        return len(self.label)

    @property
    def weight(self) -> npt.NDArray[np.float64]:
        """Return how many files each document counts as in training."""
        return np.where([origin == WRITTEN for origin in self.origin], WRITTEN_WEIGHT, 1.0)

    def select(self, chosen: npt.NDArray[np.bool_]) -> LabeledDocuments:
        """Return the documents where ``chosen`` is true."""
        rows = np.flatnonzero(chosen)
        return LabeledDocuments(
            text=self.text.take(pa.array(rows)),
            language=self.language.take(pa.array(rows)),
            label=self.label[rows],
            origin=tuple(self.origin[row] for row in rows),
            name=tuple(self.name[row] for row in rows),
            reason=tuple(self.reason[row] for row in rows),
            num_left_out=self.num_left_out,
        )


def is_held_out(content_hash: str) -> bool:
    """Return whether the document with this content hash, in hex, is kept from training."""
    return int(content_hash[:8], 16) % HELD_OUT_OF == 0


def parse_labels(lines: Iterable[str]) -> list[Label]:
    """Return the labels of a JSON Lines file, sorted by content hash.

    Raises:
        ValueError: A line is no label, or two lines label the same content.
    """
    labels: dict[str, Label] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            label = Label(**json.loads(line))
        except (json.JSONDecodeError, TypeError) as error:
            raise ValueError(f"label line {number} is no label: {line[:80]!r}; its keys are those of Label") from error
        if label.content_hash in labels:
            raise ValueError(f"label line {number} labels {label.content_hash} a second time; keep one of the two")
        labels[label.content_hash] = label
    return [labels[key] for key in sorted(labels)]


def resolve_labels(
    labels: Sequence[Label], *, read_file: Callable[[Label], bytes | None], samples: Mapping[str, str]
) -> tuple[LabeledDocuments, LabeledDocuments]:
    """Return the training and the held-out documents of ``labels``.

    Args:
        labels: As ``parse_labels`` returns them.
        read_file: Returns the bytes of a package label's file, None if there is no such file.
        samples: Text of each sample document by its ``documents.folded_hash``.
    """
    found = [(label, label_text(label, read_file, samples)) for label in labels]
    training, held_out = (
        _build_documents([(label, text) for label, text in found if label.is_held_out == is_held_out])
        for is_held_out in (False, True)
    )
    return training, held_out


def label_text(label: Label, read_file: Callable[[Label], bytes | None], samples: Mapping[str, str]) -> str | None:
    """Return the text of a label's document, None if it is absent or has changed."""
    if label.kind == "sample":
        return samples.get(label.content_hash)
    if label.kind == WRITTEN:
        return normalize_text(label.text)
    content = read_file(label)
    if content is None or xxhash.xxh3_128_hexdigest(content) != label.content_hash:
        return None
    return normalize_text(content.decode("utf-8", errors="replace"))


def label_language(label: Label, text: str) -> str:
    """Return the language of a label's document."""
    return language_from_path(label.path) or detect_language(text)


def _build_documents(resolved: Sequence[tuple[Label, str | None]]) -> LabeledDocuments:
    pairs = [(label, text) for label, text in resolved if text is not None]
    return LabeledDocuments(
        text=pa.array([text for _, text in pairs], pa.large_string()),
        language=pa.array([label_language(label, text) for label, text in pairs], pa.string()),
        label=np.array([label.label for label, _ in pairs], dtype=np.int64),
        origin=tuple(label.origin for label, _ in pairs),
        name=tuple(label.name for label, _ in pairs),
        reason=tuple(label.reason for label, _ in pairs),
        num_left_out=len(resolved) - len(pairs),
    )


def _check_label(label: int, reason: str) -> None:
    if label not in range(MAX_LABEL + 1):
        raise ValueError(f"label {label!r} is not an integer of 0..{MAX_LABEL}; read the document again and correct it")
    if not reason.strip():
        raise ValueError(f"label {label} has no reason; write in one line what a student would learn from the document")
