"""An execution described line by line, as a thought: what each line did to the variables, until the value is returned.

After inner monologue (arXiv 2311.07445) and SemCoder (arXiv 2406.01006). Only exercises that were made here are run, in
this process. Comprehensions and lambdas are one step: their inner frames differ among Python's versions.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

MIN_STEPS, MAX_STEPS = 3, 40
"""A call of fewer lines is predicted at a glance; a longer one is more reading than it teaches."""
MAX_VALUE_CHARS = 60
_FILE = "<exercise>"


@dataclass(frozen=True, slots=True)
class Step:
    """A line that is about to run."""

    line: int
    """Its number in the code, from 1."""
    variables: dict[str, str]
    """Each variable as it is written, before the line runs."""


@dataclass(frozen=True, slots=True)
class Trace:
    """The run of one call."""

    steps: tuple[Step, ...]
    value: Any


def trace_call(code: str, name: str, arguments: Sequence[Any]) -> Trace | None:
    """Return the trace of a call; None where it is longer than ``MAX_STEPS`` or raises."""
    steps: list[Step] = []
    space: dict[str, Any] = {}
    exec(compile(code, _FILE, "exec"), space)  # noqa: S102  an exercise that was made here
    function = space[name]
    before = sys.gettrace()
    sys.settrace(_tracer(function.__code__, steps))
    try:
        value = function(*arguments)
    except Exception:  # noqa: BLE001  a function may raise anything; then there is nothing to describe
        return None
    finally:
        sys.settrace(before)
    return Trace(tuple(steps), value) if len(steps) <= MAX_STEPS else None


def _tracer(code: CodeType, steps: list[Step]) -> Any:
    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        del argument
        if frame.f_code is not code:
            return None
        repeats = steps and steps[-1].line == frame.f_lineno
        if event == "line" and not repeats and len(steps) <= MAX_STEPS:
            names = (name for name in code.co_varnames if name in frame.f_locals)
            steps.append(Step(frame.f_lineno, {name: repr(frame.f_locals[name]) for name in names}))
        return trace

    return trace


def describe_call(code: str, name: str, arguments: Sequence[Any]) -> str | None:
    """Return a call's execution in words, one line a step; None where it is too short or long, or a value is."""
    found = trace_call(code, name, arguments)
    if found is None or len(found.steps) < MIN_STEPS:
        return None
    values = [value for step in found.steps for value in step.variables.values()]
    if max(map(len, [*values, repr(found.value)])) > MAX_VALUE_CHARS:
        return None
    start = ", ".join(f"{variable} = {value}" for variable, value in found.steps[0].variables.items())
    return "\n".join([f"The call begins with {start}.", *_lines(code, found)])


def _lines(code: str, trace: Trace) -> Iterator[str]:
    source, branches = code.split("\n"), _branches(code)
    following = [*trace.steps[1:], None]
    for step, after in zip(trace.steps, following, strict=True):
        text = source[step.line - 1].strip()
        if after is None:
            yield f"`{text}` returns {trace.value!r}."
            continue
        changes = [f"{name} is {value}" for name, value in after.variables.items() if step.variables.get(name) != value]
        words = " and ".join(changes)
        if step.line in branches:
            holds = after.line in branches[step.line]
            words = ", ".join(filter(None, ["true" if holds else "false", words]))
        yield f"`{text}`: {words or 'nothing changes'}."


def _branches(code: str) -> dict[int, range]:
    """Return the line of each condition -> the lines that run where it holds."""
    nodes = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.If | ast.While)]
    return {node.lineno: range(node.body[0].lineno, (node.body[-1].end_lineno or 0) + 1) for node in nodes}
