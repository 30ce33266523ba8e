"""From the ends of both processes to a grade.

Only a judge that printed its secret as its last act, after each call in its tests was answered, is a pass.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from codeft_eval.sandbox.isolation.core_time import CoreWatch
from codeft_eval.sandbox.isolation.levels import NAMESPACES
from codeft_eval.sandbox.native.toolchains import COMPILING, TOOLCHAINS
from codeft_eval.sandbox.programs import NOT_ISOLATED, SLEPT, STARVED, STDERR_BYTES, Grade, Limits, Program

CLOSED = 70
"""Exit status of a judge whose candidate is gone, or sent no value; every file in ``channels`` has it."""
ANSWERED = "\x06"
"""Written to the judge's errors at each answer of the candidate, which has no descriptor of the judge's."""
_SIGKILL, _SIGXCPU = -9, -24
_KILLED = (_SIGKILL, _SIGXCPU)


@dataclass(slots=True, kw_only=True)
class Outcome:
    """The reports of a program's build and of its run, by role."""

    program: Program
    limits: Limits
    nonce: str
    num_calls: int
    """Calls of the candidate in the tests, as they are written."""
    watch: CoreWatch
    built: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    ran: dict[str, dict[str, Any]] = field(default_factory=dict)
    is_too_large: bool = False

    @property
    def is_built(self) -> bool:
        """Whether both roles came through their builds."""
        return len(self.built) == 2 and not self.failed_build()

    def is_proved(self, judge: dict[str, Any]) -> bool:
        """Return whether a judge came to the end of its tests and left out no call on the way."""
        is_at_end = judge["status"] == 0 and self.nonce in judge["output"]
        return is_at_end and judge["errors"].count(ANSWERED) >= self.num_calls

    def failed_build(self) -> tuple[str, dict[str, Any]] | None:
        """Return the role and the step of a build that failed; the candidate's first."""
        for role in ("candidate", "judge"):
            for step in self.built.get(role, []):
                if step["status"] != 0:
                    return role, step
        return None


def grade(outcome: Outcome) -> Grade:
    """Return the grade of a program that has ended."""
    judge = outcome.ran.get("judge")
    is_passed = judge is not None and outcome.is_proved(judge)
    reason, detail, streams = ("passed", "", "") if is_passed else _failure(outcome)
    steps = [*outcome.ran.values(), *(step for steps in outcome.built.values() for step in steps)]
    cpu_seconds = sum(step["cpu"] for step in steps)
    if reason == SLEPT and (starvation := outcome.watch.starvation(cpu_seconds)):
        reason, detail = STARVED, starvation
    return Grade(
        key=outcome.program.key,
        verdict="passed" if is_passed else "unscored" if reason in (NOT_ISOLATED, STARVED) else "failed",
        reason=reason,
        detail=detail,
        stderr=streams.replace(outcome.nonce, "(nonce)").replace(ANSWERED, "")[-STDERR_BYTES:],
        isolation=NAMESPACES,
        cpu_seconds=cpu_seconds,
        wall_seconds=sum(step["wall"] for step in steps if step is not judge),
    )


def _failure(outcome: Outcome) -> tuple[str, str, str]:
    """Return reason, detail and the streams that explain them."""
    failed = outcome.failed_build()
    if failed:
        role, step = failed
        number, total = outcome.built[role].index(step) + 1, len(TOOLCHAINS[outcome.program.language].steps)
        reason = _reason_of_end(step, COMPILING, is_too_large=outcome.is_too_large) or "compile_error"
        detail = "" if role == "candidate" else "the tests do not compile: "
        return reason, f"{detail}{_described(number, total, step)}", step["errors"] + step["output"]
    return _failed_run(outcome)


def _failed_run(outcome: Outcome) -> tuple[str, str, str]:
    candidate, judge = outcome.ran["candidate"], outcome.ran["judge"]
    total = len(TOOLCHAINS[outcome.program.language].steps)
    streams = candidate["errors"] + candidate["output"] + judge["errors"]
    for step in (candidate, judge):
        reason = _reason_of_end(step, outcome.limits, is_too_large=outcome.is_too_large)
        if reason:
            return reason, _described(total, total, step), streams
    if judge["status"] != CLOSED:
        answered = f"{judge['errors'].count(ANSWERED)} of {outcome.num_calls} calls answered"
        return "test_failed", f"the tests ended with status {judge['status']}, {answered}", streams
    if candidate["ending"] == "stop":
        return "protocol", "the program sent no value of this language, or closed its channel to the tests", streams
    status = candidate["status"]
    reason = "exited" if status == 0 else "crashed" if status < 0 else "test_failed"
    return reason, _described(total, total, candidate), streams


def _reason_of_end(step: dict[str, Any], limits: Limits, *, is_too_large: bool) -> str:
    causes = {
        NOT_ISOLATED: step["refused"] != "",
        "memory": is_too_large,
        SLEPT: step["ending"] == "deadline",
        # The limit counts clock ticks and is reached somewhat before the precise count.
        "timeout": step["status"] in _KILLED and step["cpu"] >= 0.6 * limits.cpu_seconds,
    }
    return next((name for name, holds in causes.items() if holds), "")


def _described(number: int, total: int, step: dict[str, Any]) -> str:
    text = f"step {number} of {total} ended with status {step['status']}"
    return f"{text}: {step['refused']}" if step["refused"] else text
