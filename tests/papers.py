"""Writes the tables of docs/papers.md from the files of runs in `docs/measured`.

    python -m tests.papers

A file is named by its kind and its model, `KIND_MODEL.json`; a kind's table has a row for each result in its files.
"""

import json
import re

from codeft_assets.base.markdown import table
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
    columns += ("found mixture: predicted, measured", "tokens", "seconds")
    rows = [
        (
            *(found["model"], found["num_runs"], found["rank_correlation"]),
            *(_losses(found, kind) for kind in ("natural", "found")),
            *(found["num_tokens"], f"{found['seconds']:.0f}"),
        )
        for found in files
    ]
    return table(columns, rows)


def _losses(found, kind):
    return f"{found['predicted'][kind]:.3f}, {found['measured'][kind]:.3f}"


TABLES = {"strategies": strategies, "preferences": preferences, "leaks": leaks, "mixture": mixture}


def tables(folder=MEASURED):
    """Return kind -> its table, of the kinds that have files."""
    files = {kind: sorted(folder.glob(f"{kind}_*.json")) for kind in TABLES}
    return {
        kind: TABLES[kind]([json.loads(path.read_text()) for path in paths]) for kind, paths in files.items() if paths
    }


def render(page, found):
    """Return the page with each table between its marks.

    Raises:
        ValueError: the page has no place for a table, or one without a file.
    """
    for kind, text in found.items():
        block = re.compile(rf"(<!-- table {kind} -->\n).*?(\n<!-- end -->)", re.DOTALL)
        page, count = block.subn(lambda match, text=text: f"{match[1]}{text}{match[2]}", page)
        if count != 1:
            raise ValueError(f"{PAGE.name} must have `<!-- table {kind} -->` once, and `<!-- end -->` below")
    if extra := set(re.findall(r"<!-- table (\w+) -->", page)) - set(found):
        raise ValueError(f"{PAGE.name} has tables without a file in {MEASURED.name}: {sorted(extra)}")
    return page


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text(), tables()))
