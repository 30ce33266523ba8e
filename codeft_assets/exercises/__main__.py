"""``python -m codeft_assets.exercises``: print exercises, or write some as a benchmark, held out or to practise on."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from pathlib import Path

from codeft_assets.base.files import write_atomically
from codeft_assets.exercises.held_out import held_out_items, practice_items, to_json_lines
from codeft_assets.exercises.subsets import ALL, SUBSETS
from codeft_assets.exercises.views import VIEWS, WRITE, exercise_row

_MOST_DRAWS = 100
"""Exercises that are drawn for a row, at most."""


def main(arguments: list[str] | None = None) -> int:
    """Print rows of the source as JSON lines, or write the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m codeft_assets.exercises", description=__doc__)
    parser.add_argument("--number", type=int, default=3, help="rows to print")
    parser.add_argument("--seed", type=int, default=1, help="of the draw: equal seeds give equal rows")
    parser.add_argument("--view", choices=VIEWS, default=WRITE)
    parser.add_argument("--javascript", action="store_true", help="print JavaScript; nothing of it is mended")
    parser.add_argument("--subset", choices=SUBSETS, default=ALL.name)
    parser.add_argument("--benchmark", type=Path, metavar="FILE", help="write the held-out items to FILE and end")
    text = "write --number items of --seed to FILE, of compositions that are trained on, and end"
    parser.add_argument("--practice", type=Path, metavar="FILE", help=text)
    options = parser.parse_args(arguments)
    subset = SUBSETS[options.subset]
    if options.benchmark:
        write_atomically(options.benchmark, to_json_lines(held_out_items(subset, options.benchmark.stem)))
        return 0
    if options.practice:
        drawn = {"number": options.number, "seed": options.seed}
        write_atomically(options.practice, to_json_lines(practice_items(subset, options.practice.stem, **drawn)))
        return 0
    views, share = {options.view: 1.0}, float(options.javascript)
    draws = (
        exercise_row(options.seed, number, views=views, javascript_share=share, subset=subset)
        for number in range(_MOST_DRAWS * options.number)
    )
    rows = (row for row in draws if row["view"] == options.view)  # not every exercise can be mended or traced
    num_written = 0
    for row in itertools.islice(rows, options.number):
        sys.stdout.write(json.dumps(row) + "\n")
        num_written += 1
    if num_written < options.number:
        sys.stderr.write(
            f"error: {_MOST_DRAWS * options.number} exercises of subset {options.subset!r} make {num_written} rows of "
            f"the view {options.view!r}; choose another subset or view\n"
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
