"""Strategies choose by what the prompt says and by what programs do, never by the tests; their budgets are equal."""

import re
from dataclasses import replace

import pytest

from codeft_eval.benchmarks.benchmark import Item
from codeft_eval.benchmarks.catalogue import BENCHMARKS, load_items
from codeft_eval.sandbox.pool import Sandbox
from codeft_eval.sandbox.programs import Limits
from codeft_eval.scoring.solving import prompt_item
from codeft_eval.strategies import choices
from codeft_eval.strategies.attempts import Attempt, Problem, Workbench, run_once, within_budget, without_tests
from codeft_eval.strategies.borda import borda_order
from codeft_eval.strategies.examples import examples_test, find_examples
from codeft_eval.strategies.inputs import NUM_INPUTS, find_inputs
from codeft_eval.strategies.rank import preferences, rank
from codeft_eval.strategies.refine import refine
from codeft_eval.strategies.table import STRATEGIES, find_strategy, resample

DOUBLE = 'def double(n):\n    """Return twice n.\n\n    >>> double(2)\n    4\n    >>> double(5)\n    10\n    """\n'
PLAIN = 'def double(n: int) -> int:\n    """Return twice n."""\n'
SQUARE, TWICE, SUM, CONSTANT = "    return n * n\n", "    return 2 * n\n", "    return n + n\n", "    return 4\n"
UNKNOWN_NAME = "    return m\n"


@pytest.fixture(scope="module")
def run():
    with Sandbox(limits=Limits(cpu_seconds=2, wall_seconds=30.0), num_workers=1) as sandbox:
        yield run_once(sandbox.run)


def problem(prompt, *texts, num_tokens=10):
    return Problem(prompt_item(prompt), tuple(Attempt(text, num_tokens) for text in texts))


def only(answers):
    (answer,) = answers
    return answer


def test_examples_are_found_as_people_write_them():
    lines = [">>> f([1])", "2", "", ">>> f([]) # none", "0"]
    assert [str(one) for one in examples(lines)] == ["f([1]) should return 2", "f([]) should return 0"]
    for arrow in ("==", "➞", "->", "=>", "# => ", "should return", "returns", "="):
        assert [str(one) for one in examples([f"For example, f([1, 2]) {arrow} [3, 4]."])] == [
            "f([1, 2]) should return [3, 4]"
        ], arrow
    assert examples(["f(x) == 2", "g([1]) == 2", "f([1]) == 1 + 9 = 10", 'f([1]) == ""b"', "f([1]) is odd"]) == []
    assert examples([">>> f([1])", "Traceback (most recent call last):", "ValueError"]) == []


def examples(lines):
    body = "".join(f"    {line}\n" for line in lines)
    return find_examples(f'def f(items):\n    """Do it.\n{body}    """\n', "f")


def test_examples_hold_for_the_right_program_and_not_for_a_wrong_one(run):
    items = load_items(BENCHMARKS["composed"])[:12]
    found = [find_examples(item.prompt, item.entry_point) for item in items]
    programs = [
        replace(item.to_program(text), test=examples_test(part))
        for item, part in zip(items, found, strict=True)
        for text in (item.solution, "    return None\n")
    ]
    assert [grade.verdict for grade in run(programs)] == ["passed", "failed"] * 12


def test_the_tests_are_never_the_examples():
    """MBPP shows its tests in the prompt; a strategy does not even hold an item's tests."""
    item = Item(
        task_id="MBPP/1",
        prompt='"""\nDouble it.\nassert double(2) == 4\n"""\n',
        solution="def double(n):\n    return 2 * n\n",
        entry_point="double",
        test="assert double(2) == 4",
        source_prefix='"""\nDouble it.\nassert double(2) == 4\n"""\n',
    )
    assert find_examples(item.prompt, item.entry_point) == []
    seen = without_tests(item)
    assert (seen.test, seen.solution, seen.answer) == ("", "", "")


@pytest.mark.parametrize(
    ("prompt", "name", "calls"),
    [
        ('def f(x):\r\n    """Go.\r\n    >>> f(1)\r\n    2\r\n    """\r\n', "f", ["f(1)"]),
        ("def f(x):\n\t'''Go: f('ü') ➞ 'Ü'.'''\n", "f", ["f('ü')"]),
        ("def g():\n    return 1\n\n@staticmethod\ndef f(x):\n    r'''f(r'\\d') -> 1'''", "f", ["f('\\\\d')"]),
        ("def f(x):\n    '''\n    >>> y = [1]\n    >>> f(y)\n    [1]\n    '''\n", "f", ["y = [1]", "f(y)"]),
        ("def f(x):  # f(1) == 2", "f", []),
        ("def f(x):\n    '''f(1) == f(2), f(f(1)) == 3, f(*a) == 1'''\n", "f", []),
    ],
)
def test_prompts_are_read_whatever_their_line_ends_and_quotes(prompt, name, calls):
    item = prompt_item(prompt)
    assert item.entry_point == name
    assert [example.call for example in find_examples(item.prompt, name)] == calls


