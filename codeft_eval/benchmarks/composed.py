"""Exercises composed by a program, of compositions that are never trained on, in HumanEval's format."""

from __future__ import annotations

from codeft_eval.benchmarks.benchmark import Benchmark
from codeft_eval.benchmarks.datafiles import DataFile
from codeft_eval.benchmarks.humaneval import COLUMNS, PROTOCOL, STOPS, read_humaneval


def _composed(name: str, title: str, subset: str) -> Benchmark:
    return Benchmark(
        name=name,
        title=title,
        kind="code",
        is_composed=True,
        languages=("python",),
        protocol=PROTOCOL,
        version=1,
        data=DataFile(
            name=f"{name}.jsonl",
            columns=COLUMNS,
            origin=f"python -m codeft_assets.exercises --subset {subset} --benchmark {name}.jsonl",
            is_packaged=True,
        ),
        read=read_humaneval,
        stops=STOPS,
        max_new_tokens=192,
    )


COMPOSED = _composed("composed", "Composed exercises, held out", "all")
COMPOSED_BASIC = _composed("composed_basic", "Basic composed exercises, held out", "basic")
