"""Which documents train, how often, and which are held out: shares per domain, weights per source, a token budget.

Invariant: the plan depends on the documents, the mixture and its seed only. A document is in training or in validation,
never in both, and is trained on at most ``max_epochs`` times.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl
import xxhash

from codeft_assets.curation.documents import DOMAINS
from codeft_assets.curation.report import StageReport

CHARS_PER_TOKEN = 3.3
"""Used before there is a tokenizer: Qwen 2.5's on Python and English lies between 3.1 and 4.2; ours is smaller."""
OVER_BUDGET = "over_budget"
PLAN_SCHEMA = {"document_id": pl.String, "split": pl.String, "epochs": pl.UInt8}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """How much of what."""

    domain_shares: Mapping[str, float] = field(default_factory=lambda: {"code": 0.65, "math": 0.15, "reasoning": 0.20})
    """Share of the training tokens; a share that its documents cannot fill goes to the other domains."""
    token_budget: int | None = None
    """Training tokens wanted, counted with repetitions; None takes every document once and repeats none."""
    max_epochs: int = 4
    """Repeating up to four times is nearly as good as fresh data (arXiv 2305.16264)."""
    validation_fraction: float = 0.03
    """Share of documents held out of training, drawn within each source."""
    seed: int = 1

    def __post_init__(self) -> None:
        if set(self.domain_shares) != set(DOMAINS) or abs(sum(self.domain_shares.values()) - 1) > 1e-6:
            raise ValueError(
                f"domain_shares {dict(self.domain_shares)} must name {DOMAINS} and add up to 1; correct the mixture"
            )
        if self.max_epochs < 1 or not 0 <= self.validation_fraction < 0.5:
            raise ValueError(
                f"max_epochs {self.max_epochs} must be at least 1 and validation_fraction "
                f"{self.validation_fraction} in [0, 0.5); correct the mixture"
            )
        if self.token_budget is not None and self.token_budget < 1:
            raise ValueError(f"token_budget {self.token_budget} must be positive, or None for everything once")


MIXTURE = Mixture()


def plan_mixture(
    documents: pl.DataFrame, weights: Mapping[str, float], mixture: Mixture = MIXTURE
) -> tuple[pl.DataFrame, StageReport]:
    """Return ``document_id``, ``split`` and ``epochs`` of every document in the corpus, and the accounts.

    Args:
        documents: ``document_id``, ``source``, ``domain`` and ``num_chars`` of the documents that passed every stage.
        weights: Relative weight of each source within its domain.
        mixture: Shares, budget and seed.
    """
    drawn = _draw(documents, mixture)
    held_out = drawn.filter("is_validation").select("document_id", split=pl.lit("validation"), epochs=pl.lit(1))
    training = drawn.filter(~pl.col("is_validation"))
    chosen = _choose(training, source_tokens(training, weights, mixture), mixture)
    plan = pl.concat([held_out.cast(PLAN_SCHEMA), chosen.cast(PLAN_SCHEMA)]).sort("document_id")  # type: ignore[arg-type]
    num_dropped = documents.height - plan.height
    report = StageReport(
        num_in=documents.height, num_out=plan.height, dropped={OVER_BUDGET: num_dropped} if num_dropped else {}
    )
    return plan, report


def _draw(documents: pl.DataFrame, mixture: Mixture) -> pl.DataFrame:
    """Give each document a number in [0, 1) that depends on its id and the seed only, and hold the first ones out."""
    numbers = [
        xxhash.xxh3_64_intdigest(document_id, seed=mixture.seed) / 2**64 for document_id in documents["document_id"]
    ]
    num_tokens = (pl.col("num_chars") / CHARS_PER_TOKEN).ceil().cast(pl.Int64)
    position = (pl.col("draw").rank("ordinal").over("source") - 1) / pl.len().over("source")
    return (
        documents.select("document_id", "source", "domain", num_tokens=num_tokens)
        .with_columns(draw=pl.Series(numbers, dtype=pl.Float64))
        .sort("source", "draw", "document_id")
        .with_columns(is_validation=(position < mixture.validation_fraction) & (pl.len().over("source") > 1))
    )


def source_tokens(training: pl.DataFrame, weights: Mapping[str, float], mixture: Mixture) -> dict[str, float]:
    """Return how many training tokens each source gives, repetitions counted.

    Shares are filled like connected vessels: a source that has no more to give at ``max_epochs`` leaves its part to the
    others of its domain, a domain that is exhausted to the other domains.
    """
    available = training.group_by("source", "domain").agg(pl.col("num_tokens").sum()).sort("source")
    domain_of = dict(available.select("source", "domain").iter_rows())
    tokens = {source: float(n) for source, n in available.select("source", "num_tokens").iter_rows()}
    if mixture.token_budget is None:
        return tokens
    capacity = {source: n * mixture.max_epochs for source, n in tokens.items()}
    in_domain = {domain: sum(weights[s] for s in tokens if domain_of[s] == domain) for domain in DOMAINS}
    share = {s: mixture.domain_shares[domain_of[s]] * weights[s] / in_domain[domain_of[s]] for s in tokens}
    return _fill(float(mixture.token_budget), share, capacity)


def _fill(budget: float, share: Mapping[str, float], capacity: Mapping[str, float]) -> dict[str, float]:
    given = dict.fromkeys(share, 0.0)
    open_sources = {source for source in share if share[source] > 0 and capacity[source] > 0}
    while open_sources and budget - sum(given.values()) > 1:
        rest = budget - sum(given.values())
        total = sum(share[source] for source in open_sources)
        for source in sorted(open_sources):
            given[source] = min(given[source] + rest * share[source] / total, capacity[source])
        open_sources = {source for source in open_sources if capacity[source] - given[source] > 0.5}
    return given


def _choose(training: pl.DataFrame, wanted: Mapping[str, float], mixture: Mixture) -> pl.DataFrame:
    """Return epochs per document: all get the whole epochs, the first in drawing order one more."""
    target = pl.col("source").replace_strict(dict(wanted), return_dtype=pl.Float64)
    total = pl.col("num_tokens").sum().over("source")
    before = pl.col("num_tokens").cum_sum().over("source") - pl.col("num_tokens")
    whole = (target / total).floor()
    extra = (before < target - whole * total - 0.5).cast(pl.Float64)
    epochs = (whole + extra).clip(0, mixture.max_epochs).cast(pl.UInt8)
    chosen = training.select("document_id", split=pl.lit("train"), epochs=epochs)
    return chosen.filter(pl.col("epochs") > 0)
