"""The rows of composed exercises: three views, the hold-out by composition, the source and the benchmarks."""

import doctest
import json
import random
import re
from importlib.resources import files

import pytest

from codeft_assets.curation.ingest import adapters
from codeft_assets.defs.workspace import Workspace
from codeft_assets.exercises import composition as composing
from codeft_assets.exercises.__main__ import main
from codeft_assets.exercises.catalogue import PRIMITIVES
from codeft_assets.exercises.composition import Composition, Move
from codeft_assets.exercises.exercise import make_exercise
from codeft_assets.exercises.held_out import held_out_items
from codeft_assets.exercises.primitives.primitive import INTS
from codeft_assets.exercises.subsets import ALL, BASIC
from codeft_assets.exercises.views import MEND, PREDICT, WRITE, exercise_row
from codeft_assets.origins import ComposedExercisesOrigin
from codeft_assets.sources import SOURCES
from codeft_eval.benchmarks.composed import COMPOSED, COMPOSED_BASIC
from codeft_eval.benchmarks.datafiles import read_rows

# -- the views ---------------------------------------------------------------------------------------------------------


def rows_of(view, number=60, language="python"):
    share = float(language == "javascript")
    found = [exercise_row(5, i, views={view: 1.0}, javascript_share=share) for i in range(number)]
    return [row for row in found if row["view"] == view]


def test_a_predicted_value_is_that_of_the_call():
    for row in rows_of(PREDICT):
        call = re.search(r"`([^`\n]+\))`", row["prompt"])[1]
        names = {}
        exec(re.search(r"```python\n(.*?)```", row["prompt"], re.DOTALL)[1], names)
        assert f"`{eval(call, names)!r}`" == row["response"]


def test_a_broken_body_fails_an_example_and_the_mended_one_passes_all():
    rows = rows_of(MEND)
    assert len(rows) > 40
    for row in rows:
        broken, mended = (re.search(r"```python\n(.*?)```", row[part], re.DOTALL)[1] for part in ("prompt", "response"))
        assert failures(mended) == 0 < failures(broken), row["prompt"]
        assert "SyntaxError" not in row["prompt"]


def failures(code):
    names = {}
    exec(code, names)
    tests = doctest.DocTestFinder().find(
        next(value for value in names.values() if hasattr(value, "__code__")), globs=names
    )
    runner = doctest.DocTestRunner(verbose=False)
    return sum(runner.run(test, out=lambda text: None).failed for test in tests)


# -- held out ----------------------------------------------------------------------------------------------------------


def test_no_row_is_of_a_held_out_composition_in_any_view_or_language(monkeypatch):
    made = []
    monkeypatch.setattr(
        "codeft_assets.exercises.views.make_exercise",
        lambda *args, **options: made.append(make_exercise(*args, **options)) or made[-1],
    )
    for number in range(600):
        exercise_row(1, number, views={WRITE: 1.0, PREDICT: 1.0, MEND: 1.0}, javascript_share=0.3)
    assert len(made) == 600
    assert [exercise.composition.key for exercise in made if exercise.composition.is_held_out] == []


def test_a_tenth_of_the_compositions_is_held_out_and_no_primitive_alone():
    drawn = {composition.key: composition for composition in map(draw, range(3000))}
    composed = [composition for composition in drawn.values() if len(composition.moves) > 1]
    alone = [composition for composition in drawn.values() if len(composition.moves) == 1]
    share = sum(composition.is_held_out for composition in composed) / len(composed)
    assert 0.08 < share < 0.12
    assert alone
    assert not any(composition.is_held_out for composition in alone)


def draw(number):
    return composing.draw_composition(random.Random(number), ALL.moves, ALL.lengths, lambda composition: True)


def test_the_order_of_tests_that_must_all_pass_makes_no_other_composition():
    even, positive, square = (
        Move("keep", PRIMITIVES["even: int -> bool"], INTS),
        Move("keep", PRIMITIVES["positive: int -> bool"], INTS),
        Move("each", PRIMITIVES["square: int -> int"], INTS),
    )
    keys = {Composition(INTS, moves).key for moves in ((even, positive, square), (positive, even, square))}
    assert len(keys) == 1
    assert Composition(INTS, (even, square, positive)).key not in keys


