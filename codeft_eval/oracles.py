"""Who decides whether a completion is right: the sandbox for programs, a comparison for numbers."""

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from codeft_eval.benchmarks import Benchmark
from codeft_eval.items import Item
from codeft_eval.sandbox.pool import Sandbox
from codeft_eval.sandbox.programs import Limits, Outcome, Program, Verdict

_NUMBER = re.compile(r"-?\$?\d[\d,]*(?:\.\d+)?")
_NO_PROGRAM = "none: numbers are compared, no program runs"


@dataclass(frozen=True, slots=True)
class Oracle:
    """Judges completions; `tier` names the jail, `reasons` what the probe saw."""

    judge: Callable[[Sequence[Item], Sequence[str]], list[Outcome]]
    tier: str
    reasons: dict[str, str]
    limits: Limits | None


def open_oracle(
    benchmark: Benchmark, *, tier: str | None = None, allow_unsafe: bool = False, limits: Limits | None = None
) -> AbstractContextManager[Oracle]:
    """The benchmark's oracle, for use as a context manager; the sandbox is chosen before any generation.

    Raises:
        SandboxError: programs must run, no jail works here and `allow_unsafe` was not given.
    """
    if benchmark.oracle == "number":
        return nullcontext(Oracle(_compare_numbers, _NO_PROGRAM, {}, None))
    return _SandboxOracle(Sandbox(limits=limits, tier=tier, allow_unsafe=allow_unsafe))


class _SandboxOracle(AbstractContextManager[Oracle]):
    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def __enter__(self) -> Oracle:
        confinement = self._sandbox.confinement
        return Oracle(self._judge, confinement.tier, confinement.reasons, self._sandbox.limits)

    def __exit__(self, *failure: object) -> None:
        self._sandbox.__exit__(None, None, None)

    def _judge(self, items: Sequence[Item], completions: Sequence[str]) -> list[Outcome]:
        return self._sandbox.run(program(item, text) for item, text in zip(items, completions, strict=True))


def program(item: Item, completion: str) -> Program:
    """The program that a completion makes."""
    return Program(
        key=item.task_id,
        source=item.source_prefix + completion,
        entry_point=item.entry_point,
        test=item.test,
        prelude=item.source_prefix,
    )


def extract_number(completion: str) -> str | None:
    """The number after `####`, or else the last number; None when there is none."""
    marked = completion.rpartition("####")[2] if "####" in completion else ""
    found = _NUMBER.findall(marked)[:1] or _NUMBER.findall(completion)[-1:]
    return found[0].replace(",", "").replace("$", "") if found else None


def _compare_numbers(items: Sequence[Item], completions: Sequence[str]) -> list[Outcome]:
    return [_compare_number(item, text) for item, text in zip(items, completions, strict=True)]


def _compare_number(item: Item, completion: str) -> Outcome:
    found = extract_number(completion)
    is_equal = found is not None and float(found) == float(item.answer)
    verdict: Verdict = "passed" if is_equal else "failed"
    reason = "passed" if is_equal else "no_answer" if found is None else "wrong_answer"
    return Outcome(key=item.task_id, verdict=verdict, reason=reason, detail=f"answered {found}", tier=_NO_PROGRAM)
