"""BENCHMARKS, the one place to add a benchmark: where its rows are, what the model is shown, what decides a pass.

An entry's name, version and protocol with the hash of its data identify a score. Changing a prompt, a stop or a
limit is a new version. Importing this module imports no harness.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from codeft_eval.items import Item, Rows, read_gsm8k, read_humaneval, read_mbpp

FOLDER_VARIABLE = "CODEFT_BENCHMARKS"
# Qwen's own base evaluation, arXiv 2409.12186 and the scripts beside it.
_QWEN_STOPS = ("\nif __name__", "\ndef main(", "\nprint(", "\ndef ", "\nclass ", "\nimport ", "\nfrom ", "\nassert ")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFile:
    """A JSON-lines file and what it must contain."""

    name: str
    sha256: str = ""
    "empty for a file of this package, which its revision identifies"
    num_rows: int | None = None
    origin: str

    @property
    def is_packaged(self) -> bool:
        """Whether the file is part of this package."""
        return not self.sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedFigure:
    """Which published figure a benchmark may be set beside, and how far the protocols agree."""

    benchmark: str
    "as the reference table calls it"
    protocol: str
    "the published protocol, in words"
    difference: str
    "what differs from ours; shown wherever the two stand together"


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """One benchmark."""

    name: str
    title: str
    kind: Literal["code", "math"]
    languages: tuple[str, ...]
    protocol: str
    version: int
    data: DataFile
    read: Callable[[Rows, Rows], Iterable[Item]]
    oracle: Literal["python_tests", "number"]
    stops: tuple[str, ...]
    max_new_tokens: int
    select: Callable[[Mapping[str, Any]], bool] = lambda row: True
    "the rows that are scored"
    shots: Callable[[], Rows] = lambda: ()
    "solved examples shown before each item"
    published: PublishedFigure | None = None
    failing_solutions: Mapping[str, str] = field(default_factory=dict)
    "task id -> why its canonical solution fails"


_MBPP_FILE = DataFile(
    name="mbpp.jsonl",
    sha256="ccf64ceae9c5403bf50a044cb6d505bfd2a2963ee58338ba268fd65beab92a9f",
    num_rows=974,
    origin="google-research/google-research mbpp/mbpp.jsonl",
)
_GSM8K_TRAIN = DataFile(
    name="gsm8k_train.jsonl",
    sha256="17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465",
    num_rows=7473,
    origin="openai/grade-school-math@3101c7d5 train.jsonl",
)

_ENTRIES = (
    Benchmark(
        name="embedded",
        title="Embedded functions",
        kind="code",
        languages=("python",),
        protocol="0-shot completion, greedy, Qwen base stops",
        version=1,
        data=DataFile(name="embedded.jsonl", origin="written for codeFT"),
        read=read_humaneval,
        oracle="python_tests",
        stops=_QWEN_STOPS,
        max_new_tokens=256,
    ),
    Benchmark(
        name="humaneval",
        title="HumanEval",
        kind="code",
        languages=("python",),
        protocol="0-shot completion, greedy, Qwen base stops",
        version=1,
        data=DataFile(
            name="HumanEval.jsonl",
            sha256="1d49078ba3e2b196b9344535bef34a43021f038fad9561d6ee7c53450609a6a2",
            num_rows=164,
            origin="openai/human-eval@6d43fb98 data/HumanEval.jsonl.gz, unpacked",
        ),
        read=read_humaneval,
        oracle="python_tests",
        stops=_QWEN_STOPS,
        max_new_tokens=768,
        published=PublishedFigure(
            benchmark="HumanEval",
            protocol="0-shot, greedy; base models complete the EvalPlus prompt, instruct models chat",
            difference="Qwen's harness: vLLM in bfloat16 and EvalPlus' tests of the base set",
        ),
    ),
    Benchmark(
        name="mbpp",
        title="MBPP (500 test tasks)",
        kind="code",
        languages=("python",),
        protocol="3-shot, tests in the prompt, greedy",
        version=1,
        data=_MBPP_FILE,
        read=read_mbpp,
        oracle="python_tests",
        stops=("[DONE]",),
        max_new_tokens=512,
        select=lambda row: 11 <= row["task_id"] <= 510,
        shots=lambda: [row for row in read_rows(_MBPP_FILE) if row["task_id"] in (2, 3, 4)],
        published=PublishedFigure(
            benchmark="MBPP 3-shot",
            protocol="3-shot, greedy",
            difference="Qwen does not publish the three examples or the exact task set",
        ),
    ),
    Benchmark(
        name="gsm8k",
        title="GSM8K",
        kind="math",
        languages=("text",),
        protocol="4-shot, the first four training rows, greedy, number after ####",
        version=1,
        data=DataFile(
            name="gsm8k_test.jsonl",
            sha256="3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14",
            num_rows=1319,
            origin="openai/grade-school-math@3101c7d5 test.jsonl",
        ),
        read=read_gsm8k,
        oracle="number",
        stops=("\nQuestion:", "\n\n"),
        max_new_tokens=400,
        shots=lambda: read_rows(_GSM8K_TRAIN)[:4],
        published=PublishedFigure(
            benchmark="GSM8K", protocol="4-shot", difference="Qwen's four examples and answer extraction are others"
        ),
    ),
)

BENCHMARKS: dict[str, Benchmark] = {entry.name: entry for entry in _ENTRIES}


def get_benchmark(name: str) -> Benchmark:
    """The entry called `name`.

    Raises:
        ValueError: there is none.
    """
    if name not in BENCHMARKS:
        raise ValueError(f"benchmark {name!r} is not one of {sorted(BENCHMARKS)}; add an entry to benchmarks.py")
    return BENCHMARKS[name]


def is_available(benchmark: Benchmark) -> bool:
    """Whether the benchmark's data can be read here without any download."""
    return benchmark.data.is_packaged or (bool(_folder()) and (Path(_folder()) / benchmark.data.name).is_file())


