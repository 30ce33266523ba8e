"""Writes the tables of docs/papers.md from the files of runs in `docs/measured`.

    python -m tests.papers

A file is named by its kind and its model, `KIND_MODEL.json`; a kind's table has a row for each result in its files.
"""

import json
import re
from dataclasses import asdict
from statistics import fmean

from codeft_assets.base.markdown import table
from codeft_eval.statistics.comparison import unpaired
from tests.benchmarks.optimization_options import interval
from tests.walk import ROOT

PAGE, MEASURED = ROOT / "docs/papers.md", ROOT / "docs/measured"


def strategies(files):
    """Return the files of `tests/benchmarks/strategies.py` as one table."""
    columns = ("model", "benchmark", "strategy", "pass@1 (95 %)", "read and written", "control")
    columns += ("difference (95 %)", "detectable", "against the first attempt", "shown")
    rows = []
    for found in files:
        for benchmark, part in found["benchmarks"].items():
            rows += [(found["model"], benchmark, *_strategy(row)) for row in part["rows"]]
    return table(columns, rows)


def _strategy(row):
    start = (row["strategy"], _percent(row["score"]), f"{row['num_tokens']:,} {row['unit']}")
    if not row["against_control"]:
        return (*start, *[None] * 5)
    gap, first = row["against_control"], row["against_first"]
    control = f"{row['control']}: {100 * row['control_rate']:.1f} %"
    detectable = f"{100 * gap['detectable']:.1f}"
    return (*start, control, _points(gap["difference"]), detectable, _points(first["difference"]), row["finding"])


def _percent(score):
    return f"{100 * score['value']:.1f} % ({100 * score['low']:.1f}–{100 * score['high']:.1f}), n = {score['n']}"


def _points(estimate):
    return f"{100 * estimate['value']:+.1f} ({100 * estimate['low']:+.1f} to {100 * estimate['high']:+.1f})"


def preferences(files):
    """Return the files of `tests/benchmarks/preferences.py`: each model before, and after each recipe."""
    columns = ("model", "recipe", "pairs, steps", "held-out margin", "chosen's log-likelihood", "benchmark")
    columns += ("pass@1 (95 %)", "against the base", "detectable", "shown")
    rows = []
    for found in files:
        rows += [
            (found["model"], "base", *[None] * 3, name, _percent(score), *[None] * 3)
            for name, score in found["base"].items()
        ]
        for recipe, made in found["models"].items():
            held_out = made["held_out"]
            start = (
                found["model"],
                recipe,
                f"{made['num_pairs_trained']:,}, {made['last_step']}",
                f"{held_out['margin']:.2f}",
            )
            start = (*start, f"{held_out['log_likelihood_chosen']:.1f}")
            rows += [(*start, name, *_against_base(part)) for name, part in made["scores"].items()]
    return table(columns, rows)


def _against_base(part):
    gap = part["against_base"]
    is_shown = gap["p_value"] < 0.05 and abs(gap["difference"]["value"]) >= gap["detectable"]
    shown = ("better" if gap["difference"]["value"] > 0 else "worse") if is_shown else "no difference shown"
    return _percent(part["pass_at_1"]), _points(gap["difference"]), f"{100 * gap['detectable']:.1f}", shown


def leaks(files):
    """Return the leak indices of sources, those of one percent and more."""
    rows = [(row["source"], row["benchmark"], f"{row['index']:.1%}") for found in files for row in found["indices"]]
    return table(("source", "benchmark", "leak index"), [row for row in rows if not row[2].startswith("0.")])


def mixture(files):
    """Return the searches of `codeft_training search-mixture`: predicted and measured losses, and the cost."""
    columns = ("runs", "number", "rank correlation", "corpus's own mixture: predicted, measured")
    columns += ("found mixture: predicted, measured", "found minus own, by seed (95 %)", "tokens", "seconds")
    rows = [
        (
            *(found["model"], found["num_runs"], found["rank_correlation"]),
            *(_losses(found, kind) for kind in ("natural", "found")),
            *(_by_seed(found), f"{found['num_tokens']:,}", f"{found['seconds']:.0f}"),
        )
        for found in files
    ]
    return table(columns, rows)


def _losses(found, kind):
    return f"{found['predicted'][kind]:.3f}, {found['measured'][kind]:.3f}"


