import doctest
import json
import random
import re
import shutil
import subprocess
from dataclasses import replace
from importlib.resources import files

import pytest

from codeft_assets.curation.ingest import adapters
from codeft_assets.defs.workspace import Workspace
from codeft_assets.exercises import composition as composing
from codeft_assets.exercises.__main__ import main
from codeft_assets.exercises.bodies import STYLES, write_body
from codeft_assets.exercises.catalogue import PRIMITIVES
from codeft_assets.exercises.composition import Composition, Move, count_compositions
from codeft_assets.exercises.exercise import make_exercise, python_code, run_python
from codeft_assets.exercises.held_out import held_out_items
from codeft_assets.exercises.inputs import draw_argument
from codeft_assets.exercises.meaning import NoValueError, evaluate
from codeft_assets.exercises.primitives.primitive import BOOL, CHAR, CHARS, INT, INTS, STR, STRS, describe
from codeft_assets.exercises.subsets import ALL, BASIC
from codeft_assets.exercises.syntax import PYTHON, is_atom, substitute
from codeft_assets.exercises.views import MEND, PREDICT, WRITE, exercise_row, function_text, javascript_call
from codeft_assets.exercises.wording import docstring, step_phrases
from codeft_assets.origins import ComposedExercisesOrigin
from codeft_assets.sources import SOURCES
from codeft_eval.benchmarks.composed import COMPOSED, COMPOSED_BASIC
from codeft_eval.benchmarks.datafiles import read_rows

NODE = shutil.which("node")
SAMPLE = [make_exercise(11, number) for number in range(400)]


def of_one(key):
    primitive = PRIMITIVES[key]
    return Composition(primitive.takes, (Move("apply", primitive, primitive.gives),))


def calls(exercise):
    return [*exercise.examples, *exercise.more_examples]


def run_javascript(functions_and_calls):
    """Return the value of each call; each pair is a program of its own block."""
    blocks = (f"{{ {code}\n got.push({call}) }}" for code, call in functions_and_calls)
    program = "const got = [];\n" + "\n".join(blocks) + "\nconsole.log(JSON.stringify(got));"
    return json.loads(subprocess.run([NODE, "-"], input=program, capture_output=True, text=True, check=True).stdout)


# -- the primitives ----------------------------------------------------------------------------------------------------


def test_there_are_at_least_150_primitives_over_numbers_strings_lists_dictionaries_and_rows():
    assert len(PRIMITIVES) >= 150
    assert len({(primitive.takes, primitive.python) for primitive in PRIMITIVES.values()}) >= 150
    assert {primitive.takes for primitive in PRIMITIVES.values()} >= {INT, STR, INTS, "list[str]", "dict[str, int]"}
    assert "list[list[int]]" in {primitive.takes for primitive in PRIMITIVES.values()}


def values_of(primitive, rng, number=40):
    """Yield ``(input, parameter, value)`` of a primitive on random inputs that suit examples."""
    for _ in range(number):
        if primitive.takes in {CHAR, CHARS}:
            text = str(draw_argument(STR, rng))
            value = list(text) if primitive.takes == CHARS else rng.choice(text)
        elif primitive.takes == INT:
            value = rng.randint(-60, 160)  # below zero too, as elements of lists are
        else:
            value = draw_argument(primitive.takes, rng)
        parameter = rng.choice(primitive.choices or (None,))
        try:
            yield value, parameter, evaluate(of_one(primitive.key), value, [parameter])
        except NoValueError:
            continue


@pytest.mark.parametrize("takes", sorted({primitive.takes for primitive in PRIMITIVES.values()}))
@pytest.mark.skipif(NODE is None, reason="node is not installed")
def test_a_primitive_has_the_same_values_in_python_and_in_javascript(takes):
    rng = random.Random(2)
    wanted, programs = [], []
    for primitive in (primitive for primitive in PRIMITIVES.values() if primitive.takes == takes):
        found = list(values_of(primitive, rng))
        assert len(found) >= 10, primitive.key
        for value, parameter, result in found:
            code = f"const f = (_x, _k) => {primitive.javascript.replace('$x', '(_x)').replace('$k', '(_k)')};"
            programs.append((code, f"f({json.dumps(value)}, {json.dumps(parameter)})"))
            wanted.append((primitive.key, value, result))
    got = run_javascript(programs)
    assert [(*case, value) for case, value in zip(wanted, got, strict=True) if case[2] != value] == []


def test_an_entry_whose_parts_do_not_belong_together_is_refused():
    with pytest.raises(ValueError, match="belong together"):
        describe(INT, INT, "plus", "the sum of {} and $k", "$x + $k")
    with pytest.raises(ValueError, match="must have"):
        describe(INT, INT, "square", "the square", "$x ** 2")
    with pytest.raises(ValueError, match="predicate"):
        describe(INT, BOOL, "even", "whether {} is even", "$x % 2 == 0")


# -- the exercises -----------------------------------------------------------------------------------------------------


def test_equal_seeds_and_numbers_give_equal_exercises_and_others_differ():
    assert make_exercise(3, 7) == make_exercise(3, 7)
    assert [make_exercise(11, number) for number in (399, 5)] == [SAMPLE[399], SAMPLE[5]]  # in any order
    assert len({python_code(exercise) for exercise in SAMPLE}) == len(SAMPLE)
    assert python_code(make_exercise(3, 7)) != python_code(make_exercise(4, 7))


