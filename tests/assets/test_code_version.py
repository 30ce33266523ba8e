"""Code versions: changed by what code does, wherever it lies, and by nothing else."""

import ast
import itertools
import sys
from pathlib import Path

import pytest

from codeft_assets.defs.assets.annotations import ANNOTATORS, AnnotationsConfig
from codeft_assets.sources import SOURCES
from codeft_assets.stages import annotation, code_version, corpus, dedup, quality
from codeft_assets.stages.code_version import Definition, code_version_of, covered_definitions
from codeft_assets.stages.documents import adapter_code

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
            place = folder / (name if "." in name else f"{name}.py")
            place.parent.mkdir(exist_ok=True)
            place.write_text(text.replace("{package}", package))
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
    "a table that lost an entry": {"table": TABLE + "del TABLE['a']"},
    "a table changed in a match": {"table": TABLE + "match 1:\n    case 1:\n        TABLE.update(a=2)"},
    "a table that a function replaces": {"table": TABLE + "def setup():\n    global TABLE\n    TABLE = {'a': 2}"},
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


READS_DATA = FILES | {
    "helpers": "from pathlib import Path\nTEXT = (Path(__file__).parent / 'pages' / 'page.html').read_text()\n\n"
    "def double(x):\n    return TEXT * x",
    "pages/page.html": "{% include 'frame.html' %}",
    "pages/frame.html": "frame",
    "pages/page.css": "",
}


@pytest.mark.parametrize("name", ["pages/page.html", "pages/frame.html"])
def test_a_version_sees_the_data_files_that_code_names_and_what_these_include(version, name):
    assert version(READS_DATA) != version(READS_DATA | {name: "other"})


def test_a_version_is_blind_to_data_files_that_it_does_not_name_and_to_the_place_of_those_that_it_does(version):
    moved = {name.replace("pages/", "other/"): text for name, text in READS_DATA.items()}
    assert version(READS_DATA) == version(READS_DATA | {"pages/page.css": "x"}) == version(moved)


def test_a_module_computes_whose_name_only_begins_as_that_of_one_that_does_not(version, monkeypatch):
    monkeypatch.setattr(code_version, "_NOT_COMPUTING", tuple(f"made_up_{number}.help" for number in range(1000)))
    assert version(FILES) != version(FILES | {"helpers": HELPERS.replace("2 * x", "3 * x")})


def test_a_version_is_the_same_under_a_python_whose_syntax_trees_have_more_fields(version, monkeypatch):
    before = version(FILES)
    for kind in (ast.FunctionDef, ast.ClassDef):
        monkeypatch.setattr(kind, "_fields", (*kind._fields, "type_params"))
    assert before == version(FILES)


def imports_that_a_version_cannot_follow(tree):
    """Yield lines: of alternatives under one name only the last counts, of a starred or relative import none."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.level or node.names[0].name == "*"):
            yield node.lineno
    for block in tree.body:
        if isinstance(block, ast.If | ast.Try) and "TYPE_CHECKING" not in ast.unparse(getattr(block, "test", block)):
            yield from (node.lineno for node in ast.walk(block) if isinstance(node, ast.Import | ast.ImportFrom))


def test_no_module_of_ours_has_an_import_that_a_version_cannot_follow():
    root = Path(code_version.__file__).parents[2]
    modules = [path for package in code_version._PACKAGES for path in (root / package).rglob("*.py")]
    found = {path: list(imports_that_a_version_cannot_follow(ast.parse(path.read_text()))) for path in modules}
    assert len(found) > 100
    assert {path: lines for path, lines in found.items() if lines} == {}


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
    assert {"redact_documents", "redact_all", "_OWN_DETECTORS", "is_random"} <= names_of(corpus.collect_mixture)


def test_signatures_and_clusters_depend_on_the_kernels():
    assert {"hash_start", "band_keys"} <= names_of(dedup.sign_documents)
    assert {"pairwise_jaccard", "text_column"} <= names_of(dedup.cluster_group)


def test_signals_depend_on_words_vocabulary_and_classifier_and_scores_on_the_rules():
    assert {"WORD_LISTS", "STOP_WORDS", "Classifier"} <= names_of(quality.measure_documents)
    assert {"QUALITY_RULES"} <= names_of(quality.decide_documents)


def test_annotations_depend_on_redaction_and_the_annotators():
    assert {"redact", "parse_answer", "annotate_questions"} <= names_of(annotation.annotate)


def test_annotations_depend_on_every_annotator_that_can_be_chosen():
    adapters = map(adapter_code, SOURCES.values())
    roots = (annotation.annotate, *annotation.ANNOTATOR_CODE, *adapters)
    assert annotation.annotations_stage().code_version.startswith(code_version_of(*roots))
    for build in ANNOTATORS.values():
        kind = type(build(AnnotationsConfig(model="m")))
        assert Definition(kind.__module__, kind.__qualname__) in covered_definitions(*roots)


def test_nothing_that_only_moves_bytes_is_part_of_a_version():
    found = covered_definitions(corpus.collect_mixture)
    assert all(not code_version._content(one)[0] for one in found if one.module == "codeft_assets.store.tables")
    assert any(one.module == "codeft_assets.store.tables" for one in found)
