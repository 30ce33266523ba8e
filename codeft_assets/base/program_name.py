"""The name by which a person called a program: ``codeft eval``, or ``python -m codeft_eval``."""

from __future__ import annotations

import os

PROGRAM_VARIABLE = "CODEFT_PROGRAM"


def program_name(module: str) -> str:
    """Return the name that ``codeft`` gave, once: what the program itself starts has names of its own."""
    return os.environ.pop(PROGRAM_VARIABLE, module)
