"""Code versions: changed by what code does, wherever it lies, and by nothing else."""

import itertools
import sys

import pytest

from codeft_assets.stages import annotation, code_version, corpus, dedup, quality
from codeft_assets.stages.code_version import code_version_of, covered_definitions

_NUMBERS = itertools.count()
MAIN = """
from {package}.helpers import double
from {package}.table import TABLE

def f(x):
    return double(x) + TABLE["a"]
"""
HELPERS = """
OFFSET = 1

def double(x):
    return 2 * x + OFFSET
"""
TABLE = """
TABLE = {"a": 1}
"""
FILES = {"main": MAIN, "helpers": HELPERS, "table": TABLE}


@pytest.fixture
def version(tmp_path, monkeypatch):
    """Gives the version of ``main:f`` in a package of the given files, a new one at each call."""

    def of(files, root="main:f"):
        package = f"made_up_{next(_NUMBERS)}"
        folder = tmp_path / package
        folder.mkdir()
        (folder / "__init__.py").touch()
        for name, text in files.items():
            (folder / f"{name}.py").write_text(text.replace("{package}", package))
        monkeypatch.setattr(code_version, "_PACKAGES", (package,))
        monkeypatch.syspath_prepend(tmp_path)
        found = code_version_of(f"{package}.{root}")
        assert f"{package}.main" not in sys.modules, "read, not imported"
        return found

    return of


SAME = {
    "a comment and a docstring": {"helpers": HELPERS.replace("return", "'''Doubles.'''  # twice\n    return")},
    "annotations": {"helpers": HELPERS.replace("double(x)", "double(x: int) -> int")},
    "layout": {"helpers": HELPERS.replace("2 * x + OFFSET", "(\n        2 * x\n        + OFFSET\n    )")},
    "another way to import": {
        "main": "import {package}.helpers as other\nfrom {package} import table\n\n"
        "def f(x):\n    return other.double(x) + table.TABLE['a']"
    },
    "an import inside the function": {
        "main": "def f(x):\n    from {package}.helpers import double as twice\n    from {package}.table import TABLE\n"
        "    return twice(x) + TABLE['a']"
    },
    "a renamed module": {
        "helpers": "",
        "numbers_": HELPERS,
        "main": MAIN.replace("{package}.helpers", "{package}.numbers_"),
    },
    "a renamed function": {"helpers": HELPERS.replace("double", "twice"), "main": MAIN.replace("double", "twice")},
    "a moved function": {
        "helpers": "from {package}.table import OFFSET\n\ndef double(x):\n    return 2 * x + OFFSET",
        "table": TABLE + "OFFSET = 1",
    },
    "an alias in between": {
        "helpers": "from {package}.numbers_ import double",
        "numbers_": HELPERS,
    },
    "what is not used": {"table": TABLE + "\n\ndef unused():\n    return 3"},
}
OTHER = {
    "the function": {"main": MAIN.replace("+ TABLE", "- TABLE")},
    "a function it calls": {"helpers": HELPERS.replace("2 * x", "3 * x")},
    "a constant of that function": {"helpers": HELPERS.replace("OFFSET = 1", "OFFSET = 2")},
    "a table": {"table": TABLE.replace("1", "2")},
    "a table changed by a call": {"table": TABLE + "TABLE.update(a=2)"},
    "a table changed by an assignment": {"table": TABLE + "TABLE['a'] = 2"},
    "a table changed in a condition": {"table": TABLE + "if True:\n    TABLE = {'a': 2}"},
    "a default": {"helpers": HELPERS.replace("double(x)", "double(x, y=1)")},
    "a decorator": {"helpers": HELPERS.replace("def double", "@print\ndef double")},
    "which function is called": {
        "helpers": HELPERS + "\ndef treble(x):\n    return 3 * x",
        "main": MAIN.replace("double", "treble"),
    },
}


@pytest.mark.parametrize("change", SAME, ids=str)
def test_a_version_is_blind_to(version, change):
    assert version(FILES) == version(FILES | SAME[change])


@pytest.mark.parametrize("change", OTHER, ids=str)
def test_a_version_sees(version, change):
    assert version(FILES) != version(FILES | OTHER[change])


CLASSES = """
from __future__ import annotations
from {package}.shapes import Square

def f(shape: Square):
    return shape.area()
"""
SHAPES = """
class Shape:
    factor = 1

class Square(Shape):
    def area(self):
        return self.factor * self.side ** 2
"""


@pytest.mark.parametrize("old", ["factor = 1", "** 2"])
def test_a_version_sees_methods_of_an_annotated_argument_and_those_they_inherit(version, old):
    files = {"main": CLASSES, "shapes": SHAPES}
    assert version(files) != version(files | {"shapes": SHAPES.replace(old, old[:-1] + "3")})


def test_functions_that_call_each_other_have_a_version(version):
    files = {"main": "def f(x):\n    return g(x)\n\ndef g(x):\n    return f(x) if x else 0"}
    assert version(files) == version({"main": files["main"].replace("g(", "other(")})
    assert version(files) != version({"main": files["main"].replace("else 0", "else 1")})


def test_a_name_that_is_not_there_is_refused(version):
    with pytest.raises(ValueError, match=r"main:g is not defined at the top level of a module of ours"):
        version(FILES, root="main:g")


def names_of(*roots):
    return {name for _, name in covered_definitions(*roots)}


def test_the_mixture_depends_on_the_code_that_redacts():
    assert {"redact_documents", "redact", "DETECTORS", "_is_random"} <= names_of(corpus.collect_mixture)


def test_signatures_and_clusters_depend_on_the_kernels():
    assert {"hash_start", "band_keys"} <= names_of(dedup.sign_documents)
    assert {"pairwise_jaccard", "text_column"} <= names_of(dedup.cluster_documents)


def test_signals_depend_on_words_vocabulary_and_classifier_and_scores_on_the_rules():
    assert {"WORD_LISTS", "STOP_WORDS", "Classifier"} <= names_of(quality.measure_documents)
    assert {"QUALITY_RULES"} <= names_of(quality.decide_documents)


def test_annotations_depend_on_redaction_and_the_annotators():
    assert {"redact", "parse_answer", "annotate_questions"} <= names_of(annotation.annotate)


def test_nothing_that_only_moves_bytes_is_part_of_a_version():
    found = covered_definitions(corpus.collect_mixture)
    assert all(not code_version._content(one)[0] for one in found if one.module == "codeft_assets.store.tables")
    assert any(one.module == "codeft_assets.store.tables" for one in found)