def _by_seed(found):
    losses = found.get("measured_by_seed", {"found": []})
    if len(losses["found"]) < 2:
        return None
    return _interval(interval([ours - own for ours, own in zip(losses["found"], losses["natural"], strict=True)]))


def _interval(gap):
    return f"{gap['mean']:+.3f} ({gap['low']:+.3f} to {gap['high']:+.3f})"


def shares(files):
    """Return the mixtures of each search: the corpus's own and the found one."""
    rows = [
        (found["model"], source, f"{own:.1%}", f"{found['shares'][source]:.1%}")
        for found in files
        for source, own in found["natural_shares"].items()
        if own > 0.01
    ]
    return table(("runs", "source", "own share", "found share"), rows)


def selection(files):
    """Return the files of `tests/benchmarks/selection.py`: means over the seeds, and differences."""
    columns = ("model", "selected", "passes", "measured", "all", "selected", "drawn")
    rows = []
    for found in files:
        pool, passes = found["pool"], [_passes(found, way) for way in ("all", "selected", "drawn")]
        start = (found["model"], f"{pool['selected']:,} of {pool['documents']:,}", ", ".join(passes))
        for name in next(iter(found["ways"]["all"].values()))["bits_per_byte"]:
            gaps = [_interval(gap["bits_per_byte"][name]) for gap in found["differences"].values()]
            values = [_mean(found, way, lambda run, name=name: run["bits_per_byte"][name]) for way in found["ways"]]
            rows.append((*start, f"bits per byte, {name}", *(f"{value:.3f}" for value in values), *gaps))
        gaps = [_points(gap["composed"]["difference"]) for gap in found["differences"].values()]
        values = [_mean(found, way, lambda run: run["composed"]) for way in found["ways"]]
        rows.append((*start, "composed, pass@1", *(f"{100 * value:.1f} %" for value in values), *gaps))
    return table((*columns, "selected minus all (95 %)", "selected minus drawn (95 %)"), rows)


def _mean(found, way, value):
    return fmean(value(run) for run in found["ways"][way].values())


def _passes(found, way):
    return f"{max(next(iter(found['ways'][way].values()))['passes'].values()):.1f}"


def infilling(files):
    """Return the files of `tests/benchmarks/infilling.py`, diffusion beside FIM as it fills best; unpaired."""
    best, rows = "FIM, suffix first", []
    fim = {name.removeprefix(best): _counts(rate) for name, rate in _ways(files) if name.startswith(best)}
    for name, rate in _ways(files):
        other = fim.get(", length given" if "length given" in name else "")
        is_compared = other and not name.startswith(best)
        gap = _points(asdict(unpaired(_counts(rate), other))["difference"]) if is_compared else None
        rows.append((name, _percent(rate), gap))
    return table(("way", "lines right (95 %)", "minus FIM, suffix first (95 %)"), rows)


def _ways(files):
    return [(name, rate) for found in files for name, rate in found["rates"].items()]


def _counts(rate):
    return round(rate["value"] * rate["n"]), rate["n"]


TABLES = {
    "strategies": strategies,
    "preferences": preferences,
    "selection": selection,
    "leaks": leaks,
    "mixture": mixture,
    "infilling": infilling,
}


def tables(folder=MEASURED):
    """Return kind -> its table, of the kinds that have files."""
    files = {kind: sorted(folder.glob(f"{kind}_*.json")) for kind in TABLES}
    found = {kind: [json.loads(path.read_text()) for path in paths] for kind, paths in files.items() if paths}
    made = {kind: TABLES[kind](contents) for kind, contents in found.items()}
    return made | ({"shares": shares(found["mixture"])} if "mixture" in found else {})


def render(page, found):
    """Return the page with each table between its marks.

    Raises:
        ValueError: the page has no place for a table, or one without a file.
    """
    for kind, text in found.items():
        block = re.compile(rf"(<!-- table {kind} -->\n).*?(\n<!-- end -->)", re.DOTALL)
        page, count = block.subn(lambda match, text=text: f"{match[1]}{text}{match[2]}", page)
        if count != 1:
            raise ValueError(f"the page must have `<!-- table {kind} -->` once, and `<!-- end -->` below")
    if extra := set(re.findall(r"<!-- table (\w+) -->", page)) - set(found):
        raise ValueError(f"the page has tables without a file in {MEASURED.name}: {sorted(extra)}")
    return page


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text(), tables()))
