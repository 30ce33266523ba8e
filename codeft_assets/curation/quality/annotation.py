"""Annotation: which documents a model is asked about, the question, what its answer says, and how far it agrees.

Invariant: sample, question and reading of an answer depend on documents, prompt and seed only; a label is an integer of
0 to 5 with a reason, or the answer is malformed. Nothing is guessed from half an answer.
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
"""A malformed answer is asked for once more, then its document is left out by name."""
_LENGTH_CLASSES_CHARS = (1_000, 4_000, 16_000)
_MAX_REASON_CHARS = 300


class MalformedAnswerError(ValueError):
    """An answer that holds no label of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """What an annotator says of a document."""

    label: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One reading of one document that an annotator is asked for."""

    key: str
    """Of annotator, prompt, text and number of the reading: what has this key is asked and paid once."""
    name: str
    prompt: str


def build_question(text: str, *, language: str, name: str, annotator: str, reading: int, max_chars: int) -> Question:
    """Return the question about ``text``.

    Args:
        text: The document.
        language: Of the document.
        name: What to call the document if it is left out.
        annotator: Identity of the model that answers, with what decides its answers.
        reading: 0, or 1 for the second reading that measures agreement.
        max_chars: How much of the text the annotator reads.
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
    """Return the judgment in a model's answer: its last JSON object with a label, whatever stands around it.

    Raises:
        MalformedAnswerError: there is no such object, or label or reason is not what was asked for.
    """
    found = [value for value in _objects(answer) if "label" in value]
    if not found:
        raise MalformedAnswerError(f"no JSON object with a label in {answer[:80]!r}")
    label, reason = found[-1]["label"], found[-1].get("reason")
    if type(label) is not int or not 0 <= label <= MAX_LABEL:
        raise MalformedAnswerError(f"label {label!r} is not an integer of 0..{MAX_LABEL}")
    if not isinstance(reason, str) or not reason.strip():
        raise MalformedAnswerError(f"label {label} has no reason")
    return Annotation(label=label, reason=" ".join(reason.split())[:_MAX_REASON_CHARS])


def is_well_formed(answer: str) -> bool:
    """Return whether an answer holds a judgment."""
    try:
        parse_answer(answer)
    except MalformedAnswerError:
        return False
    return True


def _objects(answer: str) -> list[dict[str, object]]:
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
    """Return ``num_wanted`` of ``documents``, as evenly as there are some over source, language and length.

    Args:
        documents: ``document_id``, ``content_hash``, ``source``, ``language`` and ``num_chars``, in any order.
        num_wanted: How many; fewer come if there are fewer. Equal texts count once.
        seed: Of the draw within each group.
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
    """How a second reading of the documents with one label went."""

    label: int
    num_repeated: int
    same_fraction: float
    mean_difference: float
    """Of the two labels, without its sign."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far two readings of the same documents agree."""

    num_repeated: int
    same_fraction: float | None
    """None where nothing was read twice."""
    weighted_kappa: float | None
    """Cohen's kappa with quadratic weights (Cohen 1968): 1 agrees, 0 is chance; None if no label varies."""
    by_label: tuple[LabelAgreement, ...]


def measure_agreement(first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]) -> Agreement:
    """Return how far the labels ``first`` and ``second`` of the same documents agree."""
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
    by_chance = float(np.square(first[:, None] - second[None, :]).mean()) if len(first) else 0.0
    return 1 - float(np.square(first - second).mean()) / by_chance if by_chance else None
