"""Solutions of a statement: the program that computes their values, and the choice among them by these.

A program runs several solutions of a statement, each with a namespace and a time of its own. Its report is the word of
code that a model wrote, so the choice is verified by the sandbox's own tests before it counts.
"""

from __future__ import annotations

import ast
import builtins
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from codeft_assets.exercises.taught.statement import UNKNOWN, RejectedError, Statement, is_plain, unfenced
from codeft_assets.python_names import free_names, missing_imports, parse_module, with_imports, without_warnings

ENTRY_POINT = "report_values"
MAX_VALUE_BYTES = 160
CPU_SECONDS, WALL_SECONDS = 0.2, 5.0
"""Of one solution. Short functions on small values take milliseconds; the wall time is for those that sleep."""
_RUNNER = '''
def report_values():
    """Write the values of all calls of each solution, as texts, or the name of what was raised; null if it is late."""
    import json
    import os
    import signal
    import sys

    class Late(BaseException):
        pass

    timers = ((signal.SIGPROF, signal.ITIMER_PROF, _CPU_SECONDS), (signal.SIGALRM, signal.ITIMER_REAL, _WALL_SECONDS))
    late = []

    def stop(*_):
        late.append(True)
        raise Late

    def values_of(source):
        names = {"__name__": "exercise"}
        try:
            exec(source, names)
        except Late:
            raise
        except BaseException as error:
            return [{"error": type(error).__name__}] * len(_CALLS)
        return [value_of(names, call) for call in _CALLS]

    def value_of(names, call):
        try:
            text = repr(eval(call, names))
        except Late:
            raise
        except BaseException as error:
            return {"error": type(error).__name__}
        return {"value": text} if len(text.encode()) <= _MAX_BYTES else {"error": "TooLong"}

    def timely_values_of(source):
        late.clear()
        try:
            for number, timer, seconds in timers:
                signal.signal(number, stop)
                signal.setitimer(timer, seconds, seconds)
            values = values_of(source)
        except Late:
            values = None
        finally:
            for _, timer, _ in timers:
                signal.setitimer(timer, 0)
        return None if late else values

    sys.stderr = sys.stdout
    for source in _SOURCES:
        report = json.dumps(timely_values_of(source), ensure_ascii=False)
        os.write(2, (_MARK + report + chr(10)).encode())
    return True
'''
Values = list[dict[str, str]]
"""Of a solution: of each call, ``value`` or ``error``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The solution that is kept, with its examples."""

    code: str
    """Signature, docstring with the values, body."""
    values: tuple[Any, ...]
    is_computed: bool
    """Whether a value of the teacher was replaced by the majority's."""


def body_of(answer: str, name: str) -> str:
    """Return the body that a teacher wrote: what follows the statement, or the function's own where it is repeated."""
    text = unfenced(answer)
    if f"def {name}(" not in text:
        return text
    try:
        module = parse_module(text)
    except SyntaxError:
        return text
    functions = [node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == name]
    body = functions[0].body[bool(ast.get_docstring(functions[0])) :] if functions else []
    return "\n".join(text.splitlines()[body[0].lineno - 1 : body[-1].end_lineno]) if body else text


def complete(head: str, body: str) -> str:
    """Return signature, docstring and body as a module with the imports that they need.

    Raises:
        RejectedError: it is no Python, has no body, or uses a name that nobody defines.
    """
    code = f"{head}{body.rstrip()}\n"
    try:
        module = parse_module(code)
    except SyntaxError as error:
        raise RejectedError("syntax", str(error)) from error
    function = module.body[0]
    if not isinstance(function, ast.FunctionDef) or len(module.body) != 1:
        raise RejectedError("syntax", "more than one function")
    if all(isinstance(node, ast.Expr | ast.Pass) for node in function.body):
        raise RejectedError("no_body", "nothing but expressions")
    imports = missing_imports(code)
    unknown = free_names(imports + code) - set(dir(builtins))
    if unknown:
        raise RejectedError("name_error", ", ".join(sorted(unknown)))
    return with_imports(imports, code)


def program(statement: Statement, sources: Sequence[str], mark: str) -> str:
    """Return a module whose ``report_values`` writes the values to standard error, behind ``mark``."""
    facts = {
        "_SOURCES": list(sources),
        "_CALLS": [example.call for example in statement.examples],
        "_MARK": mark,
        "_MAX_BYTES": MAX_VALUE_BYTES,
        "_CPU_SECONDS": CPU_SECONDS,
        "_WALL_SECONDS": WALL_SECONDS,
    }
    return "".join(f"{name} = {value!r}\n" for name, value in facts.items()) + _RUNNER


def read_report(output: str, mark: str) -> list[Values | None]:
    """Return what the program wrote before it ended: the values of each solution in turn, None for a late one."""
    found = []
    for part in output.split(mark)[1:]:
        try:
            found.append(json.JSONDecoder().raw_decode(part)[0])
        except ValueError:
            break
    return found


def choose(statement: Statement, bodies: Sequence[str], report: Sequence[Values]) -> Choice:
    """Return the first solution with the teacher's own values, else one of the majority, with its values.

    A majority is more than half of the solutions that ran, and two at least.

    Raises:
        RejectedError: there is neither.
    """
    expected = [example.value for example in statement.examples]
    is_known = all(value is not UNKNOWN for value in expected)
    found = [tuple(map(_parse, calls)) for calls in report]
    running = [number for number, values in enumerate(found) if all(value is not UNKNOWN for value in values)]
    if not running:
        errors = Counter(call.get("error", "not a literal") for calls in report for call in calls)
        raise RejectedError("exception", str(errors.most_common(2)))
    right = [number for number in running if is_known and list(found[number]) == expected]
    winner, num_votes = Counter(repr(found[number]) for number in running).most_common(1)[0]
    if not right and (num_votes < 2 or 2 * num_votes <= len(running)):
        reason = "example_failed" if is_known else "disagreement"
        raise RejectedError(reason, f"{num_votes} of {len(running)} solutions agree")
    number = right[0] if right else next(number for number in running if repr(found[number]) == winner)
    if all(value is None for value in found[number]):
        raise RejectedError("returns_nothing", statement.name)
    code = complete(statement.head(found[number]), bodies[number])
    return Choice(code=code, values=found[number], is_computed=not right)


@without_warnings()
def _parse(call: dict[str, str]) -> Any:
    try:
        value = ast.literal_eval(call["value"])
    except (KeyError, SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return UNKNOWN
    return value if is_plain(value) else UNKNOWN


def write_test(statement: Statement, values: Sequence[Any]) -> str:
    """Return the sandbox's test of a choice: literals alone, nothing that the teacher wrote is executed in it."""
    lines = []
    for example, value in zip(statement.examples, values, strict=True):
        arguments = example.call.removeprefix(statement.name)
        lines.append(f"    assert candidate{arguments} == {value!r}\n")
    return "def check(candidate):\n" + "".join(lines)