def test_there_are_millions_of_them():
    compositions = sum(count_compositions(ALL.moves, length) for length in (2, 3))
    assert compositions > 2_000_000
    texts = {exercise_row(1, i, views={WRITE: 1.0}, javascript_share=0)["text"] for i in range(3000)}
    assert len(texts) > 2990  # the repetitions are primitives alone: of k texts drawn at random k(k-1)/2n are the same


def test_every_example_is_the_value_of_the_body_and_of_the_composition():
    for exercise in SAMPLE:
        for arguments, value in calls(exercise):
            got = run_python(python_code(exercise), exercise.signature.name, arguments)
            assert repr(got) == repr(value), python_code(exercise)


def test_the_doctests_of_a_document_pass():
    num_examples = 0
    for exercise in SAMPLE:
        names = {}
        exec(python_code(exercise), names)
        found = doctest.DocTestFinder().find(names[exercise.signature.name], globs=names)
        results = [doctest.DocTestRunner(verbose=False).run(test) for test in found]
        assert sum(result.failed for result in results) == 0, python_code(exercise)
        num_examples += sum(result.attempted for result in results)
    assert num_examples > len(SAMPLE)


def test_the_styles_of_a_body_have_equal_values_and_different_texts():
    different = 0
    for exercise in SAMPLE:
        code = [
            move.primitive.choices and repr(value)
            for move, value in zip(exercise.composition.moves, exercise.parameters, strict=True)
        ]
        in_code = [exercise.signature.arguments[-1] if part == "None" else part or "" for part in code]
        bodies = {
            write_body(
                exercise.composition,
                in_code,
                exercise.signature.arguments,
                syntax=PYTHON,
                style=style,
                rng=random.Random(1),
            )
            for style in STYLES
        }
        different += len(bodies) > 1
        for body in bodies:
            code = python_code(replace(exercise, body=body))
            assert [repr(run_python(code, exercise.signature.name, arguments)) for arguments, _ in calls(exercise)] == [
                repr(value) for _, value in calls(exercise)
            ], code
    assert different > len(SAMPLE) / 2
    assert {exercise.style for exercise in SAMPLE} == set(STYLES)


@pytest.mark.skipif(NODE is None, reason="node is not installed")
def test_a_javascript_exercise_has_the_values_of_the_composition():
    exercises = [make_exercise(11, number, language="javascript") for number in range(400)]
    pairs = [(exercise, call) for exercise in exercises for call in calls(exercise)]
    got = run_javascript((function_text(exercise), javascript_call(exercise, call[0])) for exercise, call in pairs)
    wrong = [function_text(exercise) for (exercise, call), value in zip(pairs, got, strict=True) if call[1] != value]
    assert wrong == []


def test_a_value_that_is_used_twice_is_never_an_iterator():
    upper = Move("each", PRIMITIVES["upper: str -> str"], STRS)
    composition = Composition(STRS, (upper, Move("apply", PRIMITIVES["alphabetical: list[str] -> bool"], BOOL)))
    for style in STYLES:
        body = write_body(composition, ["", ""], ["words"], syntax=PYTHON, style=style, rng=random.Random(1))
        assert run_python(f"def f(words):\n{body}", "f", (["a", "B"],)) is True, body


def test_a_docstring_has_several_voices():
    composition = SAMPLE[0].composition
    parameters = ["1"] * len(composition.moves)
    texts = {docstring(composition, "numbers", parameters, random.Random(i)) for i in range(40)}
    assert len(texts) >= 3
    assert all(text.endswith(".") and "{}" not in text and "$k" not in text for text in texts)


def test_the_steps_of_a_statement_are_those_of_the_composition():
    keep = Move("keep", PRIMITIVES["even: int -> bool"], INTS)
    square = Move("each", PRIMITIVES["square: int -> int"], INTS)
    total = Move("apply", PRIMITIVES["sum: list[int] -> int"], INT)
    steps = step_phrases(Composition(INTS, (keep, square, total)), ["", "", ""])
    assert steps == ["keep those that are even", "take the square of each", "return the sum of them"]


def test_a_value_in_a_template_keeps_its_precedence():
    assert substitute("$x ** 2", "a + b") == "(a + b) ** 2"
    assert substitute("len($x)", "a + b") == "len(a + b)"
    assert substitute("$x[::-1]", "' '.join(words)") == "' '.join(words)[::-1]"
    assert [is_atom(text) for text in ("f(x)[0].y", "-x", "x if y else z")] == [True, False, False]


def test_a_value_that_is_too_large_or_ordered_otherwise_in_javascript_is_no_example():
    lengths = of_one("lengths: list[str] -> dict[str, int]")
    assert evaluate(lengths, ["a", "bb"], [None]) == {"a": 1, "bb": 2}
    with pytest.raises(NoValueError):
        evaluate(lengths, ["a", "42"], [None])
    with pytest.raises(NoValueError):
        evaluate(of_one("cube: int -> int"), 101, [None])
    assert evaluate(of_one("cube: int -> int"), 100, [None]) == 1_000_000


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
