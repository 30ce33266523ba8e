"""Toolchains that a test needs, and those that take long."""

import pytest

from codeft_eval.sandbox.native.provider import check_language
from codeft_eval.sandbox.native.tools import missing_tools
from codeft_eval.sandbox.python.provider import check_level

HEAVY = ("typescript", "java", "cpp", "go", "rust")


def needs(language):
    if missing := missing_tools(language):
        pytest.skip(f"not installed: {missing}")
    if check_level("namespaces") != "works":
        pytest.skip(check_level("namespaces"))
    assert check_language(language) == "works"
