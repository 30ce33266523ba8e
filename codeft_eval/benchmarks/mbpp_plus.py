"""MBPP+ (EvalPlus, arXiv 2305.01210): sanitized MBPP with many more inputs, as the Hub has it."""

from __future__ import annotations

from collections.abc import Iterable

from codeft_eval.benchmarks.benchmark import Benchmark, Item, PublishedFigure, Rows
from codeft_eval.benchmarks.datafiles import DataFile, HubFiles
from codeft_eval.benchmarks.evalplus_tests import in_few_messages
from codeft_eval.benchmarks.mbpp import DOCSTRING_PROTOCOL, DOCSTRING_STOPS, SANITIZED_COLUMNS, docstring_item
from codeft_eval.benchmarks.python_chat import PYTHON_CHAT


def read_mbpp_plus(rows: Rows, shots: Rows) -> Iterable[Item]:
    """Yield items with the base tests and EvalPlus' inputs, prompted by a docstring with the first test."""
    for row in rows:
        function = docstring_item(row, "").entry_point
        test = "\n".join([*row["test_imports"], *row["test_list"], in_few_messages(row["test"], function)])
        yield docstring_item(row, test)


MBPP_PLUS = Benchmark(
    name="mbpp_plus",
    title="MBPP+ (EvalPlus' 378 tasks)",
    kind="code",
    languages=("python",),
    protocol=DOCSTRING_PROTOCOL,
    version=1,
    data=DataFile(
        name="mbppplus.parquet",
        columns=(*SANITIZED_COLUMNS, "test"),
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
    stops=DOCSTRING_STOPS,
    max_new_tokens=768,
    chat=PYTHON_CHAT,
    published=PublishedFigure(
        benchmark="MBPP+ (EvalPlus 399)",
        protocol="0-shot, greedy, MbppPlus v0.1.0",
        difference="Qwen's harness: vLLM in bfloat16 and EvalPlus v0.1.0, whose 399 tasks became 378 and score some 4 "
        "points lower",
    ),
)
