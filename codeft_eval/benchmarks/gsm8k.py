"""GSM8K (Cobbe et al., arXiv 2110.14168): grade school word problems whose answer is a number after ``####``."""

from __future__ import annotations

import re
from collections.abc import Iterable

from codeft_eval.benchmarks.benchmark import AnswerCheck, Benchmark, Item, PublishedFigure, Rows
from codeft_eval.benchmarks.datafiles import DataFile, HubFiles, read_rows

_NUMBER = re.compile(r"-?\$?\d[\d,]*(?:\.\d+)?")


def read_gsm8k(rows: Rows, shots: Rows) -> Iterable[Item]:
    """Yield items of GSM8K's format, after the solved examples."""
    examples = "".join(f"Question: {row['question']}\nAnswer: {row['answer']}\n\n" for row in shots)
    for index, row in enumerate(rows):
        yield Item(
            task_id=f"GSM8K/{index}",
            prompt=f"{examples}Question: {row['question']}\nAnswer:",
            solution=" " + row["answer"],
            answer=row["answer"].rpartition("####")[2].strip().replace(",", ""),
            question=row["question"],
        )


def extract_number(completion: str) -> str | None:
    """Return the number after ``####``, or else the last number; None when there is none."""
    marked = completion.rpartition("####")[2] if "####" in completion else ""
    found = _NUMBER.findall(marked)[:1] or _NUMBER.findall(completion)[-1:]
    return found[0].replace(",", "").replace("$", "") if found else None


def is_same_number(given: str, expected: str) -> bool:
    """Return whether two numbers are equal by value."""
    return float(given) == float(expected)


_HUB_REVISION = "740312add88f781978c0658806c59bc2815b9866"
_TRAIN = DataFile(
    name="gsm8k_train.jsonl",
    columns=("question", "answer"),
    rows_sha256="fced0849c018610984e1493088b43d38ac54c27c1cf387658e947cc40c54248b",
    num_rows=7473,
    origin="openai/grade-school-math@3101c7d5 train.jsonl",
    hub=HubFiles(repo="openai/gsm8k", revision=_HUB_REVISION, paths=("main/train-00000-of-00001.parquet",)),
)
GSM8K = Benchmark(
    name="gsm8k",
    title="GSM8K",
    kind="math",
    languages=("text",),
    protocol="4-shot, the first four training rows, greedy, number after ####",
    version=1,
    data=DataFile(
        name="gsm8k_test.jsonl",
        columns=("question", "answer"),
        rows_sha256="524c11ab4ee19ae27e71a10fff523a583dbba0a714e6be0ff2518668c0071daa",
        num_rows=1319,
        origin="openai/grade-school-math@3101c7d5 test.jsonl",
        hub=HubFiles(repo="openai/gsm8k", revision=_HUB_REVISION, paths=("main/test-00000-of-00001.parquet",)),
    ),
    read=read_gsm8k,
    answer_check=AnswerCheck(extract_number, is_same_number),
    stops=("\nQuestion:", "\n\n"),
    max_new_tokens=400,
    shots=lambda: read_rows(_TRAIN)[:4],
    more_data=(_TRAIN,),
    published=PublishedFigure(
        benchmark="GSM8K", protocol="4-shot", difference="Qwen's four examples and answer extraction are others"
    ),
)