def test_the_first_that_passes_the_examples_is_the_answer(run):
    found = only(choices.by_examples([problem(DOUBLE, UNKNOWN_NAME, SQUARE, TWICE, SUM)], Workbench(run)))
    assert (found.text, found.fallback, found.num_tokens) == (TWICE, "", 40)


def test_a_prompt_that_decides_nothing_falls_back_and_says_so(run):
    answers = choices.by_examples([problem(PLAIN, SQUARE, TWICE), problem(DOUBLE, SQUARE, CONSTANT)], Workbench(run))
    assert [answer.text for answer in answers] == [SQUARE, SQUARE]
    assert [answer.fallback for answer in answers] == [choices.NO_EXAMPLES, choices.NONE_PASSES]


def test_the_class_that_most_attempts_agree_on_wins(run):
    found = only(choices.by_agreement([problem(PLAIN, SQUARE, CONSTANT, TWICE, SUM, UNKNOWN_NAME)], Workbench(run)))
    assert (found.text, found.fallback) == (TWICE, "")


def test_of_equal_classes_the_earliest_wins_and_failures_have_no_vote(run):
    many_failures = (UNKNOWN_NAME,) * 5
    tied = problem(PLAIN, *many_failures, SQUARE, TWICE, SUM, SQUARE)
    assert only(choices.by_agreement([tied], Workbench(run))).text == SQUARE
    alone = only(choices.by_agreement([problem(PLAIN, UNKNOWN_NAME, "    return (\n")], Workbench(run)))
    assert (alone.text, alone.fallback) == (UNKNOWN_NAME, choices.NONE_RETURNS)
    unknown = only(choices.by_agreement([problem("def f(x):\n", SQUARE, TWICE)], Workbench(run)))
    assert (unknown.text, unknown.fallback) == (SQUARE, choices.NO_INPUTS)


def test_sets_and_changed_arguments_are_part_of_a_signature(run):
    prompt = 'def f(words: list[str]) -> None:\n    """Change it.\n\n    >>> f(["a", "b", "c"])\n    None\n    """\n'
    sets = ("    return {*words}\n", "    return set(reversed(words))\n")
    changed = ("    words.reverse()\n", "    words.append('d')\n")
    assert only(choices.by_agreement([problem(prompt, changed[1], *sets)], Workbench(run))).text == sets[0]
    twice = "    words[:] = words[::-1]\n"
    assert (
        only(choices.by_agreement([problem(prompt, changed[1], changed[0], twice)], Workbench(run))).text == changed[0]
    )


def test_agreement_among_those_that_pass_the_examples(run):
    wrong = ("    return 4 if n == 2 else n\n",) * 3
    found = only(choices.by_examples_and_agreement([problem(DOUBLE, *wrong, TWICE)], Workbench(run)))
    assert (found.text, found.num_tokens) == (TWICE, 40)
    assert only(choices.by_examples_and_agreement([problem(PLAIN, *wrong, TWICE)], Workbench(run))).text == wrong[0]


def test_inputs_are_the_same_each_time_and_begin_with_the_examples():
    found = find_inputs(DOUBLE, "double", find_examples(DOUBLE, "double"))
    assert found[:2] == [(2,), (5,)]
    assert len(found) == len({repr(arguments) for arguments in found}) == NUM_INPUTS
    assert found == find_inputs(DOUBLE, "double", find_examples(DOUBLE, "double"))
    typed = "from typing import Dict, List\n\ndef f(a: List[int], b: Dict[str, bool], c: float):\n"
    for first, second, third in find_inputs(typed + "    pass\n", "f", []):
        assert all(type(number) is int for number in first)
        assert all(type(value) is bool for value in second.values())
        assert type(third) is float


def test_a_switch_has_two_inputs_and_no_more():
    assert len(find_inputs('def f(on: bool):\n    """Go."""\n', "f", [])) == 2


class MendingWriter:
    """Mends a NameError, and writes anything else again."""

    def __init__(self):
        self.asked = []

    def complete(self, items):
        self.asked += items
        return [Attempt(TWICE if "NameError" in item.prompt else SQUARE, 30) for item in items]

    def log_likelihoods(self, pairs):
        return [
            float(answer == " A") if re.search(r"A:\n.*n \+ n.*B:", text, re.DOTALL) else 0.0 for text, answer in pairs
        ]

    def num_tokens(self, text):
        return len(text.split())


