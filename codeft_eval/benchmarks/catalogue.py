"""BENCHMARKS, the one place to add a benchmark: a file of its own, and a line here. Importing this loads no harness.

``all_benchmarks`` adds those of the user, which are no part of this package.
"""

from __future__ import annotations

import hashlib

from codeft_eval.benchmarks.benchmark import Benchmark, Item, Rows
from codeft_eval.benchmarks.bigcodebench import BIGCODEBENCH
from codeft_eval.benchmarks.competition_math import COMPETITION_MATH
from codeft_eval.benchmarks.composed import COMPOSED, COMPOSED_BASIC
from codeft_eval.benchmarks.cruxeval import CRUXEVAL
from codeft_eval.benchmarks.datafiles import is_present, read_rows, rows_sha256
from codeft_eval.benchmarks.embedded import EMBEDDED
from codeft_eval.benchmarks.gsm8k import GSM8K
from codeft_eval.benchmarks.humaneval import HUMANEVAL
from codeft_eval.benchmarks.humaneval_infilling import HUMANEVAL_INFILLING
from codeft_eval.benchmarks.humaneval_plus import HUMANEVAL_PLUS, HUMANEVAL_PLUS_MINI
from codeft_eval.benchmarks.humanevalfix import HUMANEVALFIX
from codeft_eval.benchmarks.livecodebench import LIVECODEBENCH, livecodebench_windows
from codeft_eval.benchmarks.lm_eval_benchmarks import TASKS_VARIABLE, lm_eval_benchmarks
from codeft_eval.benchmarks.math import MATH
from codeft_eval.benchmarks.mbpp import MBPP, MBPP_EVALPLUS
from codeft_eval.benchmarks.mbpp_plus import MBPP_PLUS
from codeft_eval.benchmarks.mbpp_v010 import MBPP_PLUS_V010, MBPP_V010
from codeft_eval.benchmarks.multipl_e import MULTIPL_E
from codeft_eval.benchmarks.own_benchmarks import OWN_VARIABLE, own_benchmarks
from codeft_eval.sandbox.native.tools import missing_tools

_ENTRIES = (
    EMBEDDED,
    COMPOSED,
    COMPOSED_BASIC,
    HUMANEVAL,
    HUMANEVAL_PLUS,
    HUMANEVAL_PLUS_MINI,
    MBPP,
    MBPP_EVALPLUS,
    MBPP_PLUS,
    MBPP_V010,
    MBPP_PLUS_V010,
    *MULTIPL_E,
    HUMANEVALFIX,
    HUMANEVAL_INFILLING,
    *CRUXEVAL,
    LIVECODEBENCH,
    *BIGCODEBENCH,
    GSM8K,
    MATH,
    COMPETITION_MATH,
)
BENCHMARKS: dict[str, Benchmark] = {entry.name: entry for entry in _ENTRIES}


def all_benchmarks() -> dict[str, Benchmark]:
    """Return this package's entries, the windows and tasks of lm-eval that are asked for, and the user's own, by name.

    Raises:
        ValueError: one of the user's cannot be read, or has the name of another.
    """
    known = BENCHMARKS | livecodebench_windows() | lm_eval_benchmarks()
    return known | own_benchmarks(taken=frozenset(known))


def get_benchmark(name: str) -> Benchmark:
    """Return the entry called ``name``.

    Raises:
        ValueError: there is none.
    """
    known = all_benchmarks()
    if name not in known:
        raise ValueError(
            f"benchmark {name!r} is not one of {sorted(known)}; add an entry to catalogue.py, or name a file of your "
            f"own in {OWN_VARIABLE} or a task of lm-eval in {TASKS_VARIABLE}"
        )
    return known[name]


def is_available(benchmark: Benchmark) -> bool:
    """Return whether the benchmark's data can be read here without any download."""
    return all(map(is_present, (benchmark.data, *benchmark.more_data)))


def is_runnable(benchmark: Benchmark) -> bool:
    """Return whether the data is here, and the compilers of a benchmark whose programs need one.

    A task of lm-eval was asked for by name; finding its data takes lm-eval, so its run says what is missing.
    """
    if benchmark.lm_eval_task:
        return True
    compiled = () if benchmark.answer_check else [name for name in benchmark.languages if name != "python"]
    return is_available(benchmark) and not any(missing_tools(language) for language in compiled)


def load_items(benchmark: Benchmark) -> list[Item]:
    """Return the items, in the order of the file.

    Raises:
        ValueError: the data is absent or differs from the entry's record.
    """
    rows = [row for row in read_rows(benchmark.data) if benchmark.select(row)]
    return benchmark.read_items(rows)


def benchmark_texts(name: str) -> list[dict[str, str]]:
    """Return all texts of a benchmark that must not be trained on: prompt, solution, tests and answer of each item.

    Rows that the entry does not score count too: another protocol of the same benchmark scores them.
    """
    benchmark = get_benchmark(name)
    return row_texts(benchmark, read_rows(benchmark.data))


def row_texts(benchmark: Benchmark, rows: Rows) -> list[dict[str, str]]:
    """Return the texts of ``rows`` as ``benchmark_texts`` does those of the benchmark's file."""
    kind = "composed" if benchmark.is_composed else benchmark.kind
    return [
        {"benchmark": benchmark.name, "task_id": item.task_id, "kind": kind, "field": field, "text": text}
        for item in benchmark.read_items(rows)
        for field, text in _texts(item)
        if text.strip()
    ]


def data_sha256(benchmark: Benchmark) -> str:
    """Return the hash of the rows, equal for every way they are stored, and of the user's own code that reads them."""
    rows = rows_sha256(read_rows(benchmark.data))
    own = benchmark.module_sha256
    return hashlib.sha256(f"{rows} {own}".encode()).hexdigest() if own else rows


def _texts(item: Item) -> list[tuple[str, str]]:
    return [
        ("prompt", item.question),
        ("solution", item.solution),
        ("tests", item.test),
        ("answer", item.answer),
    ]
