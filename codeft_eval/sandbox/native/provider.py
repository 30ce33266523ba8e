"""Checks that programs of a compiled or shell language are isolated and graded rightly before any of them counts."""

from __future__ import annotations

import functools
import sys

from codeft_eval.sandbox.isolation.levels import LANDLOCK, NAMESPACES
from codeft_eval.sandbox.native.client import NativeWorker
from codeft_eval.sandbox.native.judges import BuiltJudges
from codeft_eval.sandbox.native.toolchains import canary_programs
from codeft_eval.sandbox.native.tools import missing_tools, tool_versions
from codeft_eval.sandbox.programs import Limits
from codeft_eval.sandbox.provider import Isolation, SandboxError

_EXPECTED_VERDICTS = {"right": "passed", "wrong": "failed", "early_exit": "failed"}
_LIMITS = Limits(wall_seconds=160.0)
"""A busy machine makes no language unusable."""


class NativeProvider:
    """Runs programs of one language other than Python; only namespaces can hold a tree of processes."""

    def __init__(self, language: str) -> None:
        self._language = language
        self._judges = BuiltJudges()

    def select_isolation(self, level: str | None, *, allow_unsafe: bool) -> Isolation:
        """Return namespaces; ``allow_unsafe`` has no effect, since unconfined compilers are never run.

        Raises:
            SandboxError: namespaces do not work, another level was requested, a tool is missing, or a canary was
                graded wrongly; the message has the reason.
        """
        is_possible = level in (None, NAMESPACES)
        reasons = {
            NAMESPACES: check_language(self._language) if is_possible else "not tried",
            LANDLOCK: "Landlock alone neither gives a private scratch folder nor ends daemons",
        }
        if reasons[NAMESPACES] == "works":
            return Isolation(level=NAMESPACES, reasons=reasons)
        listed = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        requested = f", {level} was requested" if level else ""
        raise SandboxError(
            f"no isolation for {self._language} programs on this machine ({listed}{requested}); install the missing "
            "tools, allow user namespaces and request no other level, or leave the benchmark out"
        )

    def tool_versions(self) -> dict[str, str]:
        """Return the versions of the language's tools, and of the programs that its solutions use."""
        return tool_versions(self._language)

    def start_worker(self, isolation: Isolation) -> NativeWorker:
        """Start a worker; ``isolation`` is always namespaces."""
        assert isolation.level == NAMESPACES, isolation
        return NativeWorker(self._language, self._judges)


@functools.cache
def check_language(language: str) -> str:
    """Return ``works``, or why the language's programs cannot be graded, by running its three canaries."""
    if sys.platform != "linux":
        return f"{sys.platform} is not Linux"
    if missing := missing_tools(language):
        return f"not installed: {', '.join(missing)}"
    try:
        worker = NativeWorker(language, BuiltJudges())
    except SandboxError as error:
        return str(error)
    try:
        grades = {name: worker.run(program, _LIMITS) for name, program in canary_programs(language).items()}
    except SandboxError as error:
        return str(error)
    finally:
        worker.close()
    for name, verdict in _EXPECTED_VERDICTS.items():
        grade = grades[name]
        if grade.verdict != verdict:
            return f"the {name} canary was graded {grade.verdict}, {grade.reason}: {grade.stderr[-300:]}"
    return "works"
