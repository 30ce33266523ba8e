"""The mixture plan: shares per domain, weights per source, a token budget; epochs and split of each document.

Invariant: the plan depends on the documents, the mixture and its seed only. A document is in training or in validation,
never in both; near duplicates are on the same side; none is trained on more than ``max_epochs`` times.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl
import xxhash

from codeft_assets.curation.documents import CHARS_PER_TOKEN, DOMAINS, FORMATS
from codeft_assets.curation.report import StageReport

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
_DRAWING_ORDER = ["source", "is_alone", "draw", "document_id"]
"""A document that was kept in place of others comes first: left out by the budget, all of them would be lost."""


def plan_mixture(
    documents: pl.DataFrame, weights: Mapping[str, float], mixture: Mixture = MIXTURE
) -> tuple[pl.DataFrame, StageReport]:
    """Return one row per document by ``PLAN_SCHEMA``, and the row counts.

    Args:
        documents: ``document_id``, ``source``, ``domain``, ``format``, ``language``, ``num_chars``, ``group_id``
            and ``is_alone`` (it was kept in no duplicate's place) of the documents that passed every stage.
        weights: Relative weight of each source within its domain.
        mixture: Shares, budget, phases and seed.
    """
    drawn = _mark_validation(_draw(documents, mixture), mixture)
    training = _assign_epochs_by_phase(drawn.filter(~pl.col("is_validation")), weights, mixture)
    validation = drawn.filter("is_validation").with_columns(
        split=pl.lit(VALIDATION), epochs=pl.lit(1), annealing_epochs=pl.lit(0)
    )
    parts = [part.select(list(PLAN_SCHEMA)).cast(PLAN_SCHEMA) for part in (validation, training)]  # type: ignore[arg-type]
    plan = pl.concat(parts).sort("document_id")
    num_dropped = plan["split"].null_count()
    report = StageReport(
        num_in=documents.height,
        num_out=plan.height - num_dropped,
        dropped={OVER_BUDGET: num_dropped} if num_dropped else {},
    )
    return plan, report


def _draw(documents: pl.DataFrame, mixture: Mixture) -> pl.DataFrame:
    """Add to each document and each group a random number that depends on its id and the seed only, and sort by it."""

    def drawn(column: str) -> pl.Series:
        numbers = [xxhash.xxh3_64_intdigest(value, seed=mixture.seed) for value in documents[column]]
        return pl.Series(numbers, dtype=pl.UInt64)

    num_tokens = (pl.col("num_chars") / CHARS_PER_TOKEN).ceil().cast(pl.Int64)
    return documents.with_columns(num_tokens=num_tokens, draw=drawn("document_id"), group_draw=drawn("group_id")).sort(
        _DRAWING_ORDER
    )


def _mark_validation(drawn: pl.DataFrame, mixture: Mixture) -> pl.DataFrame:
    """Mark whole groups for validation, in drawing order, until each source has given its fraction.

    A group belongs to the source of its first document. A group larger than the fraction is trained on: as
    validation it would be all of its source's.
    """
    groups = drawn.group_by("group_id").agg(
        pl.col("group_draw").first(), home=pl.col("source").sort_by("document_id").first(), size=pl.len()
    )
    wanted = mixture.validation_fraction * pl.col("at_home")
    fits = (pl.col("size") <= pl.max_horizontal(wanted, pl.lit(1.0))) & (pl.col("at_home") > 1)
    before = pl.col("size").cum_sum().over("home") - pl.col("size")
    marked = (
        groups.with_columns(at_home=pl.col("size").sum().over("home"))
        .filter(fits)
        .sort("home", "group_draw", "group_id")
        .filter(before < wanted)
        .select("group_id", is_validation=pl.lit(True))
    )
    return drawn.join(marked, on="group_id", how="left", maintain_order="left").with_columns(
        pl.col("is_validation").fill_null(False)
    )


def _assign_epochs_by_phase(training: pl.DataFrame, weights: Mapping[str, float], mixture: Mixture) -> pl.DataFrame:
    """Return ``training`` with the epochs of each document, in total and in the annealing phase.

    The annealing phase is filled first; its epochs count against the limit when the broad phase is filled.
    """
    budget = mixture.token_budget or int(training["num_tokens"].sum())
    unread = training.with_columns(epochs=pl.lit(0), annealing_epochs=pl.lit(0))
    curated = unread.filter(pl.col("format").is_in(mixture.annealing_formats))
    annealed = _add_epochs(curated, budget * mixture.annealing_share, weights, mixture)
    others = unread.filter(~pl.col("format").is_in(mixture.annealing_formats))
    begun = pl.concat([annealed.with_columns(annealing_epochs="epochs"), others]).sort(_DRAWING_ORDER)
    rest = budget - int((begun["num_tokens"] * begun["epochs"]).sum())
    return _add_epochs(begun, rest, weights, mixture).with_columns(
        split=pl.when(pl.col("epochs") > 0).then(pl.lit(TRAIN)).otherwise(pl.lit(None, dtype=pl.String))
    )


def _add_epochs(documents: pl.DataFrame, budget: float, weights: Mapping[str, float], mixture: Mixture) -> pl.DataFrame:
    """Return ``documents`` with ``epochs`` raised until ``budget`` further tokens are read.

    Epochs are added round by round in drawing order: no document is read a third time before all of its source were
    read twice.
    """
    limit = mixture.epoch_limit
    capacity = documents.group_by("source", "domain").agg(
        (pl.col("num_tokens") * (limit - pl.col("epochs"))).sum().alias("capacity")
    )
    allocated = allocate_tokens(capacity, budget, weights, mixture)
    wanted = pl.DataFrame(list(allocated.items()), schema={"source": pl.String, "wanted": pl.Float64}, orient="row")
    read = documents.join(wanted, on="source", how="left", maintain_order="left").with_columns(given=pl.lit(0.0))
    for round_number in range(1, limit + 1):
        is_open = pl.col("epochs") < round_number
        tokens = pl.when(is_open).then("num_tokens").otherwise(0)
        before = pl.col("given") + tokens.cum_sum().over("source") - tokens
        taken = is_open & (before < pl.col("wanted") - 0.5)
        read = read.with_columns(
            epochs=pl.col("epochs") + taken.cast(pl.Int32),
            given=pl.col("given") + (pl.col("num_tokens") * taken).sum().over("source"),
        )
    return read.drop("given", "wanted")


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


def summarize(plan: pl.DataFrame, by: str) -> pl.DataFrame:
    """Return a plan's totals by a column: documents, and tokens available, read, repeated, annealed and held out.

    ``available`` are the tokens of documents that may train, each once; ``read`` counts repetitions; ``repeated`` is
    the part of ``read`` that is not seen for the first time.
    """
    tokens, epochs = pl.col("num_tokens").cast(pl.Int64), pl.col("epochs").cast(pl.Int64)
    may_train = pl.col("split").ne_missing(VALIDATION)
    trained = may_train & (epochs > 0)
    return (
        plan.group_by(by)
        .agg(
            documents=pl.len(),
            available=tokens.filter(may_train).sum(),
            read=(tokens * epochs).filter(may_train).sum(),
            repeated=(tokens * (epochs - 1)).filter(trained).sum(),
            annealing=(tokens * pl.col("annealing_epochs").cast(pl.Int64)).sum(),
            most_epochs=epochs.filter(may_train).max().fill_null(0),
            held_out=tokens.filter(~may_train).sum(),
        )
        .sort(by)
        .with_columns(share=pl.col("read") / pl.max_horizontal(pl.col("read").sum(), 1))
    )


def target_tokens(plan: pl.DataFrame, by: str, weights: Mapping[str, float], mixture: Mixture) -> dict[str, int]:
    """Return the tokens that the shares allot to each ``domain`` or ``source``, whether available or not.

    Args:
        plan: As ``plan_mixture`` returns it.
        by: ``domain`` or ``source``.
        weights: Relative weight of each source within its domain.
        mixture: Shares and budget; without a budget, the target is all that is available.
    """
    training = plan.filter(pl.col("split").ne_missing(VALIDATION))
    budget = mixture.token_budget or int(training["num_tokens"].sum())
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
