"""BENCHMARKS, the one place to add a benchmark: where its rows are, what the model is shown, what decides a pass.

An entry's name, version and protocol with the hash of its data identify a score. Changing a prompt, a stop or a
limit is a new version. Importing this module imports no harness.
"""

import csv
from functools import cache
from importlib.resources import files

from codeft_eval.benchmarks.datafiles import DataFile, HubFiles, is_present, read_rows, rows_sha256
from codeft_eval.benchmarks.entries import Benchmark, PublishedFigure
from codeft_eval.benchmarks.evalplus import read_humaneval_plus, read_humaneval_plus_mini, read_mbpp_plus
from codeft_eval.benchmarks.items import Item, Rows, read_humaneval, read_mbpp, read_mbpp_base
from codeft_eval.benchmarks.math import MATH
from codeft_eval.benchmarks.multipl_e import MULTIPLE
from codeft_eval.sandbox.native.toolchains import missing_tools

# Qwen's own base evaluation, arXiv 2409.12186 and the scripts beside it.
_QWEN_STOPS = ("\nif __name__", "\ndef main(", "\nprint(", "\ndef ", "\nclass ", "\nimport ", "\nfrom ", "\nassert ")
_QWEN_MBPP_STOPS = ("\nif __name__", "\ndef main(", "\nprint(", '\n"""', "\nassert")
_COMPLETION = "0-shot completion, greedy, Qwen base stops"
_DOCSTRING = "0-shot, the task and its first test in a docstring (EvalPlus), greedy, Qwen base stops"
_QWEN_HARNESS = "Qwen's harness: vLLM in bfloat16 and EvalPlus"
_HUMANEVAL_COLUMNS = ("task_id", "prompt", "canonical_solution", "entry_point", "test")
_INPUT_COLUMNS = ("task_id", "prompt", "canonical_solution", "entry_point", "base_input", "plus_input", "atol")
_SANITIZED_COLUMNS = ("task_id", "prompt", "code", "test_imports", "test_list")

