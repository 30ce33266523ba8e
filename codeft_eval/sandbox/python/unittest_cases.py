"""Runs the ``unittest.TestCase`` classes that a test defines, as class-based benchmarks (ClassEval) have them."""

from __future__ import annotations

import sys
from typing import Any

from codeft_eval.sandbox.python.rpc_serving import TESTS_MODULE


class FailedCaseError(Exception):
    """A method of a test case raised something else than an assertion."""


def run_test_cases(namespace: dict[str, Any]) -> None:
    """Run every test method of the test cases in ``namespace``; without any, do nothing.

    Raises:
        AssertionError: a method failed, was skipped, or there is a test case without methods.
        FailedCaseError: a method raised another exception.
    """
    unittest = sys.modules.get("unittest")
    if unittest is None:
        return
    kinds = [value for value in namespace.values() if isinstance(value, type) and issubclass(value, unittest.TestCase)]
    own = [kind for kind in kinds if kind.__module__ == TESTS_MODULE]
    if not own:
        return
    suite = unittest.TestSuite(map(unittest.defaultTestLoader.loadTestsFromTestCase, own))
    result = unittest.TestResult()
    result.failfast = True
    num_expected = suite.countTestCases()
    suite.run(result)
    if result.errors:
        raise FailedCaseError(_last_line(result.errors[0]))
    if result.failures:
        raise AssertionError(_last_line(result.failures[0]))
    if result.skipped or result.unexpectedSuccesses or not result.testsRun == num_expected > 0:
        raise AssertionError(f"{result.testsRun} of {num_expected} test methods ran, {len(result.skipped)} skipped")


def _last_line(failure: tuple[Any, str]) -> str:
    case, trace = failure
    return f"{case}: {trace.strip().splitlines()[-1]}"
