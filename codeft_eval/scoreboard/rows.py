"""The scoreboard: our scores relative to Qwen 2.5's, each comparison labelled with its basis.

Pure: scores and references in, rows out. A ratio appears only where both sides are pass rates on the same, whole set of
items; everywhere else stands the reason why there is none.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from codeft_eval.benchmarks.benchmark import PROTOCOLS, UNSTATED
from codeft_eval.benchmarks.catalogue import all_benchmarks
from codeft_eval.scoreboard.history import Change
from codeft_eval.scoreboard.reference import ReferenceScore, published_for, reference_verdicts, show_shots
from codeft_eval.scoring.scores import BESIDE, BITS_PER_BYTE, PASS_AT_1, Measurement, Score, score_name
from codeft_eval.statistics.comparison import PAIRED, Comparison, Interval, paired, paired_bits, unpaired
from codeft_eval.statistics.intervals import Estimate, mean_of_items, proportion

Provenance = Literal["published", "measured"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One comparison."""

    benchmark: str
    title: str
    languages: tuple[str, ...]
    metric: str
    protocol_name: str
    protocol: str
    """In words."""
    prompt_end: str
    ours: Estimate | None
    num_items: int
    num_unscored: int
    num_leaked: int | None
    """Items that some source document holds; None when nobody looked."""
    clean: Estimate | None
    """Ours without the leaked items; None when nobody looked or none is left."""
    reference_model: str
    """Empty when there is nothing to compare with."""
    reference: float | None
    reference_interval: tuple[float, float] | None
    """Only of a measured reference: published figures come without one."""
    provenance: Provenance | None
    """Published: their harness; measured: this harness, same protocol."""
    source: str
    comparison: Comparison | None
    clean_ratio: Interval | None
    """The ratio without the leaked items, where items can be paired."""
    note: str
    """The basis of the comparison, or why there is none."""

    @property
    def score_name(self) -> str:
        """The name of our score: its benchmark, and its protocol where it is not that of base models."""
        return score_name(self.benchmark, self.protocol_name)

    @property
    def ratio(self) -> Interval | None:
        """Ours over theirs; None where there is no comparison or theirs is near 0."""
        return self.comparison.ratio if self.comparison else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Several benchmarks in one number."""

    name: str
    ours: Estimate | None
    """Pass rate over all their items; translations of one problem count as one draw."""
    ratio: Interval | None
    note: str
    """The benchmarks, or why there is no ratio."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoreboard:
    """All comparisons of one model."""

    model: str
    model_hash: str
    num_tokens: int | None
    """Tokens the model was trained on; None when unknown."""
    headline: str
    """The reference model of the summaries."""
    rows: tuple[Row, ...]
    overall: Summary
    by_language: tuple[Summary, ...]
    changes: tuple[Change, ...]
    """Since the checkpoint before; empty for the first."""
    warnings: tuple[str, ...]


def benchmark_rows(
    ours: Measurement,
    measured: Mapping[str, Sequence[Measurement]],
    leaked: Mapping[str, Collection[str]] | None,
) -> list[Row]:
    """Return the comparisons of one benchmark; ``measured`` references take the place of published figures.

    ``leaked`` holds the items of each benchmark that a source document holds; None when nobody looked.
    """
    found = None if leaked is None else frozenset(leaked.get(ours.score.benchmark, ())) & ours.pass_rates.keys()
    rows = []
    for metric in (PASS_AT_1, BITS_PER_BYTE):
        if metric == BITS_PER_BYTE and metric not in ours.score.metrics:
            continue
        references = _measured_rows(ours, metric, measured, found)
        names = {row.reference_model for row in references}
        if metric == PASS_AT_1:
            published = [row for row in _published(ours.score) if row.model not in names]
            references += [_published_row(ours, row, found) for row in published]
        rows += references or [_row(ours, metric, found, note=_why_no_reference(ours.score, metric))]
    return rows


