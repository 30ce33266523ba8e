"""HumanEval (Chen et al., arXiv 2107.03374): complete a function from its signature and docstring."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from codeft_eval.benchmarks.benchmark import Benchmark, Item, PublishedFigure, Rows
from codeft_eval.benchmarks.datafiles import DataFile, HubFiles
from codeft_eval.benchmarks.python_chat import PYTHON_CHAT

COLUMNS = ("task_id", "prompt", "canonical_solution", "entry_point", "test")
PROTOCOL = "0-shot completion, greedy, Qwen base stops"
# Qwen's own base evaluation, arXiv 2409.12186 and the scripts beside it.
STOPS = ("\nif __name__", "\ndef main(", "\nprint(", "\ndef ", "\nclass ", "\nimport ", "\nfrom ", "\nassert ")


def read_humaneval(rows: Rows, shots: Rows) -> Iterable[Item]:
    """Yield items of HumanEval's format."""
    for row in rows:
        yield humaneval_item(row, row["test"])


def humaneval_item(row: Mapping[str, Any], test: str) -> Item:
    """Return a row of HumanEval's format with the given tests.

    The prompt is as EvalPlus and Qwen send it: stripped, one newline at its end, no tabs.
    """
    prompt = row["prompt"].strip().replace("\t", "    ") + "\n"
    return Item(
        task_id=row["task_id"],
        prompt=prompt,
        solution=row["canonical_solution"],
        entry_point=row["entry_point"],
        test=test,
        source_prefix=prompt,
        question=row["prompt"],
    )


HUMANEVAL = Benchmark(
    name="humaneval",
    title="HumanEval",
    kind="code",
    languages=("python",),
    protocol=PROTOCOL,
    version=1,
    data=DataFile(
        name="HumanEval.jsonl",
        columns=COLUMNS,
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
    stops=STOPS,
    max_new_tokens=768,
    chat=PYTHON_CHAT,
    published=PublishedFigure(
        benchmark="HumanEval",
        protocol="0-shot, greedy; base models complete the EvalPlus prompt, instruct models chat",
        difference="Qwen's harness: vLLM in bfloat16, EvalPlus' tests of the base set, and for chats words of its own",
    ),
)
