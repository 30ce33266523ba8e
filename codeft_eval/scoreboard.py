"""The scoreboard: our scores relative to Qwen 2.5's, each comparison labelled with what may be concluded from it.

Pure: scores and references in, rows and text out. A ratio appears only where both sides are pass rates on the same,
whole set of items; everywhere else stands the reason why there is none.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from codeft_eval.benchmarks import BENCHMARKS
from codeft_eval.intervals import Estimate, risk_ratio
from codeft_eval.reference import REFERENCE_MODELS, ReferenceScore, published_for, shots
from codeft_eval.scores import BITS_PER_BYTE, PASS_AT_1, Score

Provenance = Literal["published", "measured"]
RATIO_FLOOR = 0.01
"""A benchmark at 0 % would make any geometric mean 0; below one hundredth of the reference all failures are alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """Ours over theirs, with a 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One comparison."""

    benchmark: str
    title: str
    metric: str
    protocol: str
    ours: Estimate | None
    num_items: int
    num_unscored: int
    reference_model: str
    "empty when there is nothing to compare with"
    reference: float | None
    reference_interval: tuple[float, float] | None
    "only of a measured reference: published figures come without one"
    provenance: Provenance | None
    "published: their harness; measured: this harness, same protocol"
    source: str
    ratio: Ratio | None
    note: str
    "what the comparison rests on, or why there is none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoreboard:
    """All comparisons of one model."""

    model: str
    model_hash: str
    rows: tuple[Row, ...]
    overall: Ratio | None
    "geometric mean of the ratios to the headline reference; no interval is claimed, so low = high = value"
    overall_note: str
    warnings: tuple[str, ...]


def make_scoreboard(scores: Sequence[Score], measured: Mapping[str, Sequence[Score]] | None = None) -> Scoreboard:
    """The scoreboard of one model's scores.

    `measured` holds the scores of reference models by this harness, by model name; they take the place of published
    figures.

    Raises:
        ValueError: no scores, or scores of several models.
    """
    hashes = {score.model_hash for score in scores}
    if len(hashes) != 1:
        raise ValueError(f"scores of {len(hashes)} models; a scoreboard shows one: give the scores of one checkpoint")
    rows = tuple(row for score in scores for row in _rows(score, measured or {}))
    overall, note = _overall(rows)
    return Scoreboard(
        model=scores[0].model,
        model_hash=scores[0].model_hash,
        rows=rows,
        overall=overall,
        overall_note=note,
        warnings=tuple(warning for score in scores for warning in _warnings(score)),
    )


def to_markdown(board: Scoreboard) -> str:
    """The scoreboard as a Markdown table; what each comparison rests on stands below it, numbered."""
    lines = ["# Scoreboard", "", f"Checkpoint `{board.model_hash[:16]}`"]
    lines += [part for warning in board.warnings for part in ("", f"> **{warning}**")]
    lines += ["", "| benchmark | metric | ours (95 %) | n | reference | theirs | ours ÷ theirs (95 %) | |"]
    lines.append("|---|---|---:|---:|---|---:|---:|---|")
    notes = list(dict.fromkeys(row.note for row in board.rows))
    for row in board.rows:
        *shown, provenance, ratio, note = cells(row)
        shown[4] = f"{shown[4]}, {provenance}" if row.reference_model else "none"
        columns = [*shown, ratio, f"({notes.index(note) + 1})"]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in columns) + " |")
    overall = f"**{board.overall.value:.3f}**" if board.overall else "n/a"
    lines += ["", f"Overall, relative to {REFERENCE_MODELS[0]}: {overall} ({board.overall_note})", ""]
    return "\n".join([*lines, *(f"{number}. {note}" for number, note in enumerate(notes, 1)), ""])


def to_json(board: Scoreboard) -> dict[str, Any]:
    """The scoreboard as plain data."""
    return {"format": 1, **asdict(board)}


def cells(row: Row) -> list[str]:
    """A row as text, one entry a column."""
    ratio = "n/a"
    if row.ratio:
        ratio = f"{row.ratio.value:.2f} ({row.ratio.low:.2f}–{row.ratio.high:.2f})"
    return [
        row.title,
        row.metric,
        show(row.ours, row.metric),
        f"{row.ours.n if row.ours else 0} of {row.num_items}"
        if row.num_unscored or not row.ours
        else str(row.num_items),
        row.reference_model or "–",
        _show_reference(row),
        row.provenance or "–",
        ratio,
        row.note,
    ]


def show(estimate: Estimate | None, metric: str) -> str:
    """An estimate with its interval, in percent for pass rates."""
    if estimate is None:
        return "no score"
    if metric == BITS_PER_BYTE:
        return f"{estimate.value:.3f} ({estimate.low:.3f}–{estimate.high:.3f})"
    return f"{100 * estimate.value:.1f} % ({100 * estimate.low:.1f}–{100 * estimate.high:.1f})"


def _show_reference(row: Row) -> str:
    if row.reference is None:
        return "–"
    low, high = row.reference_interval or (None, None)
    if row.metric == BITS_PER_BYTE:
        return f"{row.reference:.3f} ({low:.3f}–{high:.3f})"
    interval = "" if low is None or high is None else f" ({100 * low:.1f}–{100 * high:.1f})"
    return f"{100 * row.reference:.1f} %{interval}"


