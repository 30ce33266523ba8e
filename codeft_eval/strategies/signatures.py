"""Execution signatures: what a program returns for each of some inputs, as one hash (MBR-exec, arXiv 2204.11454)."""

from __future__ import annotations

from collections.abc import Sequence

from codeft_eval.sandbox.programs import Grade
from codeft_eval.strategies.inputs import Arguments

_OBSERVED = "Observed: "
_TEST = """
import hashlib

class Observed(Exception):
    pass

def shown(value):
    if isinstance(value, float):
        return f"{{value:.9g}}"
    if isinstance(value, (set, frozenset)):
        return "set(" + ", ".join(sorted(map(shown, value))) + ")"
    if isinstance(value, dict):
        return "dict(" + ", ".join(sorted(f"{{shown(key)}}: {{shown(item)}}" for key, item in value.items())) + ")"
    if isinstance(value, (list, tuple)):
        return type(value).__name__ + "(" + ", ".join(map(shown, value)) + ")"
    return repr(value) if isinstance(value, (int, str, bytes, complex, type(None))) else type(value).__name__

def check(candidate):
    outcomes, num_returned = [], 0
    for arguments in {inputs}:
        try:
            found = candidate(*arguments)
            outcomes.append(shown(arguments if found is None else found))
            num_returned += 1
        except Exception as error:
            outcomes.append("raises " + type(error).__name__)
    text = "\\n".join(outcomes)
    raise Observed(hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest() if num_returned else "")
"""


def signature_test(inputs: Sequence[Arguments]) -> str:
    """Return test code whose grade holds the signature of the program under test."""
    return _TEST.format(inputs=repr(list(inputs)))


def read_signature(grade: Grade) -> str:
    """Return the signature in a grade; empty for a program that did not load, ended early, or returned nothing."""
    return grade.detail.removeprefix(_OBSERVED).strip() if grade.detail.startswith(_OBSERVED) else ""
