"""The mixture: shares per domain, weights per source, a token budget; what each source gives, and a plan's totals."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import polars as pl

from codeft_assets.curation.documents import CHARS_PER_TOKEN, DOMAINS, FORMATS

OVER_BUDGET = "over_budget"
TRAIN, VALIDATION = "train", "validation"
PLAN_SCHEMA = {
    "document_id": pl.String,
    "source": pl.String,
    "domain": pl.String,
    "format": pl.String,
    "language": pl.String,
    "num_tokens": pl.UInt32,
    "group_id": pl.String,
    "split": pl.String,
    "epochs": pl.UInt8,
    "annealing_epochs": pl.UInt8,
}
PLAN_COLUMNS = {
    "num_tokens": f"estimated before there is a tokenizer: characters / {CHARS_PER_TOKEN}",
    "group_id": "smallest document id among this document's near duplicates: a group is never divided between splits",
    "split": "train, validation, or null for a document that the token budget leaves out",
    "epochs": "how often training reads the document, annealing included",
    "annealing_epochs": "how many of these readings are in the annealing phase, at the end",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """Proportions, size and phases of the training data."""

    domain_shares: Mapping[str, float] = field(default_factory=lambda: {"code": 0.65, "math": 0.15, "reasoning": 0.20})
    """Share of the training tokens; a share that its documents cannot fill goes to the other domains."""
    token_budget: int | None = None
    """Training tokens, repetitions included; None reads every document once."""
    max_epochs: int = 4
    """Repeating up to four times is nearly as good as fresh data (arXiv 2305.16264)."""
    annealing_share: float = 0.0
    """Share of the tokens that is read last, from ``annealing_formats`` only; OpenCoder (arXiv 2411.04905) and SmolLM2
    (arXiv 2502.02737) end on curated data. 0: one phase."""
    annealing_formats: tuple[str, ...] = ("textbook", "instruct")
    validation_fraction: float = 0.03
    """Share of each source's documents that is held out of training, whole groups of near duplicates at a time."""
    seed: int = 1

    def __post_init__(self) -> None:
        shares = self.domain_shares.values()
        if set(self.domain_shares) != set(DOMAINS) or min(shares) < -1e-6 or abs(sum(shares) - 1) > 1e-6:
            raise ValueError(
                f"domain_shares {dict(self.domain_shares)} must name {DOMAINS}, none be negative, and add up to 1; "
                f"correct the mixture"
            )
        if self.max_epochs < 1 or not 0 <= self.validation_fraction < 0.5:
            raise ValueError(
                f"max_epochs {self.max_epochs} must be at least 1 and validation_fraction "
                f"{self.validation_fraction} in [0, 0.5); correct the mixture"
            )
        if self.token_budget is not None and self.token_budget < 1:
            raise ValueError(f"token_budget {self.token_budget} must be positive, or None for everything once")
        if not 0 <= self.annealing_share < 1 or not set(self.annealing_formats) <= set(FORMATS):
            raise ValueError(
                f"annealing_share {self.annealing_share} must lie in [0, 1) and annealing_formats "
                f"{self.annealing_formats} be among {FORMATS}; correct the mixture"
            )

    @property
    def epoch_limit(self) -> int:
        """Most epochs of a document; 1 without a budget."""
        return 1 if self.token_budget is None else self.max_epochs

    def includes(self, domain: str) -> bool:
        """Whether documents of ``domain`` are read at all: with a budget, a share of 0 means none."""
        return self.token_budget is None or self.domain_shares[domain] > 0


MIXTURE = Mixture()


def allocate_tokens(
    capacity: pl.DataFrame, budget: float, weights: Mapping[str, float], mixture: Mixture
) -> dict[str, float]:
    """Return the tokens of ``budget`` that each source contributes, repetitions included.

    Shares are filled like connected vessels: a source that has no more to give leaves its part to the others of its
    domain in proportion, a domain that is exhausted to the other domains.

    Args:
        capacity: ``source``, ``domain`` and ``capacity``: the most tokens that may still be read from each source.
        budget: Tokens wanted.
        weights: Relative weight of each source within its domain.
        mixture: The shares of the domains.
    """
    domain_by_source = dict(capacity.select("source", "domain").iter_rows())
    limit = {
        source: float(n) if mixture.includes(domain) else 0.0
        for source, domain, n in capacity.sort("source").iter_rows()
    }
    if budget >= sum(limit.values()):
        return limit
    given = dict.fromkeys(limit, 0.0)
    open_sources = {source for source in limit if limit[source] > 0}
    while open_sources and budget - sum(given.values()) > 1:
        rest = budget - sum(given.values())
        for source, share in _shares(open_sources, domain_by_source, weights, mixture).items():
            given[source] = min(given[source] + rest * share, limit[source])
        open_sources = {source for source in open_sources if limit[source] - given[source] > 0.5}
    return given