def _rows(score: Score, measured: Mapping[str, Sequence[Score]]) -> list[Row]:
    rows = []
    for metric in (PASS_AT_1, BITS_PER_BYTE):
        if metric == BITS_PER_BYTE and metric not in score.metrics:
            continue
        references = _measured_references(score, metric, measured)
        names = {row.reference_model for row in references}
        if metric == PASS_AT_1:
            references += [row for row in _published_references(score) if row.reference_model not in names]
        rows += references or [_row(score, metric, note=_why_no_reference(score, metric))]
    return rows


def _measured_references(score: Score, metric: str, measured: Mapping[str, Sequence[Score]]) -> list[Row]:
    rows = []
    for model, theirs in measured.items():
        for other in theirs:
            if other.benchmark != score.benchmark or metric not in other.metrics:
                continue
            difference = _difference(score, other, metric)
            ratio = None if difference else _ratio(score, other.num_passed, other.num_scored, metric)
            note = difference or _measured_note(ratio, metric)
            estimate = other.metrics[metric]
            facts = {"reference_model": model, "reference": estimate.value, "provenance": "measured"}
            facts["reference_interval"] = (estimate.low, estimate.high)
            rows.append(_row(score, metric, note=note, ratio=ratio, source="this harness", **facts))
    return rows


def _published_references(score: Score) -> list[Row]:
    benchmark = BENCHMARKS.get(score.benchmark)
    if benchmark is None or benchmark.published is None:
        return []
    return [_published_row(score, row, benchmark.published.difference) for row in published_for(benchmark)]


def _published_row(score: Score, row: ReferenceScore, difference: str) -> Row:
    n = score.num_items_total
    passed = round(row.score * n)
    whole = score.num_scored == n
    ratio = _ratio(score, passed, n, PASS_AT_1) if whole else None
    note = f"ours measured here, theirs published by its authors ({shots(row)}). {difference}"
    note += f"; the interval takes theirs as {passed} of {n}"
    if not whole:
        note = f"no ratio: ours has verdicts on {score.num_scored} of {n} items; a ratio needs all of them"
    facts = {"reference_model": row.model, "reference": row.score, "provenance": "published"}
    return _row(score, PASS_AT_1, note=note, ratio=ratio, source=row.source, **facts)


def _row(
    score: Score,
    metric: str,
    *,
    note: str,
    ratio: Ratio | None = None,
    source: str = "",
    **reference: Any,
) -> Row:
    facts = {"reference_model": "", "reference": None, "reference_interval": None, "provenance": None} | reference
    return Row(
        benchmark=score.benchmark,
        title=score.title,
        metric=metric,
        protocol=score.protocol,
        ours=score.metrics.get(metric),
        num_items=score.num_items,
        num_unscored=score.num_unscored,
        source=source,
        ratio=ratio,
        note=note,
        **facts,
    )


def _ratio(score: Score, passed: int, n: int, metric: str) -> Ratio | None:
    if metric != PASS_AT_1 or passed == 0 or score.num_scored == 0:
        return None
    value, low, high = risk_ratio((score.num_passed, score.num_scored), (passed, n))
    return Ratio(value=value, low=low, high=high)


def _difference(ours: Score, theirs: Score, metric: str) -> str:
    """Why two measured scores may not be compared; empty when they may."""
    counts = [score.metrics[metric].n if metric in score.metrics else 0 for score in (ours, theirs)]
    if counts[0] != counts[1]:
        return f"no ratio: {metric} rests on {counts[0]} items here and {counts[1]} there; measure both on the same"
    for name in ("version", "protocol", "data_sha256", "num_items"):
        if getattr(ours, name) != getattr(theirs, name):
            return f"no ratio: {name} differs ({getattr(ours, name)} and {getattr(theirs, name)}); measure both alike"
    return ""


def _measured_note(ratio: Ratio | None, metric: str) -> str:
    if metric == BITS_PER_BYTE:
        return "both measured here; lower is better, and bytes make different tokenizers comparable"
    return "both measured here, same protocol" if ratio else "no ratio: the reference passed nothing"


def _why_no_reference(score: Score, metric: str) -> str:
    if metric == BITS_PER_BYTE:
        return "nobody publishes this figure for Qwen 2.5; measure its checkpoint with this harness to compare"
    return f"no published Qwen 2.5 figure exists for {score.title}; measure its checkpoint with this harness to compare"


def _warnings(score: Score) -> list[str]:
    found = []
    if score.tainted:
        found.append(f"{score.title}: programs ran unconfined (allow_unsafe); nothing vouches for these verdicts")
    if score.num_unscored:
        found.append(f"{score.title}: {score.num_unscored} items have no verdict: {score.unscored_reasons}")
    if score.num_items < score.num_items_total:
        found.append(f"{score.title}: only {score.num_items} of {score.num_items_total} items were run")
    return found


def _overall(rows: Sequence[Row]) -> tuple[Ratio | None, str]:
    mine = [row for row in rows if row.reference_model == REFERENCE_MODELS[0] and row.ratio]
    kinds = {row.provenance for row in mine}
    if len(mine) < 2 or len(kinds) != 1:
        why = "it takes ratios on two benchmarks or more, all to published or all to measured figures"
        found = " and ".join(sorted(str(kind) for kind in kinds))
        return None, f"{why}; there are {len(mine)}" + (f" ({found})" if found else "")
    logs = [math.log(max(row.ratio.value, RATIO_FLOOR)) for row in mine if row.ratio]
    value = math.exp(sum(logs) / len(logs))
    names = ", ".join(row.title for row in mine)
    return Ratio(value=value, low=value, high=value), f"geometric mean over {names}, {mine[0].provenance} references"
