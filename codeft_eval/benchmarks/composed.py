"""Exercises composed by a program, of compositions that are never trained on, in HumanEval's format."""

from __future__ import annotations

from codeft_eval.benchmarks.benchmark import Benchmark
from codeft_eval.benchmarks.datafiles import DataFile
from codeft_eval.benchmarks.humaneval import COLUMNS, PROTOCOL, STOPS, read_humaneval

COMPOSED = Benchmark(
    name="composed",
    title="Composed exercises, held out",
    kind="code",
    languages=("python",),
    protocol=PROTOCOL,
    version=1,
    data=DataFile(
        name="composed.jsonl",
        columns=COLUMNS,
        origin="python -m codeft_assets.exercises --benchmark",
        is_packaged=True,
    ),
    read=read_humaneval,
    stops=STOPS,
    max_new_tokens=256,
)
