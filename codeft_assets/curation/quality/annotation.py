"""Annotation by a model: the sample of documents, the question, the parsing of its answer, and its agreement.

Invariant: sample, question and annotation depend on documents, prompt, answer and seed only; a label is an integer of 0
to 5 with a reason, or the answer is malformed. Nothing is guessed from half an answer.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import xxhash

from codeft_assets.curation.quality.labels import MAX_LABEL

PROMPT = Path(__file__).with_name("annotation_prompt.md").read_text(encoding="utf-8")
PROMPT_HASH = xxhash.xxh3_64_hexdigest(PROMPT)
"""Part of the code version: another prompt is another annotation."""
MAX_ANSWERS = 2
"""A question is asked once more after a malformed answer; after a second one its document is left out by name."""
_LENGTH_CLASSES_CHARS = (1_000, 4_000, 16_000)
_MAX_REASON_CHARS = 300


class MalformedAnswerError(ValueError):
    """An answer without a valid label and reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """The label of a document, with the annotator's reason."""

    label: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """The prompt for one reading of one document."""

    key: str
    """Hash of annotator, prompt, text and number of the reading: a key is asked, and paid for, once."""
    name: str
    prompt: str


def build_question(text: str, *, language: str, name: str, annotator: str, reading: int, max_chars: int) -> Question:
    """Return the question about ``text``.

    Args:
        text: The document.
        language: The document's.
        name: Names the document if it is left out.
        annotator: Identity of the model that answers, with everything that decides its answers.
        reading: 0, or 1 for the second reading that measures agreement.
        max_chars: Characters of the text that the annotator reads.
    """
    prompt = fill_prompt(text, language=language, max_chars=max_chars)
    key = xxhash.xxh3_128_hexdigest(f"{annotator}\n{reading}\n{prompt}")
    return Question(key=key, name=name, prompt=prompt)


def fill_prompt(text: str, *, language: str, max_chars: int) -> str:
    """Return the prompt about the first ``max_chars`` characters of ``text``."""
    left_out = len(text) - max_chars
    shown = text if left_out <= 0 else f"{text[:max_chars]}\n[{left_out} more characters]"
    before, _, after = PROMPT.partition("{text}")
    return before.replace("{language}", language) + shown + after  # in this order: a text may hold "{language}"


def parse_answer(answer: str) -> Annotation:
    """Return the annotation in a model's answer: its last JSON object with a label, whatever text surrounds it.

    Raises:
        MalformedAnswerError: there is no such object, or its label or reason is not valid.
    """
    found = [value for value in _json_objects(answer) if "label" in value]
    if not found:
        raise MalformedAnswerError(f"no JSON object with a label in {answer[:80]!r}")
    label, reason = found[-1]["label"], found[-1].get("reason")
    if type(label) is not int or not 0 <= label <= MAX_LABEL:
        raise MalformedAnswerError(f"label {label!r} is not an integer of 0..{MAX_LABEL}")
    if not isinstance(reason, str) or not reason.strip():
        raise MalformedAnswerError(f"label {label} has no reason")
    return Annotation(label=label, reason=" ".join(reason.split())[:_MAX_REASON_CHARS])


def is_well_formed(answer: str) -> bool:
    """Return whether an answer holds an annotation."""
    try:
        parse_answer(answer)
    except MalformedAnswerError:
        return False
    return True


def _json_objects(answer: str) -> list[dict[str, object]]:
    decoder, found, at = json.JSONDecoder(), [], answer.find("{")
    while at >= 0:
        try:
            value, end = decoder.raw_decode(answer, at)
        except (json.JSONDecodeError, RecursionError):
            end = at + 1
        else:
            found.append(value)
        at = answer.find("{", end)
    return found


def stratified_sample(documents: pl.DataFrame, num_wanted: int, *, seed: int) -> pl.DataFrame:
    """Return ``num_wanted`` of ``documents``, as evenly as possible over source, language and length.

    Args:
        documents: ``document_id``, ``content_hash``, ``source``, ``language`` and ``num_chars``, in any order.
        num_wanted: Sample size; fewer are returned if there are fewer. Equal texts count once.
        seed: Seed of the draw within each group.
    """
    draws = [xxhash.xxh3_64_intdigest(value, seed=seed) for value in documents["document_id"]]
    length = pl.col("num_chars").cut(list(_LENGTH_CLASSES_CHARS)).to_physical()
    group = ["source", "language", "length"]
    return (
        documents.with_columns(draw=pl.Series(draws, dtype=pl.UInt64), length=length)
        .sort("draw", "document_id")
        .unique("content_hash", keep="first", maintain_order=True)
        .with_columns(turn=pl.int_range(pl.len()).over(group))
        .sort("turn", "draw", "document_id")
        .head(num_wanted)
        .drop("draw", "length", "turn")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelAgreement:
    """Agreement of the second reading of the documents that the first gave one label."""

    label: int
    num_repeated: int
    same_fraction: float
    mean_difference: float
    """Mean absolute difference of the two labels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Agreement of two readings of the same documents."""

    num_repeated: int
    same_fraction: float | None
    """None where nothing was read twice."""
    weighted_kappa: float | None
    """Cohen's kappa with quadratic weights (Cohen 1968): 1 agrees, 0 is chance; None if no label varies."""
    by_label: tuple[LabelAgreement, ...]


def measure_agreement(first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]) -> Agreement:
    """Return the agreement of the labels ``first`` and ``second`` of the same documents."""
    difference = np.abs(first - second)
    by_label = tuple(
        LabelAgreement(
            label=int(label),
            num_repeated=int((first == label).sum()),
            same_fraction=float((difference[first == label] == 0).mean()),
            mean_difference=float(difference[first == label].mean()),
        )
        for label in np.unique(first)
    )
    return Agreement(
        num_repeated=len(first),
        same_fraction=float((difference == 0).mean()) if len(first) else None,
        weighted_kappa=_weighted_kappa(first, second),
        by_label=by_label,
    )


def _weighted_kappa(first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]) -> float | None:
    from sklearn.metrics import cohen_kappa_score

    if len(np.union1d(first, second)) < 2:
        return None
    # all labels are named: the weights are squares of differences of labels, not of ranks among those that occur
    return float(cohen_kappa_score(first, second, labels=range(MAX_LABEL + 1), weights="quadratic"))
