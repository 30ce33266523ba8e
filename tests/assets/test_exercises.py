"""Composed exercises: primitives, bodies, words and examples agree, in both languages."""

import doctest
import json
import random
import shutil
import subprocess
from dataclasses import replace

import pytest

from codeft_assets.exercises.bodies import STYLES, write_body
from codeft_assets.exercises.catalogue import PRIMITIVES
from codeft_assets.exercises.composition import Composition, Move, count_compositions
from codeft_assets.exercises.exercise import make_exercise, python_code, run_python
from codeft_assets.exercises.inputs import draw_argument
from codeft_assets.exercises.meaning import NoValueError, evaluate
from codeft_assets.exercises.primitives.primitive import BOOL, CHAR, CHARS, INT, INTS, STR, STRS, describe
from codeft_assets.exercises.subsets import ALL
from codeft_assets.exercises.syntax import PYTHON, is_atom, substitute
from codeft_assets.exercises.views import WRITE, exercise_row, function_text, javascript_call
from codeft_assets.exercises.wording import docstring, step_phrases

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
