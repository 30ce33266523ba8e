"""Functions written for this project, in HumanEval's format: the benchmark that every installation can run."""

from __future__ import annotations

from codeft_eval.benchmarks.benchmark import Benchmark
from codeft_eval.benchmarks.datafiles import DataFile
from codeft_eval.benchmarks.humaneval import COLUMNS, PROTOCOL, STOPS, read_humaneval
from codeft_eval.benchmarks.python_chat import PYTHON_CHAT

EMBEDDED = Benchmark(
    name="embedded",
    title="Embedded functions",
    kind="code",
    languages=("python",),
    protocol=PROTOCOL,
    version=1,
    data=DataFile(name="embedded.jsonl", columns=COLUMNS, origin="written for codeFT", is_packaged=True),
    read=read_humaneval,
    stops=STOPS,
    max_new_tokens=256,
    chat=PYTHON_CHAT,
)
