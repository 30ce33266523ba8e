"""GSM8K (Cobbe et al., arXiv 2110.14168): grade school word problems whose answer is a number after ``####``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from fractions import Fraction

from codeft_eval.benchmarks.benchmark import AnswerCheck, Benchmark, Item, PublishedFigure, Rows
from codeft_eval.benchmarks.datafiles import DataFile, HubFiles, read_rows
from codeft_eval.benchmarks.math_answers import boxed_answer


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
    """Return the number after the first ``####``, or in a last box, or else the last number; None when there is none.

    The mark is read as the published scorer reads it (grade-school-math, ``extract_answer``: the first mark counts),
    and its number by value: of an equation the right-hand side, ``1,8`` is no 18, and an expression such as ``18*2``
    is no number. What stands before a mark is no answer, whatever follows the mark.
    """
    if "####" in completion:
        return _marked_number(completion)
    boxed = boxed_answer(completion)
    if boxed is not None:
        return _first_number(boxed)
    return _last_number(_plain(completion))


def is_same_number(given: str, expected: str) -> bool:
    """Return whether two numbers are equal by value."""
    value = _value(given)
    return value is not None and value == _value(expected)


# A comma groups three digits or starts decimals: 1,234 and 1.234,00 are one number, and 1,8 is 1.8.
_NUMERAL = re.compile(r"(?:\d[\d.,]*)?\d(?:[eE][+-]?\d{1,3})?|\.\d+")
_READINGS: tuple[tuple[re.Pattern[str], Callable[[str], str]], ...] = (
    (re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?"), lambda text: text.replace(",", "")),
    (re.compile(r"\d{1,3}(?:\.\d{3})*,\d{1,2}"), lambda text: text.replace(".", "").replace(",", ".")),
    (re.compile(r"(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d{1,3})?"), str),
)
_QUOTIENT = re.compile(r"(?:(\d{1,40})\s+)?(\d{1,40})\s*/\s*(\d{1,40})(?![\d.,/*])")
_GOES_ON = re.compile(r"\s*[-+*/^×÷:]\s*\(?\s*\d|\s+x\s+\d")
_SPACED_SIGN = re.compile(r"^(\W*)-\s+(?=[\d.])")


def _marked_number(completion: str) -> str | None:
    stated = next((part for part in completion.split("####")[1:] if part.strip()), "")
    line = _plain(boxed_answer(stated) or stated.strip().split("\n")[0])
    sides = [side for side in line.split("=") if re.search(r"\d", side)]
    return _first_number(sides[-1]) if sides else None


def _plain(text: str) -> str:
    """Return the text without currency and emphasis; each dash is a hyphen, each fraction ``a/b``."""
    hyphenated = re.sub(r"[\u2212\u2013\u2012]", "-", text)
    flat = re.sub(r"\\[dt]?frac\s*\{\s*(-?\d+)\s*\}\s*\{\s*(\d+)\s*\}", r" \1/\2", hyphenated)
    return re.sub(r"\\?\$|\*\*|[`{}]|\\[!,;()]", "", flat)


def _first_number(text: str) -> str | None:
    line = _SPACED_SIGN.sub(r"\1-", _plain(text).strip())
    found = _NUMERAL.search(line)
    if not found:
        return None
    quotient = _QUOTIENT.match(line, found.start())
    if quotient:
        whole, numerator, denominator = (int(number or 0) for number in quotient.groups())
        return f"{_sign(line, found)}{whole * denominator + numerator}/{denominator}"
    return None if _GOES_ON.match(line, found.end()) else _read_number(line, found)


def _last_number(text: str) -> str | None:
    found = list(_NUMERAL.finditer(text))
    return _read_number(text, found[-1]) if found else None


def _read_number(text: str, numeral: re.Match[str]) -> str | None:
    for pattern, read in _READINGS:
        if pattern.fullmatch(numeral[0]):
            return _sign(text, numeral) + read(numeral[0])
    return None


def _sign(text: str, numeral: re.Match[str]) -> str:
    """Return the minus before a numeral; in ``20-2`` it is none."""
    return "-" if re.search(r"(?<![\w)])-$", text[: numeral.start()]) else ""


def _value(number: str) -> Fraction | None:
    try:
        return Fraction(number)
    except (ValueError, ZeroDivisionError):
        return None


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
    protocol="4-shot, the first four training rows, greedy, up to the next question, number after the first ####",
    version=2,
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
    # Not at a blank line: it may stand before the answer. A model that goes on writes the next question.
    stops=("\nQuestion:",),
    max_new_tokens=400,
    shots=lambda: read_rows(_TRAIN)[:4],
    more_data=(_TRAIN,),
    published=PublishedFigure(
        benchmark="GSM8K", protocol="4-shot", difference="Qwen's four examples and answer extraction are others"
    ),
)