def test_refining_gains_what_the_error_shows_and_nothing_else(run):
    """The must of self-reflection: a model that mends exactly NameErrors gains those."""
    texts = (UNKNOWN_NAME, SQUARE, TWICE)
    writer = MendingWriter()
    problems = [problem(DOUBLE, text, SQUARE, SQUARE, SQUARE) for text in texts] + [problem(PLAIN, UNKNOWN_NAME)]
    answers = refine(problems, Workbench(run, writer))
    assert [answer.text for answer in answers] == [TWICE, SQUARE, TWICE, UNKNOWN_NAME]
    assert [answer.num_tokens for answer in answers] == [40, 70, 10, 10]
    assert [answer.rounds for answer in answers][:2] == [(UNKNOWN_NAME, TWICE, TWICE), (SQUARE,) * 3]
    assert [answer.fallback for answer in answers] == ["", choices.NONE_PASSES, "", choices.NO_EXAMPLES]
    assert "# NameError: name 'm' is not defined" in writer.asked[0].prompt
    assert "# double(5) should return 10" in writer.asked[1].prompt
    assert all(item.prompt.endswith(DOUBLE) and item.source_prefix == DOUBLE for item in writer.asked)


def test_resampling_has_the_tokens_of_the_strategy_and_no_more(run):
    problems = [problem(DOUBLE, UNKNOWN_NAME, SQUARE, SQUARE, SQUARE, TWICE, num_tokens=10)]
    answers = refine(problems, Workbench(run, MendingWriter()))
    control = resample(problems, answers, Workbench(run))
    assert (answers[0].num_tokens, control[0].num_tokens) == (40, 40)
    assert (answers[0].text, control[0].text) == (TWICE, UNKNOWN_NAME)
    attempts = problems[0].attempts
    assert [len(within_budget(attempts, tokens)) for tokens in (0, 10, 39, 40, 1000)] == [1, 1, 3, 4, 5]


def test_a_cycle_is_ordered_by_the_strength_of_its_preferences():
    """0 > 1 > 2 > 0, and all three over 3: the closure leaves them equal, so probabilities decide."""
    matrix = [[0.5, 0.9, 0.4, 0.8], [0.1, 0.5, 0.7, 0.6], [0.6, 0.3, 0.5, 0.9], [0.2, 0.4, 0.1, 0.5]]
    assert borda_order(matrix) == [0, 2, 1, 3]
    assert borda_order([[0.5, 0.4], [0.6, 0.5]]) == [1, 0]
    assert borda_order([[0.5] * 3] * 3) == [0, 1, 2]
    with pytest.raises(ValueError, match="probabilities in 0..1"):
        borda_order([[0.5, 1.5], [0.2, 0.5]])


def test_a_preference_holds_through_others():
    """0 beats 1, 1 beats 2, 2 beats 3; nobody compared the rest, and the direct counts alone are equal."""
    matrix = [[0.5] * 4 for _ in range(4)]
    for left, right in ((3, 2), (2, 1), (1, 0)):
        matrix[left][right], matrix[right][left] = 0.6, 0.4
    matrix[0][3] = matrix[3][0] = 0.5
    assert borda_order(matrix) == [3, 2, 1, 0]


def test_ranking_pays_for_its_comparisons_and_a_place_alone_wins_nothing(run):
    writer = MendingWriter()
    found = only(rank([problem(DOUBLE, SQUARE, CONSTANT, SUM)], Workbench(run, writer)))
    assert found.text == SUM
    assert found.num_tokens > 30 + 6 * 20
    always_first = [(0.0, -5.0)] * 6
    assert preferences(3, always_first) == [[0.5] * 3] * 3
    same = only(rank([problem(DOUBLE, SQUARE, SQUARE)], Workbench(run, writer)))
    assert (same.text, same.num_tokens) == (SQUARE, 20)
    assert same.fallback


def test_without_a_model_what_needs_one_is_refused(run):
    for name, strategy in STRATEGIES.items():
        if strategy.needs_model:
            with pytest.raises(ValueError, match=f"'{name}'.*give the checkpoint"):
                strategy.choose([problem(DOUBLE, TWICE)], Workbench(run))
    with pytest.raises(ValueError, match="'best' is not one of"):
        find_strategy("best")


def test_a_program_runs_once_for_all_strategies():
    asked = []

    def run(programs):
        asked.extend(programs)
        return [program.key for program in programs]

    shared = run_once(run)
    programs = [prompt_item(DOUBLE).to_program(text) for text in (TWICE, SUM, TWICE)]
    assert shared(programs) == shared(programs)
    assert len(asked) == 2