_MBPP_FILE = DataFile(
    name="mbpp.jsonl",
    columns=("task_id", "text", "code", "test_list", "test_setup_code"),
    rows_sha256="cba407c6cce577f744e054d37ce6f7c7436c926be64aedcfee3a77e4021406f9",
    num_rows=974,
    origin="google-research/google-research mbpp/mbpp.jsonl",
    hub=HubFiles(
        repo="google-research-datasets/mbpp",
        revision="4bb6404fdc6cacfda99d4ac4205087b89d32030c",
        paths=tuple(f"full/{split}-00000-of-00001.parquet" for split in ("prompt", "test", "validation", "train")),
    ),
)
_ENTRIES = (
    Benchmark(
        name="embedded",
        title="Embedded functions",
        kind="code",
        languages=("python",),
        protocol=_COMPLETION,
        version=1,
        data=DataFile(name="embedded.jsonl", columns=_HUMANEVAL_COLUMNS, origin="written for codeFT", is_packaged=True),
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
        protocol=_COMPLETION,
        version=1,
        data=DataFile(
            name="HumanEval.jsonl",
            columns=_HUMANEVAL_COLUMNS,
            rows_sha256="53e6de8cb31dc96b8f53510f0ad0d6bbb34c02bf136f16bdcb6065a0964ec973",
            num_rows=164,
            origin="openai/human-eval@6d43fb98 data/HumanEval.jsonl.gz, unpacked",
            hub=HubFiles(
                repo="openai/openai_humaneval",
                revision="7dce6050a7d6d172f3cc5c32aa97f52fa1a2e544",
                paths=("openai_humaneval/test-00000-of-00001.parquet",),
            ),
        ),
        read=read_humaneval,
        oracle="python_tests",
        stops=_QWEN_STOPS,
        max_new_tokens=768,
        published=PublishedFigure(
            benchmark="HumanEval",
            protocol="0-shot, greedy; base models complete the EvalPlus prompt, instruct models chat",
            difference=f"{_QWEN_HARNESS}' tests of the base set",
        ),
    ),
    Benchmark(
        name="humaneval_plus",
        title="HumanEval+",
        kind="code",
        languages=("python",),
        protocol=_COMPLETION,
        version=1,
        data=DataFile(
            name="humanevalplus.jsonl",
            columns=_HUMANEVAL_COLUMNS,
            file_sha256="908377f1daf28dcb36846db73a5662b2e05a9907407c2696c89ad9d3b0b04492",
            num_rows=164,
            origin="the Hub's evalplus/humanevalplus test.jsonl",
            hub=HubFiles(
                repo="evalplus/humanevalplus",
                revision="d32357cf319e50e9c8d8dab5ea876c72b0fd321b",
                paths=("test.jsonl",),
            ),
        ),
        read=read_humaneval_plus,
        oracle="python_tests",
        stops=_QWEN_STOPS,
        max_new_tokens=768,
        published=PublishedFigure(
            benchmark="HumanEval+", protocol="0-shot, greedy", difference=f"{_QWEN_HARNESS} v0.1.9"
        ),
    ),
    Benchmark(
        name="humaneval_plus_mini",
        title="HumanEval+ (mini)",
        kind="code",
        languages=("python",),
        protocol=f"{_COMPLETION}; EvalPlus' reduced inputs",
        version=1,
        data=DataFile(
            name="HumanEvalPlus-Mini.jsonl",
            columns=_INPUT_COLUMNS,
            rows_sha256="d387058f5f97b6fd76ea433d5b2b3b4c2ba4b3b83ddaea0d4bfb2b49069a2da4",
            num_rows=164,
            origin="evalplus/humanevalplus_release@200defce HumanEvalPlus-Mini.jsonl.gz, unpacked",
        ),
        read=read_humaneval_plus_mini,
        oracle="python_tests",
        stops=_QWEN_STOPS,
        max_new_tokens=768,
        published=PublishedFigure(
            benchmark="HumanEval+",
            protocol="0-shot, greedy",
            difference=f"{_QWEN_HARNESS} v0.1.9 with all inputs, 748 an item on average; ours has 14",
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
        name="mbpp_evalplus",
        title="MBPP (EvalPlus' 399 tasks, base tests)",
        kind="code",
        languages=("python",),
        protocol=_DOCSTRING,
        version=1,
        data=DataFile(
            name="sanitized-mbpp.json",
            columns=_SANITIZED_COLUMNS,
            rows_sha256="7258d9f84887633c29185c8e1721b9bf04850d336667c59a51db55a74c214c40",
            num_rows=427,
            origin="google-research/google-research mbpp/sanitized-mbpp.json",
        ),
        read=read_mbpp_base,
        oracle="python_tests",
        stops=_QWEN_MBPP_STOPS,
        max_new_tokens=768,
        select=lambda row: f"Mbpp/{row['task_id']}" in evalplus_tasks(),
        published=PublishedFigure(
            benchmark="MBPP (EvalPlus 399)",
            protocol="0-shot, greedy, MbppPlus v0.1.0",
            difference=f"{_QWEN_HARNESS}, which turned the same tests into inputs",
        ),
    ),
    Benchmark(
        name="mbpp_plus",
        title="MBPP+ (EvalPlus' 378 tasks)",
        kind="code",
        languages=("python",),
        protocol=_DOCSTRING,
        version=1,
        data=DataFile(
            name="mbppplus.parquet",
            columns=(*_SANITIZED_COLUMNS, "test"),
            file_sha256="dc20030b3788fccf617444edcb34138ef13d7e4fafd17bfcb8c1279dbb12399b",
            num_rows=378,
            origin="the Hub's evalplus/mbppplus data/test-00000-of-00001-d5781c9c51e02795.parquet",
            hub=HubFiles(
                repo="evalplus/mbppplus",
                revision="b2d74c91837c3f2a20c1299ae98133cbe7cfa077",
                paths=("data/test-00000-of-00001-d5781c9c51e02795.parquet",),
            ),
        ),
        read=read_mbpp_plus,
        oracle="python_tests",
        stops=_QWEN_MBPP_STOPS,
        max_new_tokens=768,
        published=PublishedFigure(
            benchmark="MBPP+ (EvalPlus 399)",
            protocol="0-shot, greedy, MbppPlus v0.1.0",
            difference=f"{_QWEN_HARNESS} v0.1.0, whose 399 tasks became 378 and score some 4 points lower",
        ),
    ),
    *MULTIPLE,
    *MATH,
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
    return all(map(is_present, (benchmark.data, *benchmark.more_data)))


def is_runnable(benchmark: Benchmark) -> bool:
    """Whether the data is here and so is what runs the programs."""
    needed = benchmark.languages if benchmark.oracle == "nonce" else ()
    return is_available(benchmark) and not any(missing_tools(language) for language in needed)


def load_items(benchmark: Benchmark) -> list[Item]:
    """The items, in the order of the file.

    Raises:
        ValueError: the data is absent or not what the entry records.
    """
    rows = [row for row in read_rows(benchmark.data) if benchmark.select(row)]
    return list(benchmark.read(rows, benchmark.shots()))


def benchmark_texts(name: str) -> list[dict[str, str]]:
    """All texts of a benchmark that must not be trained on: prompt, solution, tests and answer of each item.

    Rows that the entry does not score are held out too: another protocol of the same benchmark scores them.
    """
    benchmark = get_benchmark(name)
    return texts_of(benchmark, read_rows(benchmark.data))


def texts_of(benchmark: Benchmark, rows: Rows) -> list[dict[str, str]]:
    """The same of `rows` that the caller has read."""
    return [
        {"benchmark": benchmark.name, "task_id": item.task_id, "kind": benchmark.kind, "field": field, "text": text}
        for item in benchmark.read(rows, benchmark.shots())
        for field, text in _texts(item)
        if text.strip()
    ]


def data_sha256(benchmark: Benchmark) -> str:
    """The hash of the rows, equal for every way they are stored."""
    return rows_sha256(read_rows(benchmark.data))


@cache
def evalplus_tasks() -> frozenset[str]:
    """The 399 MBPP tasks of EvalPlus' v0.1.0, as the reference verdicts name them."""
    with files("codeft_eval").joinpath("data", "reference_verdicts.csv").open(encoding="utf-8") as lines:
        return frozenset(row["item"] for row in csv.DictReader(lines) if row["benchmark"] == "mbpp")


def _texts(item: Item) -> list[tuple[str, str]]:
    return [
        ("prompt", item.question),
        ("solution", item.solution),
        ("tests", item.test),
        ("answer", item.answer),
    ]
