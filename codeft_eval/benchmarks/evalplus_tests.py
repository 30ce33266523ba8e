"""EvalPlus' tests: many inputs an item, sent to the candidate in few messages and compared outside of its process.

Expected values are in the tests (as the Hub has them) or come from the canonical solution (as in EvalPlus' own files),
with EvalPlus' tolerances. Their NumPy is three names, which the grader does without.
"""

from __future__ import annotations

import re

# The three names of NumPy that EvalPlus' tests use; lists are compared element by element, as np.allclose does.
NUMPY = """
class np:
    ndarray = ()
    float64 = float32 = float
    @staticmethod
    def allclose(given, expected, rtol=1e-07, atol=1e-08):
        if isinstance(expected, (list, tuple)):
            same = isinstance(given, (list, tuple)) and len(given) == len(expected)
            return same and all(np.allclose(a, b, rtol, atol) for a, b in zip(given, expected))
        return given == expected or abs(given - expected) <= atol + rtol * abs(expected)
"""
_LOOP = re.compile(r"^( *)for i, \(inp, exp\) in enumerate\(zip\(inputs, results\)\):$", re.MULTILINE)


def in_few_messages(test: str, function: str) -> str:
    """Return a test of the Hub's form that needs no NumPy and calls ``function`` on all inputs at once."""
    own = re.sub(r"^import numpy as np$", lambda _: NUMPY, test, flags=re.MULTILINE)
    return _LOOP.sub(lambda match: f"{match[1]}{function} = call_batched({function}, inputs)\n{match[0]}", own)
