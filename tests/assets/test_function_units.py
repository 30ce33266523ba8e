"""Functions that stand alone, cut out of files with what they need, and their doctests in the sandbox."""

import ast
import inspect
import textwrap

import pytest

from codeft_assets.curation.ingest.drafts import BadRowError, Draft, Reject
from codeft_assets.curation.ingest.function_units import function_units
from codeft_assets.source import Source
from codeft_assets.stages.documents import read_documents, reader


def units(text):
    pieces = function_units({"path": "a.py", "text": text})
    return {piece.part.partition(":")[0]: piece for piece in pieces}


def reasons(text):
    return {name: piece.reason for name, piece in units(text).items() if isinstance(piece, Reject)}


def test_a_function_comes_with_imports_constants_and_helpers_of_helpers():
    found = units(
        '''
        import os, math as m
        from collections import (
            Counter, deque)
        SCALE = 10  # used
        UNUSED = 11
        class Box:
            size = SCALE
        @staticmethod
        def helper(x):
            return m.floor(x) + Box.size
        def public(x):
            """Doc."""
            return Counter([helper(x)])
        '''.replace("\n        ", "\n")
    )
    text = found["public"].text
    assert text.startswith("from collections import Counter\nimport math as m\n\n\n")
    assert "os" not in text
    assert "deque" not in text
    assert "UNUSED" not in text
    names = {}
    exec(text, names)
    assert names["public"](2.5) == {12: 1}


def test_what_the_doctests_alone_use_comes_too():
    text = 'TABLE = 3\ndef f(x):\n    """Doc.\n\n    >>> f(TABLE)\n    3\n    """\n    return x\n'
    assert units(text)["f"].text.startswith("TABLE = 3\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("def f(x):\n    return x\n", {"f": "no_docstring"}),
        ("import numpy\ndef f(x):\n    'Doc.'\n    return numpy.sum(x)\n", {"f": "needs_package"}),
        ("from . import g\ndef f(x):\n    'Doc.'\n    return g(x)\n", {"f": "needs_package"}),
        ("from os import *\ndef f(x):\n    'Doc.'\n    return getcwd()\n", {"f": "program_state"}),
        ("if X:\n    a = 1\nelse:\n    a = 2\na = 3\ndef f():\n    'Doc.'\n    return a\n", {"f": "program_state"}),
        ("def g():\n    import numpy\n    return h()\ndef f():\n    'Doc.'\n    return g()\n",
         {"g": "no_docstring", "f": "program_state"}),
        ("X = '" + 6000 * "x" + "'\ndef f():\n    'Doc.'\n    return X\n", {"f": "too_large"}),
        ("def f(x: int = LATER):\n    'Doc.'\n", {"f": "program_state"}),
    ],
)  # fmt: skip
def test_what_does_not_stand_alone_is_a_reject_with_its_reason(text, expected):
    assert reasons(text) == expected


@pytest.mark.parametrize(("text", "reason"), [("def f(:\n", "not_python"), ("x = 1\n", "no_functions")])
def test_a_file_without_functions_is_a_bad_row(text, reason):
    with pytest.raises(BadRowError) as caught:
        function_units({"path": "a.py", "text": text})
    assert caught.value.reason == reason


@pytest.mark.parametrize("module", [textwrap, ast, inspect])
def test_units_of_the_standard_library_have_no_unknown_name(module):
    for piece in function_units({"path": "a.py", "text": inspect.getsource(module)}):
        if isinstance(piece, Draft):
            exec(compile(piece.text, piece.part, "exec"), {"__name__": "unit"})


class OneFile:
    def read(self, upstream, file):
        yield "a.py", {"path": "a.py", "text": FILE}


FILE = '''
BASE = 3
def right(x):
    """Add three.

    >>> right(1)
    4
    """
    return x + BASE
def wrong(x):
    """Add three.

    >>> wrong(1)
    5
    """
    return x + BASE
def plain(x):
    """Add three."""
    return x + BASE
'''


def test_a_failing_doctest_is_a_reject_with_its_reason():
    from codeft_assets.origins import Upstream, UpstreamFile

    source = Source(
        name="units", about="A function.", origin=OneFile(), adapter=function_units, domain="code", format="raw",
        license="ours", homepage="https://example.org", runs_doctests=True,
    )  # fmt: skip
    assert reader(source) is not read_documents
    upstream = Upstream(revision="1", files=(UpstreamFile(path="a.py", fingerprint="1"),))
    [shard] = reader(source)(source, source.origin, upstream, None)
    assert sorted(row.rpartition("/")[2].partition(":")[0] for row in shard.rows["source_row"].to_pylist()) == [
        "plain", "right",
    ]  # fmt: skip
    assert shard.rejects["reason"].to_pylist() == ["doctest_failed"]
    assert shard.report.num_in == 3
