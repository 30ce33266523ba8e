"""The plan of the mixture: the split of each document, and how often training reads it.

Documents are drawn, each by itself; from all of them, part by part, follow the cuts of each source; the cuts and the
document alone say what becomes of it.

Invariant: the plan depends on the documents, the mixture and its seed only. A document is in training or in validation,
never in both; near duplicates are on the same side; none is trained on more than ``max_epochs`` times.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl
import xxhash

from codeft_assets.curation.corpus.cuts import CUT_SCHEMA, ORDER, find_cuts, is_taken
from codeft_assets.curation.corpus.mixture import (
    MIXTURE,
    OVER_BUDGET,
    PLAN_SCHEMA,
    TRAIN,
    VALIDATION,
    Mixture,
    allocate_tokens,
)
from codeft_assets.curation.documents import CHARS_PER_TOKEN
from codeft_assets.curation.report import StageReport
from codeft_assets.curation.tally import sum_by

Drawn = Callable[[Sequence[str]], Iterator[pl.DataFrame]]
"""Yields columns of documents as ``draw`` returns them, in parts; it is called again and again."""
Parts = Callable[[], Iterator[pl.DataFrame]]
HELD_OUT, ANNEALING, READING = "held_out", "annealing", "reading"
CUTS_SCHEMA = {**CUT_SCHEMA, "phase": pl.String, "rounds": pl.Int32, "largest_group": pl.Float64}
"""One row a phase and source: all its documents are read ``rounds`` times, those up to the cut once more."""
_DOCUMENT = ("rank", "draw", "document_id")
_GROUP = ("group_draw", "group_draw", "group_id")
_READ = ("source", "domain", "format", "num_tokens", *_DOCUMENT, "home", "group_size", *_GROUP[1:])


def plan_mixture(
    documents: pl.DataFrame, weights: Mapping[str, float], mixture: Mixture = MIXTURE
) -> tuple[pl.DataFrame, StageReport]:
    """Return one row per document by ``PLAN_SCHEMA``, and the row counts: the plan of what fits into memory.

    Args:
        documents: ``document_id``, ``source``, ``domain``, ``format``, ``language``, ``num_chars``, ``group_id``
            and ``is_alone`` (it was kept in no duplicate's place) of the documents that passed every stage.
        weights: Relative weight of each source within its domain.
        mixture: Shares, budget, phases and seed.
    """
    drawn = draw(measure_groups(documents.with_columns(is_planned=True), "group_id"), mixture.seed)
    cuts = decide_cuts(lambda columns: iter([drawn.select(columns)]), weights, mixture)
    plan = apply_cuts(drawn, cuts, mixture).sort("document_id")
    return plan, count_planned(plan)


def count_planned(plan: pl.DataFrame) -> StageReport:
    """Return how many documents of a plan are read, and how many the budget leaves out."""
    num_dropped = plan["split"].null_count()
    dropped = {OVER_BUDGET: num_dropped} if num_dropped else {}
    return StageReport(num_in=plan.height, num_out=plan.height - num_dropped, dropped=dropped)


def measure_groups(documents: pl.DataFrame, group: str) -> pl.DataFrame:
    """Return documents by id, with the size of their group, and its home: the source of its first document.

    Args:
        documents: ``document_id``, ``source``, the column ``group``, and ``is_planned``: only these count.
        group: Names the group.
    """
    return documents.sort("document_id").with_columns(
        group_size=pl.col("is_planned").sum().over(group),
        home=pl.col("source").filter("is_planned").first().over(group),
    )


def draw(documents: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Return documents with a random number of each and of its group, which depends on the ids and the seed only.

    Their order is that of ``rank``, ``draw`` and the id: a document that was kept in place of others comes first, for
    left out by the budget, all of them would be lost.
    """
    own = [xxhash.xxh3_64_intdigest(name, seed=seed) for name in documents["document_id"]]
    pairs = zip(documents["document_id"], documents["group_id"], own, strict=True)
    of_group = [n if group == name else xxhash.xxh3_64_intdigest(group, seed=seed) for name, group, n in pairs]
    num_tokens = (pl.col("num_chars") / CHARS_PER_TOKEN).ceil().cast(pl.UInt32)
    drawn = documents.with_columns(
        num_tokens=num_tokens, draw=pl.Series(own, dtype=pl.UInt64), group_draw=pl.Series(of_group, dtype=pl.UInt64)
    )
    top_bit = pl.when("is_alone").then(pl.lit(1 << 63, pl.UInt64)).otherwise(pl.lit(0, pl.UInt64))
    return drawn.with_columns(rank=pl.col("draw") // 2 + top_bit)


def decide_cuts(drawn: Drawn, weights: Mapping[str, float], mixture: Mixture, num_bits: int = 0) -> pl.DataFrame:
    """Return the cuts of every source by ``CUTS_SCHEMA``.

    The annealing phase is filled first; its epochs count against the limit when the broad phase is filled. Epochs are
    added round by round: no document is read a third time before all of its source were read twice.

    Args:
        drawn: The documents.
        weights: Relative weight of each source within its domain.
        mixture: Shares, budget, phases.
        num_bits: Of ``n`` documents, about ``n / 2**num_bits`` are put in order at a time.
    """
    held_out = _cut_groups(drawn, mixture, num_bits)

    def training() -> Iterator[pl.DataFrame]:
        return (part.filter(~_is_held_out(part, held_out)) for part in drawn(_READ))

    def curated() -> Iterator[pl.DataFrame]:
        return (part.filter(_is_curated(mixture)) for part in training())

    def unread() -> Iterator[pl.DataFrame]:
        return (part.filter(_first_epochs(part, annealing, mixture) <= _rounds(part, filled)) for part in training())

    totals = _training_tokens(training(), mixture)
    budget = mixture.token_budget or int(totals["tokens"].sum())
    filled = _fill_rounds(_annealing_supply(totals, mixture), budget * mixture.annealing_share, weights, mixture)
    annealing = _cut_documents(ANNEALING, filled, curated, num_bits)
    begun = totals.join(annealing.select("source", "rounds", "taken"), on="source", how="left").with_columns(
        pl.col("rounds", "taken").fill_null(0)
    )
    num_read = int((begun["curated"] * begun["rounds"] + begun["taken"]).sum())
    filled = _fill_rounds(_reading_supply(begun, mixture), budget - num_read, weights, mixture)
    return pl.concat([held_out, annealing, _cut_documents(READING, filled, unread, num_bits)])


def _cut_groups(drawn: Drawn, mixture: Mixture, num_bits: int) -> pl.DataFrame:
    """Hold out whole groups, in the order of their numbers, until each source has given its fraction.

    A group belongs to the source of its first document. A group larger than the fraction is trained on: as
    validation it would be all of its source's.
    """
    counted = sum_by((part.select(source="home", tokens=1) for part in drawn(["home"])), "source")
    homes = counted.filter(pl.col("tokens") > 1).with_columns(wanted=mixture.validation_fraction * pl.col("tokens"))
    homes = homes.with_columns(largest_group=pl.max_horizontal("wanted", 1.0))

    def fitting() -> Iterator[pl.DataFrame]:
        for part in drawn(["home", "group_size", *_GROUP[1:]]):
            found = part.join(homes, left_on="home", right_on="source")
            fits = found.filter(pl.col("group_size") <= pl.col("largest_group"))
            yield fits.select(source="home", tokens=1, **dict(zip(ORDER, _GROUP, strict=True)))

    cuts = find_cuts(fitting, dict(homes.select("source", "wanted").iter_rows()), num_bits)
    largest = homes.select("source", "largest_group", phase=pl.lit(HELD_OUT), rounds=0)
    return _by_schema(largest.join(cuts, on="source"))


def _is_held_out(part: pl.DataFrame, held_out: pl.DataFrame) -> pl.Series:
    joined = part.join(held_out, left_on="home", right_on="source", how="left", maintain_order="left")
    fits = (pl.col("group_size") <= pl.col("largest_group")).fill_null(value=False)
    return joined.select(fits & is_taken(*_GROUP)).to_series()


def _is_curated(mixture: Mixture) -> pl.Expr:
    return pl.col("format").is_in(mixture.annealing_formats)


def _training_tokens(parts: Iterator[pl.DataFrame], mixture: Mixture) -> pl.DataFrame:
    """Return ``source``, ``domain`` and the ``tokens`` of all and of the ``curated`` training documents, each once."""
    curated = pl.when(_is_curated(mixture)).then("num_tokens").otherwise(0)
    counted = (part.select("source", "domain", tokens="num_tokens", curated=curated) for part in parts)
    return sum_by(counted, "source", "domain").sort("source", "domain")


@dataclass(frozen=True, slots=True)
class _Supply:
    """Tokens that the documents of a source can give in a phase."""

    domain: str
    by_round: list[int]
    """Tokens of the documents that a round may read once more: those that were read less often."""


def _annealing_supply(totals: pl.DataFrame, mixture: Mixture) -> dict[str, _Supply]:
    curated = totals.filter(pl.col("curated") > 0).to_dicts()
    return {row["source"]: _Supply(row["domain"], [row["curated"]] * mixture.epoch_limit) for row in curated}


def _reading_supply(begun: pl.DataFrame, mixture: Mixture) -> dict[str, _Supply]:
    supply = {}
    for row in begun.to_dicts():
        all_rounds = [row["tokens"] - row["curated"]] * row["rounds"]
        all_rounds += [row["tokens"] - row["taken"]] + [row["tokens"]] * mixture.epoch_limit
        supply[row["source"]] = _Supply(row["domain"], all_rounds[: mixture.epoch_limit])
    return supply


def _fill_rounds(
    supply: Mapping[str, _Supply], budget: float, weights: Mapping[str, float], mixture: Mixture
) -> dict[str, tuple[int, float]]:
    """Return of each source the rounds that read all open documents, and the tokens wanted of the next."""
    rows = [(source, found.domain, sum(found.by_round)) for source, found in supply.items()]
    schema = {"source": pl.String, "domain": pl.String, "capacity": pl.Int64}
    wanted = allocate_tokens(pl.DataFrame(rows, schema=schema, orient="row"), budget, weights, mixture)
    filled = {}
    for source, found in supply.items():
        given = [0, *itertools.accumulate(found.by_round)]
        rounds = sum(tokens < wanted[source] + 0.5 for tokens in given[1:])  # a document has one token or more
        filled[source] = (rounds, wanted[source] - 0.5 - given[rounds] if rounds < mixture.epoch_limit else 0.0)
    return filled


def _cut_documents(phase: str, filled: Mapping[str, tuple[int, float]], parts: Parts, num_bits: int) -> pl.DataFrame:
    """Return the cuts of a phase: of the documents in ``parts`` those that the last round reads."""
    named = dict(zip(ORDER, _DOCUMENT, strict=True))

    def rows() -> Iterator[pl.DataFrame]:
        return (part.select("source", tokens="num_tokens", **named) for part in parts())

    cuts = find_cuts(rows, {source: wanted for source, (_, wanted) in filled.items()}, num_bits)
    rounds = pl.DataFrame(
        [(phase, source, number, None) for source, (number, _) in filled.items()],
        schema={name: CUTS_SCHEMA[name] for name in ("phase", "source", "rounds", "largest_group")},
        orient="row",
    )
    return _by_schema(rounds.join(cuts, on="source", how="left"))


def _by_schema(cuts: pl.DataFrame) -> pl.DataFrame:
    return cuts.select(list(CUTS_SCHEMA)).cast(CUTS_SCHEMA).sort("source")  # type: ignore[arg-type]


def _rounds(part: pl.DataFrame, filled: Mapping[str, tuple[int, float]]) -> pl.Series:
    numbers = {source: number for source, (number, _) in filled.items()}
    return part["source"].replace_strict(numbers, return_dtype=pl.Int32)


def _first_epochs(part: pl.DataFrame, annealing: pl.DataFrame, mixture: Mixture) -> pl.Series:
    """Return how often the annealing phase reads each document."""
    joined = part.join(annealing, on="source", how="left", maintain_order="left")
    epochs = pl.col("rounds") + is_taken(*_DOCUMENT).cast(pl.Int32)
    return joined.select(pl.when(_is_curated(mixture)).then(epochs).otherwise(0).alias("epochs")).to_series()


def apply_cuts(drawn: pl.DataFrame, cuts: pl.DataFrame, mixture: Mixture) -> pl.DataFrame:
    """Return a row by ``PLAN_SCHEMA`` of each of ``drawn``, in order; ``cuts`` are those of all documents."""
    by_phase = {phase: cuts.filter(pl.col("phase") == phase) for phase in (HELD_OUT, ANNEALING, READING)}
    is_held_out, first = _is_held_out(drawn, by_phase[HELD_OUT]), _first_epochs(drawn, by_phase[ANNEALING], mixture)
    joined = drawn.with_columns(is_held_out=is_held_out, first=first).join(
        by_phase[READING], on="source", how="left", maintain_order="left"
    )
    is_read_more = (pl.col("first") <= pl.col("rounds")) & is_taken(*_DOCUMENT)
    epochs = pl.max_horizontal("first", "rounds") + is_read_more.cast(pl.Int32)
    split = pl.when("is_held_out").then(pl.lit(VALIDATION)).when(epochs > 0).then(pl.lit(TRAIN))
    planned = joined.with_columns(
        split=split,
        epochs=pl.when("is_held_out").then(1).otherwise(epochs),
        annealing_epochs=pl.when("is_held_out").then(0).otherwise("first"),
    )
    return planned.select(list(PLAN_SCHEMA)).cast(PLAN_SCHEMA)  # type: ignore[arg-type]
