"""The benchmarks whose answers are compared: how their files become items, and their entries."""

from collections.abc import Iterable

from codeft_eval.benchmarks.datafiles import DataFile, HubFiles, read_rows
from codeft_eval.benchmarks.entries import Benchmark, PublishedFigure
from codeft_eval.benchmarks.items import Item, Rows
from codeft_eval.benchmarks.math_answers import boxed


def read_gsm8k(rows: Rows, shots: Rows) -> Iterable[Item]:
    """GSM8K's format; the answer is the number after `####`."""
    examples = "".join(f"Question: {row['question']}\nAnswer: {row['answer']}\n\n" for row in shots)
    for index, row in enumerate(rows):
        yield Item(
            task_id=f"GSM8K/{index}",
            prompt=f"{examples}Question: {row['question']}\nAnswer:",
            solution=" " + row["answer"],
            answer=row["answer"].rpartition("####")[2].strip().replace(",", ""),
            question=row["question"],
        )


def read_math(rows: Rows, shots: Rows) -> Iterable[Item]:
    r"""MATH's format; the answer is what the solution puts in its last `\boxed{}`."""
    examples = "".join(f"Problem:\n{row['problem']}\n\nSolution:\n{row['solution']}\n\n" for row in shots)
    for row in rows:
        yield Item(
            task_id=f"MATH/{row['idx']}",
            prompt=f"{examples}Problem:\n{row['problem']}\n\nSolution:",
            solution="\n" + row["solution"],
            answer=boxed(row["solution"]) or "",
            question=row["problem"],
        )


def read_competition(rows: Rows, shots: Rows) -> Iterable[Item]:
    """Held-out olympiad problems; all are weighed: the solution, or the problem itself where there is none."""
    for row in rows:
        is_solved = bool(row["solution"].strip())
        yield Item(
            task_id=row["task_id"],
            prompt=f"Problem. {row['problem'].strip()}\n\nSolution." if is_solved else "Problem.",
            solution=f" {(row['solution'] if is_solved else row['problem']).strip()}\n",
            answer=row["answer"],
            question=row["problem"],
        )


_GSM8K_REVISION = "740312add88f781978c0658806c59bc2815b9866"
_GSM8K_TRAIN = DataFile(
    name="gsm8k_train.jsonl",
    columns=("question", "answer"),
    rows_sha256="fced0849c018610984e1493088b43d38ac54c27c1cf387658e947cc40c54248b",
    num_rows=7473,
    origin="openai/grade-school-math@3101c7d5 train.jsonl",
    hub=HubFiles(repo="openai/gsm8k", revision=_GSM8K_REVISION, paths=("main/train-00000-of-00001.parquet",)),
)
_MATH_FILE = DataFile(
    name="math_test.jsonl",
    columns=("problem", "solution", "idx"),
    rows_sha256="cabcb839dec4909239a006b04a940e39c00130319a54d527e27b23030b2a954c",
    num_rows=5000,
    origin="microsoft/ToRA@213c1c99, the MATH test set",
)

MATH = (
    Benchmark(
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
            hub=HubFiles(repo="openai/gsm8k", revision=_GSM8K_REVISION, paths=("main/test-00000-of-00001.parquet",)),
        ),
        read=read_gsm8k,
        oracle="number",
        stops=("\nQuestion:", "\n\n"),
        max_new_tokens=400,
        shots=lambda: read_rows(_GSM8K_TRAIN)[:4],
        more_data=(_GSM8K_TRAIN,),
        published=PublishedFigure(
            benchmark="GSM8K", protocol="4-shot", difference="Qwen's four examples and answer extraction are others"
        ),
    ),
    Benchmark(
        name="math",
        title="MATH (every tenth problem)",
        kind="math",
        languages=("text",),
        protocol="4-shot, the first four short unscored test rows, greedy, boxed answer",
        version=1,
        data=_MATH_FILE,
        read=read_math,
        oracle="math",
        stops=("\nProblem:",),
        max_new_tokens=512,
        select=lambda row: row["idx"] % 10 == 0,
        shots=lambda: [row for row in read_rows(_MATH_FILE) if row["idx"] % 10 and len(row["solution"]) < 300][:4],
        published=PublishedFigure(
            benchmark="MATH",
            protocol="4-shot, all 5,000 problems",
            difference="Qwen's examples and answer extraction are others; ours are 500 of the 5,000 problems",
        ),
    ),
    Benchmark(
        name="competition_math",
        title="Competition math (held out of comp-math)",
        kind="math",
        languages=("text",),
        protocol="0-shot, greedy; the answer where the problem asks for a value and its solution boxes, states or ends "
        "on one; bits per byte of the solution, or of a problem without one",
        version=1,
        data=DataFile(
            name="competition_math.jsonl",
            columns=("task_id", "problem", "solution", "answer"),
            origin="built by `python -m codeft_eval hold-out` from documents/comp-math",
            is_built=True,
        ),
        read=read_competition,
        oracle="closing",
        stops=("\nProblem.",),
        max_new_tokens=512,
    ),
)
"""The entries, for BENCHMARKS."""