def to_json(board: Scoreboard) -> dict[str, Any]:
    """Return the scoreboard as plain data."""
    return {"format": 2, **asdict(board)}


def score_warnings(score: Score) -> list[str]:
    """Return the caveats that a reader must know before believing the score."""
    found = []
    if score.tainted:
        found.append(f"{score.title}: programs ran unconfined (allow_unsafe); nothing vouches for these verdicts")
    if score.num_unscored:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(score.unscored_reasons.items()))
        total = score.num_scored + score.num_unscored
        found.append(f"{score.title}: no verdict on {score.num_unscored} of {total} samples ({reasons})")
    if score.num_items < score.num_items_total:
        found.append(f"{score.title}: only {score.num_items} of {score.num_items_total} items were run")
    return found


def pass_rate(rates: Collection[float]) -> Estimate | None:
    """Return the mean of pass rates, one an item; None without items."""
    if not rates:
        return None
    whole = set(rates) <= {0.0, 1.0}
    return proportion(round(sum(rates)), len(rates)) if whole else mean_of_items(list(rates))


def _measured_rows(
    ours: Measurement, metric: str, measured: Mapping[str, Sequence[Measurement]], leaked: frozenset[str] | None
) -> list[Row]:
    rows = []
    for model, theirs in measured.items():
        for other in theirs:
            if other.score.name != ours.score.name or metric not in other.score.metrics:
                continue
            difference = _difference(ours.score, other.score, metric)
            can_pair = not difference and metric in ours.score.metrics
            estimate = other.score.metrics[metric]
            rows.append(
                _row(
                    ours, metric, leaked,
                    note=(difference or _measured_note(metric) + _prompt_ends(ours.score, other.score))
                    + _other_tools(ours.score, other.score, metric),
                    theirs=other.pass_rates if can_pair and metric == PASS_AT_1 else None,
                    comparison=_bits(ours, other) if can_pair and metric == BITS_PER_BYTE else None,
                    source="this harness",
                    reference_model=model,
                    reference=estimate.value,
                    reference_interval=(estimate.low, estimate.high),
                    provenance="measured",
                )
            )  # fmt: skip
    return rows


def _bits(ours: Measurement, theirs: Measurement) -> Comparison | None:
    return paired_bits(ours.bits, theirs.bits) if ours.bits.keys() & theirs.bits.keys() else None


def _published(score: Score) -> list[ReferenceScore]:
    benchmark = all_benchmarks().get(score.benchmark)
    return published_for(benchmark, score.protocol_name) if benchmark else []


def _published_row(ours: Measurement, row: ReferenceScore, leaked: frozenset[str] | None) -> Row:
    score, n = ours.score, ours.score.num_items_total
    facts = {"reference_model": row.model, "reference": row.score, "provenance": "published", "source": row.source}
    if len(ours.pass_rates) < n:
        note = f"no ratio: ours has verdicts on {len(ours.pass_rates)} of {n} items; a ratio needs all of them"
        return _row(ours, PASS_AT_1, leaked, note=note, **facts)
    published = all_benchmarks()[score.benchmark].published
    assert published is not None, "only benchmarks with one have published figures"
    note = f"ours measured here, theirs published by its authors ({show_shots(row)}). {published.difference}"
    verdicts = reference_verdicts(row.model, score)
    if verdicts.passed and ours.pass_rates.keys() <= verdicts.passed.keys():
        note += f"; paired with the verdicts its authors published, on {n} items"
        return _row(ours, PASS_AT_1, leaked, note=note, theirs=verdicts.passed, **facts)
    passed = round(row.score * n)
    reason = f" ({verdicts.reason})" if verdicts.reason else ""
    note += f"; unpaired{reason}: the interval takes theirs as that many passes of {n}"
    comparison = unpaired((round(sum(ours.pass_rates.values())), n), (passed, n))
    return _row(ours, PASS_AT_1, leaked, note=note, comparison=comparison, **facts)


