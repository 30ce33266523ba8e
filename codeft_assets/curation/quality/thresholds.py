"""Thresholds: the educational value that a source's documents must reach, and the share of each source that does.

Invariant: a threshold is decided from stored scores alone; no text is read to change one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from codeft_assets.curation.documents import CHARS_PER_TOKEN
from codeft_assets.curation.tally import sum_by


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """A minimum value for the documents of a source, or the share of lowest ones to drop, or neither."""

    value: float | None = None
    """Educational value, 0..1: documents below it are dropped."""
    quantile: float | None = None
    """Share of the source's documents, the lowest, that may be dropped; ties are kept."""

    def __post_init__(self) -> None:
        if self.value is not None and self.quantile is not None:
            raise ValueError(f"threshold of value {self.value} and quantile {self.quantile}: give one of the two")
        for name, number in (("value", self.value), ("quantile", self.quantile)):
            if number is not None and not 0 <= number <= 1:
                raise ValueError(f"threshold of {name} {number} must lie in 0..1")

    def __str__(self) -> str:
        if self.quantile is not None:
            return f"lowest {self.quantile:.4g} of its documents"
        return "none" if self.value is None else f"{self.value:g}"

    def minimum(self, values: pl.Series) -> float | None:
        """Return the educational value to reach, given those of all the source's documents; None for no minimum."""
        if self.quantile is None or values.is_empty():
            return self.value
        return float(values.sort()[min(math.floor(self.quantile * len(values)), len(values) - 1)])


MinimumByLanguage = dict[str, float]
"""The educational value to reach, by language; ``OTHER_LANGUAGES`` for those that are not named."""
OTHER_LANGUAGES = ""
_TAUGHT, _PROSE = "python", "text"
_MIN_DOCUMENTS = 50
_VALUES = 10_000
"""Steps of an educational value in a median."""


def minimum_by_language(values: pl.DataFrame, threshold: Threshold) -> MinimumByLanguage:
    """Return the educational value to reach by language; empty for no minimum.

    The classifier was taught by Python and prose. In other languages it orders documents and its scale is too low: of
    one corpus of solutions it scores 54 % below 0.25 in Python, 84 % in C++ and 93 % in Rust. So a value drops from
    another language at most the share that it drops from the same source's Python; without as many as 50 documents of
    both it is taken as it is.

    Args:
        values: ``language`` and ``educational_value`` of all the source's documents.
        threshold: The source's.
    """
    minimum = threshold.minimum(values["educational_value"])
    if minimum is None:
        return {}
    found = {OTHER_LANGUAGES: minimum}
    taught = values.filter(pl.col("language") == _TAUGHT)["educational_value"]
    if threshold.quantile is not None or len(taught) < _MIN_DOCUMENTS:
        return found
    lowest = Threshold(quantile=float((taught < minimum).mean()))  # type: ignore[arg-type]
    others = values.filter(~pl.col("language").is_in([_TAUGHT, _PROSE]))
    for (language,), part in others.sort("language").group_by("language", maintain_order=True):
        if part.height >= _MIN_DOCUMENTS:
            reached = lowest.minimum(part["educational_value"])
            assert reached is not None, "a share has a minimum"
            found[str(language)] = min(minimum, reached)
    return found


NO_THRESHOLD = Threshold()


def parse_threshold(text: str) -> Threshold:
    """Return the threshold written as ``text``: ``0.3`` is a value, ``20%`` a share of the documents, ``none`` neither.

    Raises:
        ValueError: ``text`` is none of these.
    """
    stripped = text.strip()
    if stripped == "none":
        return NO_THRESHOLD
    try:
        if stripped.endswith("%"):
            return Threshold(quantile=float(stripped[:-1]) / 100)
        return Threshold(value=float(stripped))
    except ValueError as error:
        raise ValueError(
            f"threshold {text!r} is neither an educational value in 0..1 such as 0.3, nor a share of documents in "
            f"0%..100% such as 30%, nor none; write one of these"
        ) from error


def keep_rates(parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Return, by source, how many documents and tokens quality keeps, and the median values of kept and dropped ones.

    Args:
        parts: ``source``, ``num_chars``, ``educational_value``, ``minimum_educational_value`` and ``drop_reason``, one
            part in memory at a time; medians are of values in ten-thousandths.
    """
    counted = sum_by((_counted_by_value(part) for part in parts), "source", "minimum", "is_kept", "value")
    tokens, documents, kept = pl.col("num_tokens"), pl.col("num_documents"), pl.col("is_kept")
    rates = counted.group_by("source").agg(
        minimum=pl.col("minimum").max(),
        num_documents=documents.sum(),
        num_kept=documents.filter(kept).sum(),
        num_tokens=tokens.sum(),
        num_kept_tokens=tokens.filter(kept).sum(),
    )
    for name, is_kept in (("median_kept", True), ("median_dropped", False)):
        values = counted.filter(pl.col("is_kept") == is_kept)
        medians = [(source, _median(part)) for (source,), part in values.group_by("source")]
        schema = {"source": pl.String, name: pl.Float64}
        rates = rates.join(pl.DataFrame(medians, schema=schema, orient="row"), on="source", how="left")
    return rates.with_columns(token_yield=pl.col("num_kept_tokens") / pl.col("num_tokens")).sort(
        "token_yield", "source"
    )


def _counted_by_value(decided: pl.DataFrame) -> pl.DataFrame:
    return decided.select(
        "source",
        minimum="minimum_educational_value",
        is_kept=pl.col("drop_reason").is_null(),
        value=(pl.col("educational_value").cast(pl.Float64) * _VALUES).round().cast(pl.Int32),
        num_tokens=(pl.col("num_chars") / CHARS_PER_TOKEN).round().cast(pl.Int64),
        num_documents=1,
    )


def _median(counted: pl.DataFrame) -> float | None:
    values = counted.drop_nulls("value").sort("value").with_columns(up_to=pl.col("num_documents").cum_sum())
    if values.is_empty():
        return None
    last = int(values["up_to"][-1]) - 1
    middle = [values.filter(pl.col("up_to") > place)["value"][0] for place in (last // 2, (last + 1) // 2)]
    return sum(middle) / 2 / _VALUES


def nearest_to_threshold(parts: Iterable[pl.DataFrame]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return, of each source, the kept document that scores lowest and the dropped one that scores highest.

    The two show whether a threshold is right: the first should still teach something, the second should be no loss.
    """
    order, found = ["source", "educational_value", "document_id"], (pl.DataFrame(), pl.DataFrame())
    for part in parts:
        is_kept = part["drop_reason"].is_null()
        kept, dropped = (
            pl.concat([before, chosen]) if before.width else chosen
            for before, chosen in zip(found, (part.filter(is_kept), part.filter(~is_kept)), strict=True)
        )
        found = (
            kept.sort(order).unique("source", keep="first", maintain_order=True),
            dropped.sort(order).unique("source", keep="last", maintain_order=True),
        )
    return found
