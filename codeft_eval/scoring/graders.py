"""Who decides whether a completion is right: the sandbox for programs, a comparison for numbers."""

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Protocol

from codeft_eval.benchmarks.entries import Benchmark
from codeft_eval.benchmarks.items import Item
from codeft_eval.benchmarks.math_answers import closing_answer, is_same_answer, stated_answer
from codeft_eval.sandbox.pool import Sandbox
from codeft_eval.sandbox.programs import Grade, Limits, Program, Verdict

_NUMBER = re.compile(r"-?\$?\d[\d,]*(?:\.\d+)?")
_NO_PROGRAM = "none: answers are compared, no program runs"


class Oracle(Protocol):
    """Judges completions; `tier` names the jail, `reasons` what the probe saw of each."""

    tier: str
    reasons: dict[str, str]
    limits: Limits | None

    def begin(self, item: Item, completion: str) -> None:
        """Starts judging a completion that `judge` will ask about, beside whatever the caller does next."""
        ...

    def judge(self, items: Sequence[Item], completions: Sequence[str]) -> list[Grade]:
        """The outcomes, in order; an item's equal completions are judged once."""
        ...


@contextmanager
def open_oracle(
    benchmark: Benchmark, *, tier: str | None = None, allow_unsafe: bool = False, limits: Limits | None = None
) -> Iterator[Oracle]:
    """The benchmark's oracle, for use as a context manager; the sandbox is chosen before any generation.

    Raises:
        SandboxError: programs must run, no jail works here and `allow_unsafe` was not given.
    """
    if benchmark.oracle in _COMPARISONS:
        yield _Comparison(_COMPARISONS[benchmark.oracle])
        return
    language = benchmark.languages[0] if benchmark.oracle == "nonce" else "python"
    with Sandbox(limits=limits, level=tier, allow_unsafe=allow_unsafe, language=language) as sandbox:
        yield _SandboxOracle(sandbox)


class _SandboxOracle:
    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self.tier, self.reasons = sandbox.isolation.level, sandbox.isolation.reasons
        self.limits: Limits | None = sandbox.limits
        self._begun: dict[tuple[str, str], tuple[Program, Future[Grade]]] = {}

    def begin(self, item: Item, completion: str) -> None:
        key = (item.task_id, completion)
        if key not in self._begun:
            own = program(item, completion)
            self._begun[key] = own, self._sandbox.submit(own)

    def judge(self, items: Sequence[Item], completions: Sequence[str]) -> list[Grade]:
        keys = []
        for item, completion in zip(items, completions, strict=True):
            self.begin(item, completion)
            keys.append((item.task_id, completion))
        distinct = list(dict.fromkeys(keys))
        outcomes = dict(zip(distinct, self._sandbox.gather(self._begun[key] for key in distinct), strict=True))
        return [outcomes[key] for key in keys]


class _Comparison:
    """Compares answers; no program runs."""

    tier = _NO_PROGRAM
    reasons: dict[str, str] = {}  # noqa: RUF012 - there is no jail to have reasons
    limits: Limits | None = None

    def __init__(self, compare: Callable[[Item, str], tuple[str | None, bool]]) -> None:
        self._compare = compare

    def begin(self, item: Item, completion: str) -> None:
        pass

    def judge(self, items: Sequence[Item], completions: Sequence[str]) -> list[Grade]:
        return [self._judge_one(item, text) for item, text in zip(items, completions, strict=True)]

    def _judge_one(self, item: Item, completion: str) -> Grade:
        if not item.answer:
            return Grade(key=item.task_id, verdict="unscored", reason="no_reference_answer", isolation=self.tier)
        found, is_equal = self._compare(item, completion)
        verdict: Verdict = "passed" if is_equal else "failed"
        reason = "passed" if is_equal else "no_answer" if found is None else "wrong_answer"
        return Grade(key=item.task_id, verdict=verdict, reason=reason, detail=f"answered {found}", isolation=self.tier)


def program(item: Item, completion: str) -> Program:
    """The program that a completion makes."""
    return Program(
        key=item.task_id,
        source=item.source_prefix + completion,
        entry_point=item.entry_point,
        test=item.test,
        prelude=item.source_prefix,
        language=item.language,
    )


def extract_number(completion: str) -> str | None:
    """The number after `####`, or else the last number; None when there is none."""
    marked = completion.rpartition("####")[2] if "####" in completion else ""
    found = _NUMBER.findall(marked)[:1] or _NUMBER.findall(completion)[-1:]
    return found[0].replace(",", "").replace("$", "") if found else None


def _compare_numbers(item: Item, completion: str) -> tuple[str | None, bool]:
    found = extract_number(completion)
    return found, found is not None and float(found) == float(item.answer)


def _compare_math(item: Item, completion: str) -> tuple[str | None, bool]:
    found = stated_answer(completion)
    return found, found is not None and is_same_answer(found, item.answer)


def _compare_closing(item: Item, completion: str) -> tuple[str | None, bool]:
    found = closing_answer(completion)
    return found, found is not None and is_same_answer(found, item.answer)


_COMPARISONS = {"number": _compare_numbers, "math": _compare_math, "closing": _compare_closing}