def _row(
    ours: Measurement,
    metric: str,
    leaked: frozenset[str] | None,
    *,
    note: str,
    theirs: Mapping[str, float] | None = None,
    comparison: Comparison | None = None,
    **reference: Any,
) -> Row:
    score = ours.score
    facts = {"reference_model": "", "reference": None, "reference_interval": None, "provenance": None, "source": ""}
    rates = {item: rate for item, rate in ours.pass_rates.items() if item not in (leaked or ())}
    has_clean = metric == PASS_AT_1 and leaked is not None
    benchmark = all_benchmarks().get(score.benchmark)
    comparison = paired(ours.pass_rates, theirs) if theirs else comparison
    no_ratio = comparison is not None and comparison.ratio is None
    return Row(
        benchmark=score.benchmark,
        title=score.title,
        languages=benchmark.languages if benchmark else (),
        metric=metric,
        protocol_name=score.protocol_name,
        protocol=score.protocol,
        prompt_end=score.prompt_end,
        ours=score.metrics.get(metric),
        num_items=score.num_items,
        num_unscored=score.num_unscored,
        num_leaked=len(leaked) if has_clean and leaked is not None else None,
        clean=pass_rate(list(rates.values())) if has_clean else None,
        comparison=comparison,
        clean_ratio=paired(rates, theirs).ratio if theirs and has_clean and rates else None,
        note=note + ("; no ratio: theirs is too near 0 to divide by" if no_ratio else ""),
        **(facts | reference),
    )


def _difference(ours: Score, theirs: Score, metric: str) -> str:
    """Return why two measured scores may not be compared; empty when they may."""
    counts = [score.metrics[metric].n if metric in score.metrics else 0 for score in (ours, theirs)]
    if counts[0] != counts[1]:
        return f"no ratio: {metric} rests on {counts[0]} items here and {counts[1]} there; measure both on the same"
    for name in ("version", "protocol_name", "protocol", "data_sha256", "num_items", "num_samples"):
        if getattr(ours, name) != getattr(theirs, name):
            return f"no ratio: {name} differs ({getattr(ours, name)} and {getattr(theirs, name)}); measure both alike"
    return ""


def _other_tools(ours: Score, theirs: Score, metric: str) -> str:
    """Return, for verdicts of programs, which tools were of another version; empty where none was."""
    names = sorted(ours.tool_versions.keys() | theirs.tool_versions.keys())
    pairs = {name: (ours.tool_versions.get(name, "none"), theirs.tool_versions.get(name, "none")) for name in names}
    found = [f"{name} ({here} here, {there} there)" for name, (here, there) in pairs.items() if here != there]
    return f"; other tools ran the programs: {', '.join(found)}" if found and metric == PASS_AT_1 else ""


def _measured_note(metric: str) -> str:
    if metric == BITS_PER_BYTE:
        return "both measured here, text by text; lower is better, and bytes make different tokenizers comparable"
    return f"both measured here, same protocol, {PAIRED} item by item"


def _prompt_ends(ours: Score, theirs: Score) -> str:
    """Return what a reader must know where two tokenizers need prompts with another end."""
    if ours.prompt_end == theirs.prompt_end:
        return ""
    return f"; our prompts end {ours.prompt_end}, theirs {theirs.prompt_end}"


def _why_no_reference(score: Score, metric: str) -> str:
    if metric == BITS_PER_BYTE:
        return "nobody publishes this figure for Qwen 2.5; measure its checkpoint with this harness to compare"
    if score.protocol_name == UNSTATED:
        return (
            "the stored programs do not say how the model was asked, and a base model's figure is no chat's; "
            "replay them with --protocol to compare"
        )
    if score.protocol_name not in PROTOCOLS:
        return (
            f"no published figure stands beside a strategy; its own control does, in the folder {BESIDE!r} of its score"
        )
    return f"no published Qwen 2.5 figure exists for {score.title}; measure its checkpoint with this harness to compare"
