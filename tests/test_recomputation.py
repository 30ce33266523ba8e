"""Recomputation after a change of code: all that the code computed, nothing that was only moved or renamed."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from codeft_assets.defs.assets.decontamination import collect_items
from codeft_assets.defs.assets.held_out import collect_rows
from codeft_assets.defs.workspace import Workspace
from codeft_assets.sources import SOURCES
from codeft_assets.stages import (
    annotation,
    candidates,
    corpus,
    decontamination,
    dedup,
    documents,
    participants,
    plan,
    quality,
)
from codeft_assets.stages.code_version import Definition, code_version_of, covered_definitions
from codeft_assets.store.data_root import Store
from tests.test_end_to_end import CORPUS, execute

ROOT = Path(__file__).parents[1]
WORKSPACE = Workspace(root="", profile="sample")
PACKAGES = ("codeft_assets", "codeft_training", "codeft_eval")
ADAPTERS = tuple(map(documents.adapter_code, SOURCES.values()))
ORIGINS = tuple({type(WORKSPACE.origin(source)) for source in SOURCES.values()})
ALONE = (
    *(decontamination.match_documents, corpus.decide_outcomes, corpus.collect_mixture),
    *(plan.find_relatives, plan.draw_documents, plan.cut_sources, plan.plan_documents),
    *(participants.list_participants, candidates.link_documents, candidates.join_components),
    candidates.gather_candidates,
    *(dedup.sign_documents, dedup.cluster_group, quality.measure_documents, quality.decide_documents),
    *(collect_items, collect_rows),
)
ROOTS = {
    **dict.fromkeys(ALONE, ()),
    documents.read_documents: (*ADAPTERS, *ORIGINS),
    annotation.annotate: (*annotation.ANNOTATOR_CODE, *ADAPTERS),
}
"""Each stage's function, and what its stage or its units name besides."""
MOVES_BYTES = ("codeft_assets.store", "codeft_assets.base")
CATALOGUE = "codeft_assets.source"
"""A unit takes values from the catalogue; they are part of its fingerprint."""
SCRIPT = """
import json, sys
from tests.test_end_to_end import CORPUS, execute
events = execute(sys.argv[1], CORPUS).get_asset_materialization_events()
metadata = {event.asset_key.to_user_string(): event.materialization.metadata for event in events}
print(json.dumps({key: found["units_run"].value for key, found in metadata.items() if "units_run" in found}))
"""

pytestmark = pytest.mark.slow


class Tracer:
    """Records which functions of ours run while a unit is computed, for each stage's function."""

    def __init__(self):
        self.seen = defaultdict(set)
        self._stages = {function.__code__: function for function in ROOTS}
        self._running = []

    def __call__(self, frame, event, _):
        code = frame.f_code
        if event == "call":
            if code in self._stages:
                self._running.append(code)
            module = frame.f_globals.get("__name__", "")
            if self._running and module.split(".")[0] in PACKAGES:
                name = code.co_qualname.split(".")[0]
                self.seen[self._stages[self._running[-1]]].add(Definition(module, name))
        elif event == "return" and self._running and code is self._running[-1]:
            self._running.pop()  # at each yield of the stage's generator


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def traced(home):
    tracer = Tracer()
    sys.setprofile(tracer)
    try:
        execute(home, CORPUS)
    finally:
        sys.setprofile(None)
    return tracer.seen


def test_every_stage_of_the_corpus_was_traced(traced):
    assert {function.__name__ for function in traced} == {function.__name__ for function in ROOTS}


@pytest.mark.parametrize("function", ROOTS, ids=lambda function: function.__name__)
def test_a_stages_version_covers_every_function_that_computed_it(traced, function):
    covered = covered_definitions(function, *ROOTS[function])
    seen = {one for one in traced[function] if not one.module.startswith((*MOVES_BYTES, CATALOGUE))}
    named = {one for one in seen if re.fullmatch(r"\w+", one.name) and one.name != "__create_fn__"}  # of dataclasses
    assert len(named) >= 1
    assert named - covered == set()


def copy_of_the_packages(folder):
    for name in (*PACKAGES, "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.pyc"))  # numba's caches stay valid
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def units_run(code, home):
    """Run everything down to the corpus on a data root with the packages in a folder; return units run by asset."""
    environment = {**os.environ, "PYTHONPATH": str(code)}
    command = [sys.executable, "-c", SCRIPT, str(home)]
    done = subprocess.run(command, cwd=code, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def edit(folder, pattern, replacement):
    """Replace in every Python file of a folder; return the number of replacements."""
    count = 0
    for path in folder.rglob("*.py"):
        text, found = re.subn(pattern, replacement, path.read_text())
        if found:
            path.write_text(text)
            count += found
    return count


@pytest.fixture(scope="module")
def moved(tmp_path_factory):
    """The packages with a module in another folder under another name, and functions with other names."""
    folder = copy_of_the_packages(tmp_path_factory.mktemp("moved"))
    (folder / "codeft_assets" / "words").mkdir()
    (folder / "codeft_assets" / "words" / "__init__.py").touch()
    (folder / "codeft_assets" / "curation" / "ingest" / "normalize.py").rename(
        folder / "codeft_assets" / "words" / "tidy.py"
    )
    assert edit(folder, r"codeft_assets\.curation\.ingest\.normalize\b", "codeft_assets.words.tidy")
    edit(
        folder,
        r"from codeft_assets\.curation\.ingest import normalize\b",
        "from codeft_assets.words import tidy as normalize",
    )
    assert edit(folder, r"\bis_random\b", "looks_random") > 1
    assert edit(folder, r"\bgroup_near_duplicates\b", "groups_of_similar") > 1
    return folder


@pytest.mark.usefixtures("traced")
def test_the_tables_name_the_version_of_these_roots(home):
    written = {table.manifest().stage: table.manifest().code_version for table in Store(str(home)).tables()}
    by_stage = {
        **dict.fromkeys(map(code_version_of, ALONE)),
        code_version_of(annotation.annotate, *ROOTS[annotation.annotate]): None,
    }
    found = {version.split("-")[0] for stage, version in written.items() if stage != "documents"}
    assert found == set(by_stage)
    sources = {key: code_version_of(documents.read_documents, documents.adapter_code(SOURCES[key])) for key in SOURCES}
    assert all(Store(str(home)).table(f"documents/{key}").manifest().code_version == sources[key] for key in SOURCES)


@pytest.mark.usefixtures("traced")
def test_moved_and_renamed_code_recomputes_nothing(home, moved):
    counts = units_run(moved, home)
    assert len(counts) > len(ROOTS)
    assert {key: count for key, count in counts.items() if count} == {}


@pytest.mark.usefixtures("traced")
def test_a_repaired_redactor_redoes_the_mixture_and_no_unrelated_table(home, tmp_path):
    code = copy_of_the_packages(tmp_path / "code")
    assert edit(
        code / "codeft_assets",
        r"(def is_random\([^)]*\)[^:]*:\n)",
        r"\1    if len(locals()) > 9:\n        return False\n",
    )
    again = tmp_path / "home"
    shutil.copytree(home, again)
    counts = units_run(code, again)
    # annotation redacts, too, before a text leaves the machine
    changed = {key for key, count in counts.items() if count}
    assert "corpus/mixture" in changed
    assert changed <= {"corpus/mixture", "quality/annotations"}
