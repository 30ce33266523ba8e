"""Views of an exercise: write the body, predict a value, mend a broken body, follow a call line by line.

A view is a row of the source: ``text`` of a plain document, or ``prompt`` and ``response`` of an exchange.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from typing import Any

from codeft_assets.exercises.exercise import (
    Arguments,
    Exercise,
    call_text,
    camel_case,
    make_exercise,
    prompt_of,
    python_code,
    run_python,
    wrap_statement,
)
from codeft_assets.exercises.monologue import describe_call
from codeft_assets.exercises.subsets import ALL, Subset
from codeft_assets.exercises.syntax import JAVASCRIPT, PYTHON

WRITE, PREDICT, MEND, TRACE = "write", "predict", "mend", "trace"
Row = dict[str, str]

_FAULTS = (
    (" == ", " != "),
    (" != ", " == "),
    (" > ", " >= "),
    (" >= ", " > "),
    (" < ", " <= "),
    (" <= ", " < "),
    (" > ", " < "),
    (" and ", " or "),
    (" + ", " - "),
    (" - ", " + "),
    (" // ", " % "),
    (" % 2", " % 3"),
    ("max(", "min("),
    ("min(", "max("),
    ("any(", "all("),
    ("all(", "any("),
    ("sum(", "len("),
    ("sorted(", "list("),
    ("[::-1]", "[1:]"),
    (" in ", " not in "),
    (" not in ", " in "),
    (".upper()", ".lower()"),
    (".lower()", ".upper()"),
    ("return True", "return False"),
    (" = 0\n", " = 1\n"),
    (" += 1\n", " += 2\n"),
    ("[0]", "[-1]"),
    ("[-1]", "[0]"),
    ("range(1, ", "range(0, "),
    (" + 1)", ")"),
    (", reverse=True", ""),
)
"""A text in a body and a wrong one in its place; none of them makes a loop endless or a number huge."""


def javascript_call(exercise: Exercise, arguments: Arguments) -> str:
    """Return a call as JavaScript."""
    return f"{camel_case(exercise.signature.name)}({', '.join(map(json.dumps, arguments))})"


def function_text(exercise: Exercise) -> str:
    """Return the function without its docstring."""
    if exercise.language == JAVASCRIPT.name:
        return f"{exercise.signature.javascript}\n{exercise.body}}}\n"
    imports = "import math\n\n\n" if "math." in exercise.body else ""
    return f"{imports}{exercise.signature.python}\n{exercise.body}"


def javascript_code(exercise: Exercise) -> str:
    """Return a JavaScript exercise solved: statement and examples as comments, as MultiPL-E writes them."""
    lines = wrap_statement(exercise.statement)
    for arguments, value in exercise.examples:
        lines += [f">>> {javascript_call(exercise, arguments)}", json.dumps(value)]
    return "".join(f"// {line}\n" for line in lines) + function_text(exercise)


def write_view(exercise: Exercise, rng: random.Random) -> Row:
    """Return the solved exercise as a plain document."""
    del rng
    return {"text": javascript_code(exercise) if exercise.language == JAVASCRIPT.name else python_code(exercise)}


def predict_view(exercise: Exercise, rng: random.Random) -> Row:
    """Return an exchange about the value of a call."""
    arguments, value = rng.choice(exercise.examples)
    if exercise.language == JAVASCRIPT.name:
        call, shown = javascript_call(exercise, arguments), json.dumps(value)
    else:
        call, shown = call_text(exercise, arguments), repr(value)
    code = f"```{exercise.language}\n{function_text(exercise)}```"
    question = rng.choice((f"What does `{call}` return?\n\n{code}", f"{code}\n\nWhat is the value of `{call}`?"))
    return {"prompt": question, "response": f"`{shown}`"}


def mend_view(exercise: Exercise, rng: random.Random) -> Row | None:
    """Return an exchange about a broken body and the example that it fails; None where no fault changes a value."""
    broken = _break(exercise, rng)
    if broken is None:
        return None
    code, arguments, value, got = broken
    failure = f"Failed example:\n    {call_text(exercise, arguments)}\nExpected:\n    {value!r}\nGot:\n    {got}\n"
    request = rng.choice(("Mend this function: it fails an example of its docstring.", "Find and fix the fault."))
    return {
        "prompt": f"{request}\n\n```python\n{code}```\n\n```text\n{failure}```",
        "response": f"```python\n{python_code(exercise)}```",
    }


def trace_view(exercise: Exercise, rng: random.Random) -> Row | None:
    """Return an exchange about the value of a call, its execution the thought; None where that is too short or long."""
    arguments, value = rng.choice(exercise.examples)
    thought = describe_call(python_code(exercise), exercise.signature.name, arguments)
    if thought is None:
        return None
    request = rng.choice(("Follow it line by line.", "Think through each line before you answer."))
    question = f"What does `{call_text(exercise, arguments)}` return? {request}"
    return {
        "prompt": f"{question}\n\n```python\n{function_text(exercise)}```",
        "response": f"<think>\n{thought}\n</think>\n\n`{value!r}`",
    }


def _break(exercise: Exercise, rng: random.Random) -> tuple[str, Arguments, Any, str] | None:
    """Return code with one fault, and the first example that it fails with the wrong value."""
    faults = [(right, wrong) for right, wrong in _FAULTS if right in exercise.body]
    rng.shuffle(faults)
    for right, wrong in faults:
        code = prompt_of(exercise) + exercise.body.replace(right, wrong, 1)
        if not _compiles(code):
            continue
        for arguments, value in exercise.examples:
            got = _outcome(code, exercise.signature.name, arguments)
            if got != repr(value):
                return code, arguments, value, got
    return None


def _compiles(code: str) -> bool:
    try:
        compile(code, "exercise", "exec")
    except SyntaxError:
        return False
    return True


def _outcome(code: str, name: str, arguments: Arguments) -> str:
    try:
        return repr(run_python(code, name, arguments))[:200]
    except Exception as error:  # noqa: BLE001  a fault may raise anything; which is what the view shows
        return f"{type(error).__name__}: {error}"[:200]


_VIEWS: Mapping[str, Callable[[Exercise, random.Random], Row | None]] = {
    WRITE: write_view,
    PREDICT: predict_view,
    MEND: mend_view,
    TRACE: trace_view,
}
VIEWS = tuple(_VIEWS)


def exercise_row(
    seed: int, number: int, *, views: Mapping[str, float], javascript_share: float, subset: Subset = ALL
) -> Row:
    """Return row ``number`` of a seed: one view of one exercise that is not held out.

    Args:
        seed: With ``number`` it decides everything that is drawn.
        number: Any whole number.
        views: Relative frequency of each view.
        javascript_share: Share of JavaScript, which is neither mended nor traced: that code has to be run.
        subset: The primitives to compose, how many, and the styles.
    """
    rng = random.Random(f"{seed}/{number}/view")  # noqa: S311  a draw, not a secret
    view = rng.choices([*views], weights=[*views.values()])[0]
    is_javascript = rng.random() < javascript_share and view not in {MEND, TRACE}
    language = JAVASCRIPT.name if is_javascript else PYTHON.name
    exercise = make_exercise(seed, number, language=language, subset=subset)
    row = _VIEWS[view](exercise, rng) or write_view(exercise, rng)
    return {"view": view if "text" not in row else WRITE, "language": language, **row}