def _shares(
    sources: set[str], domain_by_source: Mapping[str, str], weights: Mapping[str, float], mixture: Mixture
) -> dict[str, float]:
    """Return the share of each of ``sources`` when only these have capacity left; the shares add up to 1."""
    in_domain: dict[str, float] = {}
    for source in sources:
        in_domain[domain_by_source[source]] = in_domain.get(domain_by_source[source], 0.0) + weights[source]
    total = sum(mixture.domain_shares[domain] for domain in in_domain)
    if not total:  # without a budget shares do not exclude: documents of share 0 are left, each to be read once
        return {source: 1 / len(sources) for source in sorted(sources)}
    share = {domain: mixture.domain_shares[domain] / total / in_domain[domain] for domain in in_domain}
    return {source: share[domain_by_source[source]] * weights[source] for source in sorted(sources)}


TALLIED = ["domain", "source", "language", "format", "num_tokens", "split", "epochs", "annealing_epochs"]
_KINDS = ("domain", "source", "language", "format")


def tally_plan(parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Return a plan's totals by domain, source, language and format, for ``summarize``.

    Args:
        parts: The plan's columns ``TALLIED``, of which one part is in memory at a time.
    """
    tokens, epochs = pl.col("num_tokens").cast(pl.Int64), pl.col("epochs").cast(pl.Int64)
    may_train = pl.col("split").ne_missing(VALIDATION)
    trained = may_train & (epochs > 0)
    totals = (
        part.group_by(_KINDS).agg(
            documents=pl.len().cast(pl.Int64),
            available=tokens.filter(may_train).sum(),
            read=(tokens * epochs).filter(may_train).sum(),
            repeated=(tokens * (epochs - 1)).filter(trained).sum(),
            annealing=(tokens * pl.col("annealing_epochs").cast(pl.Int64)).sum(),
            most_epochs=epochs.filter(may_train).max().fill_null(0),
            held_out=tokens.filter(~may_train).sum(),
        )
        for part in parts
    )
    return functools.reduce(lambda total, part: _add_up(pl.concat([total, part]), *_KINDS), totals)


def _add_up(tallies: pl.DataFrame, *columns: str) -> pl.DataFrame:
    sums = pl.exclude(*_KINDS, "most_epochs").sum()
    added = tallies.group_by(columns).agg(sums, pl.col("most_epochs").max())
    return added.select([*columns, *(name for name in tallies.columns if name not in _KINDS)])


def summarize(tally: pl.DataFrame, by: str) -> pl.DataFrame:
    """Return a plan's totals by a column: documents, and tokens available, read, repeated, annealed and held out.

    ``available`` are the tokens of documents that may train, each once; ``read`` counts repetitions; ``repeated`` is
    the part of ``read`` that is not seen for the first time.
    """
    share = pl.col("read") / pl.max_horizontal(pl.col("read").sum(), 1)
    return _add_up(tally, by).sort(by).with_columns(share=share)


def target_tokens(tally: pl.DataFrame, by: str, weights: Mapping[str, float], mixture: Mixture) -> dict[str, int]:
    """Return the tokens that the shares allot to each ``domain`` or ``source``, whether available or not.

    Args:
        tally: As ``tally_plan`` returns it.
        by: ``domain`` or ``source``.
        weights: Relative weight of each source within its domain.
        mixture: Shares and budget; without a budget, the target is all that is available.
    """
    training = tally.filter(pl.col("available") > 0)
    budget = mixture.token_budget or int(training["available"].sum())
    if by == "domain":
        return {domain: round(budget * share) for domain, share in mixture.domain_shares.items()}
    domain_by_source = dict(training.select("source", "domain").unique().iter_rows())
    in_domain: dict[str, float] = {}
    for source, domain in domain_by_source.items():
        in_domain[domain] = in_domain.get(domain, 0.0) + weights[source]
    return {
        source: round(budget * mixture.domain_shares[domain] * weights[source] / in_domain[domain])
        for source, domain in sorted(domain_by_source.items())
    }