@pytest.mark.parametrize(("benchmark", "subset"), [(COMPOSED, ALL), (COMPOSED_BASIC, BASIC)])
def test_a_shipped_benchmark_is_the_one_that_the_program_makes(benchmark, subset):
    assert read_rows(benchmark.data) == held_out_items(subset, benchmark.name)


@pytest.mark.parametrize("benchmark", [COMPOSED, COMPOSED_BASIC])
def test_a_solution_passes_its_item_and_no_constant_does(benchmark):
    items = read_rows(benchmark.data)
    assert len({item["prompt"] for item in items}) == len(items) == 100
    for item in items:
        assert len(set(re.findall(r"== (.*)", item["test"]))) >= 2
        names = {}
        exec(item["prompt"] + item["canonical_solution"] + item["test"], names)
        names["check"](names[item["entry_point"]])


def test_a_basic_exercise_is_one_of_all_of_few_primitives_in_one_style():
    exercises = [make_exercise(1, number, subset=BASIC) for number in range(200)]
    keys = {move.primitive.key for exercise in exercises for move in exercise.composition.moves}
    assert keys <= set(BASIC.primitives) < set(ALL.primitives)
    assert {exercise.style for exercise in exercises} == {"comprehension"}
    assert not any(exercise.composition.is_held_out for exercise in exercises)


# -- the source --------------------------------------------------------------------------------------------------------


def test_a_larger_number_leaves_the_files_before_as_they_are(monkeypatch):
    monkeypatch.setattr("codeft_assets.origins.composed_exercises.ROWS_PER_FILE", 20)
    few, more = (ComposedExercisesOrigin(number=number).resolve() for number in (40, 50))
    assert [file.path for file in more.files] == ["seed-1/0-20", "seed-1/20-40", "seed-1/40-50"]
    assert more.files[:2] == few.files
    changed = [
        ComposedExercisesOrigin(number=40, **{name: value}) for name, value in (("seed", 2), ("subset", "basic"))
    ]
    assert all(set(origin.resolve().files).isdisjoint(few.files) for origin in changed)


def test_the_rows_of_a_file_become_documents_of_every_view():
    origin = ComposedExercisesOrigin(number=60)
    upstream = origin.resolve()
    rows = list(origin.read(upstream, upstream.files[0]))
    assert rows == list(origin.read(upstream, upstream.files[0]))
    assert [key for key, _ in rows[:2]] == ["seed-1/0", "seed-1/1"]
    drafts = [(row["view"], adapters.exercise(row)[0]) for _, row in rows]
    assert {view for view, _ in drafts} == {WRITE, PREDICT, MEND}
    assert all((draft.messages is None) == (view == WRITE) for view, draft in drafts)
    assert {draft.language for view, draft in drafts if view == WRITE} == {"python", "javascript"}


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"number": 0}, "number 0"),
        ({"number": 1, "javascript_share": 2.0}, "javascript_share 2.0"),
        ({"number": 1, "views": {"sing": 1.0}}, "views"),
        ({"number": 1, "subset": "hard"}, "subset 'hard'"),
    ],
)
def test_settings_that_make_no_rows_are_refused(settings, match):
    with pytest.raises(ValueError, match=match):
        ComposedExercisesOrigin(**settings)


def test_the_command_prints_rows_and_writes_the_benchmark(capsys, tmp_path):
    assert main(["--number", "2", "--view", "predict"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["view"] for row in rows] == ["predict", "predict"]
    assert main(["--subset", "basic", "--benchmark", str(tmp_path / "composed_basic.jsonl")]) == 0
    shipped = files("codeft_eval").joinpath("data", "composed_basic.jsonl").read_text()
    assert (tmp_path / "composed_basic.jsonl").read_text() == shipped


def test_the_sample_profile_reads_the_basic_subset_and_the_full_profile_all():
    source = SOURCES["exercises-composed"]
    sample, full = (Workspace(root="", profile=profile).origin(source) for profile in ("sample", "full"))
    assert (sample.subset, full.subset) == ("basic", "all")
    assert sample.number < full.number