def load_items(benchmark: Benchmark) -> list[Item]:
    """The items, in the order of the file.

    Raises:
        ValueError: the data is absent or not what the entry records.
    """
    rows = [row for row in read_rows(benchmark.data) if benchmark.select(row)]
    return list(benchmark.read(rows, benchmark.shots()))


def benchmark_texts(name: str) -> list[dict[str, str]]:
    """All texts of a benchmark that must not be trained on: prompt, solution, tests and answer of each item."""
    benchmark = get_benchmark(name)
    return [
        {"benchmark": name, "task_id": item.task_id, "kind": benchmark.kind, "field": field, "text": text}
        for item in load_items(benchmark)
        for field, text in _texts(item)
        if text.strip()
    ]


def data_sha256(benchmark: Benchmark) -> str:
    """The hash of the data file's bytes."""
    return hashlib.sha256(_read_bytes(benchmark.data)).hexdigest()


@cache
def read_rows(data: DataFile) -> list[dict[str, Any]]:
    """The rows of a data file, checked against what its entry records."""
    content = _read_bytes(data)
    found = hashlib.sha256(content).hexdigest()
    if data.sha256 and found != data.sha256:
        raise ValueError(
            f"benchmark file {data.name!r} has sha256 {found}, expected {data.sha256}; fetch it from {data.origin}"
        )
    rows = [json.loads(line) for line in content.decode().split("\n") if line.strip()]
    if data.num_rows not in (None, len(rows)):
        raise ValueError(f"benchmark file {data.name!r} has {len(rows)} rows, expected {data.num_rows}; fetch it anew")
    return rows


def _texts(item: Item) -> list[tuple[str, str]]:
    return [
        ("prompt", item.question),
        ("solution", item.solution),
        ("tests", item.test),
        ("answer", item.answer),
    ]


def _folder() -> str:
    return os.environ.get(FOLDER_VARIABLE, "")


def _read_bytes(data: DataFile) -> bytes:
    if data.is_packaged:
        return files("codeft_eval").joinpath("data", data.name).read_bytes()
    path = Path(_folder()) / data.name
    if not _folder() or not path.is_file():
        raise ValueError(
            f"benchmark file {data.name!r} is not in {FOLDER_VARIABLE}={_folder()!r}; fetch it from {data.origin} and "
            f"set {FOLDER_VARIABLE} to its folder"
        )
    return path.read_bytes()
