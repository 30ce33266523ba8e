"""Puts a scoreboard together, and many ratios into one: overall and by language, with an interval that stays honest."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from codeft_eval.benchmarks.benchmark import BASE_PROTOCOLS
from codeft_eval.scoreboard.history import Change
from codeft_eval.scoreboard.reference import headline_model
from codeft_eval.scoreboard.rows import Row, Scoreboard, Summary, benchmark_rows, pass_rate, score_warnings
from codeft_eval.scoring.scores import PASS_AT_1, Measurement
from codeft_eval.statistics.comparison import Interval
from codeft_eval.statistics.intervals import Estimate, mean_of_items

RATIO_FLOOR = 0.01
"""A benchmark at 0 % would make any mean of several 0; below one hundredth of the reference all failures are alike."""


def make_scoreboard(
    scores: Sequence[Measurement],
    measured: Mapping[str, Sequence[Measurement]] | None = None,
    *,
    leaked: Mapping[str, Collection[str]] | None = None,
    num_tokens: int | None = None,
    changes: Sequence[Change] = (),
) -> Scoreboard:
    """Return the scoreboard of one model's scores.

    The summaries are over the scores without a chat or a strategy, or else over those that were made as the first one:
    one mean never mixes protocols. ``measured`` holds the scores of reference models by this harness, by model name;
    they take the place of published figures. ``leaked`` holds each benchmark's items that a source document holds; None
    when nobody looked.

    Raises:
        ValueError: no scores, or scores of several models.
    """
    hashes = {own.score.model_hash for own in scores}
    if len(hashes) != 1:
        raise ValueError(f"scores of {len(hashes)} models; a scoreboard shows one: give the scores of one checkpoint")
    rows = tuple(row for own in scores for row in benchmark_rows(own, measured or {}, leaked))
    summed = _summed(scores)
    names = {own.score.name for own in summed}
    headline = headline_model(summed[0].score.protocol_name)
    summed_rows = [row for row in rows if row.score_name in names]
    return Scoreboard(
        model=scores[0].score.model,
        model_hash=scores[0].score.model_hash,
        num_tokens=num_tokens,
        headline=headline,
        rows=rows,
        overall=_overall(summed_rows, summed, headline),
        by_language=tuple(_languages(summed_rows, summed, headline)),
        changes=tuple(changes),
        warnings=tuple(warning for own in scores for warning in score_warnings(own.score)),
    )


def _summed(scores: Sequence[Measurement]) -> list[Measurement]:
    names = BASE_PROTOCOLS if any(own.score.protocol_name in BASE_PROTOCOLS for own in scores) else ()
    return [own for own in scores if own.score.protocol_name in (names or (scores[0].score.protocol_name,))]


def geometric_mean(ratios: Mapping[str, Interval], families: Mapping[str, str]) -> Interval:
    """Return the geometric mean of benchmarks' ratios, none of several below ``RATIO_FLOOR``.

    Intervals are carried over by the method of variance estimates recovery (Zou and Donner 2008), on the log scale:
    asymmetric as they are, and valid where ours is 0. Benchmarks of one family share problems; their errors are taken
    to point the same way, the worst case.
    """
    if len(ratios) == 1:
        return next(iter(ratios.values()))
    logs = {name: [math.log(max(x, RATIO_FLOOR)) for x in (r.value, r.low, r.high)] for name, r in ratios.items()}
    down: dict[str, float] = {}
    up: dict[str, float] = {}
    for name, (value, low, high) in logs.items():
        family = families.get(name, name)
        down[family] = down.get(family, 0.0) + value - low
        up[family] = up.get(family, 0.0) + high - value
    total = sum(value for value, _, _ in logs.values())
    bounds = (total, total - math.hypot(*down.values()), total + math.hypot(*up.values()))
    value, low, high = (math.exp(bound / len(logs)) for bound in bounds)
    return Interval(value=value, low=low, high=high)


def group_families(scores: Sequence[Measurement]) -> dict[str, str]:
    """Return benchmark -> the first benchmark that shares an item with it, directly or through others."""
    family: dict[str, str] = {}
    items: dict[str, set[str]] = {}
    for own in scores:
        keys = {_cluster(item) for item in own.pass_rates}
        shared = [name for name, seen in items.items() if seen & keys]
        name = shared[0] if shared else own.score.benchmark
        for other in shared[1:]:
            items[name] |= items.pop(other)
            family = {key: name if value == other else value for key, value in family.items()}
        items[name] = items.get(name, set()) | keys
        family[own.score.benchmark] = name
    return family


def _overall(rows: Sequence[Row], scores: Sequence[Measurement], headline: str) -> Summary:
    mine = _relative(rows, headline)
    kinds = sorted({str(row.provenance) for row in mine})
    ratio, note = None, "it takes ratios on two benchmarks or more, all to published or all to measured figures"
    if len(mine) >= 2 and len(kinds) == 1:
        ratio = geometric_mean(_ratios(mine), group_families(scores))
        note = f"geometric mean over {_titles(mine)}, {kinds[0]} references"
    else:
        note += f"; there are {len(mine)}" + (f" ({' and '.join(kinds)})" if kinds else "")
    return Summary(name="overall", ours=None, ratio=ratio, note=note)


def _languages(rows: Sequence[Row], scores: Sequence[Measurement], headline: str) -> list[Summary]:
    names = sorted({language for row in rows for language in row.languages})
    return [_language(name, [row for row in rows if name in row.languages], scores, headline) for name in names]


def _language(name: str, rows: Sequence[Row], scores: Sequence[Measurement], headline: str) -> Summary:
    benchmarks = {row.benchmark for row in rows}
    own = [measurement for measurement in scores if measurement.score.benchmark in benchmarks]
    mine = _relative(rows, headline)
    kinds = sorted({str(row.provenance) for row in mine})
    ratio, note = None, f"no ratio to {headline} itself on {_titles(rows)}{_beside(rows)}"
    if len(kinds) == 1:
        ratio, note = geometric_mean(_ratios(mine), group_families(scores)), f"{_titles(mine)}, {kinds[0]} references"
    elif kinds:
        note = f"no ratio: {_titles(mine)} have published and measured references; measure all"
    return Summary(name=name, ours=_pooled(own), ratio=ratio, note=note)


def _pooled(scores: Sequence[Measurement]) -> Estimate | None:
    pairs = [(_cluster(item), rate) for own in scores for item, rate in own.pass_rates.items()]
    clusters, rates = [item for item, _ in pairs], [rate for _, rate in pairs]
    if len(set(clusters)) == len(clusters):
        return pass_rate(rates)
    return mean_of_items(rates, clusters)


def _cluster(item: str) -> str:
    """Return the name that all versions of a problem share: EvalPlus writes Mbpp/2, others MBPP/2."""
    return item.lower()


def _relative(rows: Sequence[Row], headline: str) -> list[Row]:
    """Return the pass rates that have a ratio to the headline reference."""
    return [row for row in rows if row.metric == PASS_AT_1 and row.reference_model == headline and row.ratio]


def _beside(rows: Sequence[Row]) -> str:
    """Return where the ratios to other models stand, if there are any."""
    others = dict.fromkeys(row.reference_model for row in rows if row.metric == PASS_AT_1 and row.ratio)
    return f"; every comparison, below, has those to {', '.join(others)}" if others else ""


def _ratios(rows: Sequence[Row]) -> dict[str, Interval]:
    return {row.benchmark: row.ratio for row in rows if row.ratio}


def _titles(rows: Sequence[Row]) -> str:
    return ", ".join(dict.fromkeys(row.title for row in rows))
