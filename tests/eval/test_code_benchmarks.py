"""CRUXEval, HumanEvalFix and infilling, with rows of our own in upstream's form."""

from dataclasses import replace

import pytest

from codeft_eval.benchmarks.catalogue import BENCHMARKS
from codeft_eval.scoring.graders import open_grader
from codeft_eval.scoring.harness_check import check_harness
from codeft_eval.scoring.infilling import with_infilling_tokens
from codeft_eval.scoring.options import Options
from codeft_eval.scoring.runs import run_checkpoint
from tests.eval.checkpoints import write_checkpoint

FUNCTION = {"id": "sample_0", "code": "def f(words):\n    return len(words)", "input": "['a', 'b']", "output": "2"}
CONSTANT = {"id": "sample_1", "code": "letters = 'xyz'\ndef f(text):\n    return text", "input": "letters",
            "output": "'xyz'"}  # fmt: skip
BUG = {
    "task_id": "Python/0",
    "prompt": 'def half(x: float) -> float:\n    """Return half of x."""\n',
    "declaration": "def half(x: float) -> float:\n",
    "buggy_solution": "    return x * 2\n",
    "canonical_solution": "    return x / 2\n",
    "entry_point": "half",
    "test": "def check(half):\n    assert half(4) == 2\n\ncheck(half)",
}
GAP = {
    "task_id": "SingleLineInfilling/HumanEval/0/L0",
    "prompt": "def helper(x):\n    return x\n\n\ndef positive(x):\n    if x > 0:\n",
    "suffix": "    return False\n",
    "canonical_solution": "        return True\n",
    "entry_point": "positive",
    "test": "def check(candidate):\n    assert candidate(helper(1)) is True\n    assert candidate(-1) is False\n",
}
ROWS = {"cruxeval_output": [FUNCTION, CONSTANT], "cruxeval_input": [FUNCTION, CONSTANT], "humanevalfix": [BUG],
        "humaneval_infilling": [GAP]}  # fmt: skip


@pytest.fixture
def entry():
    def of(name):
        found = BENCHMARKS[name]
        items = list(found.read(ROWS[name], ()))
        # rows of another file than the one whose hash the entry records
        return replace(found, data=BENCHMARKS["embedded"].data, read=lambda *_: items, needless_solutions={})

    return of


@pytest.mark.parametrize("name", ROWS)
def test_canonical_solutions_pass_and_empty_completions_fail(entry, name):
    check = check_harness(entry(name), Options())
    assert (check.unexpected, check.num_items) == ({}, len(ROWS[name]))


@pytest.mark.parametrize(
    ("name", "completion", "verdict"),
    [
        ("cruxeval_output", " 1 + 1  # the number of words", "passed"),
        ("cruxeval_output", " 3", "failed"),
        ("cruxeval_output", " f(['a', 'b'])", "failed"),  # the function is not there to be called
        ("cruxeval_output", " 2, 'a message that an assertion would take'", "failed"),
        ("cruxeval_input", "([1, 2])", "passed"),  # other arguments than upstream's
        ("cruxeval_input", "(words=[1, 2])", "passed"),
        ("cruxeval_input", "([1])", "failed"),
        ("cruxeval_input", "([1]) and 2", "failed"),  # the output itself instead of arguments
        ("humanevalfix", "\n    return math.fabs(x) / 2", "passed"),
        ("humanevalfix", "\n    return x * 2", "failed"),
        ("humaneval_infilling", "        return x > 0", "passed"),
        ("humaneval_infilling", "        return 1", "failed"),
        ("humaneval_infilling", "    return True", "failed"),
    ],
)
def test_a_completion_is_graded_as_upstream_does(entry, name, completion, verdict):
    benchmark = entry(name)
    with open_grader(benchmark) as grader:
        grade = grader.grade(benchmark.read((), ())[:1], [completion])[0]
    assert grade.verdict == verdict, grade


def test_an_empty_completion_that_passes_is_declared_and_no_other_is(entry):
    needless = GAP | {"prompt": "def positive(x):\n", "canonical_solution": "    x = x\n", "suffix": "    return x > 0",
                      "test": "def check(candidate):\n    assert candidate(1) is True\n"}  # fmt: skip
    items = list(BENCHMARKS["humaneval_infilling"].read([needless], ()))
    benchmark = replace(entry("humaneval_infilling"), read=lambda *_: items)
    assert "empty completion: passed" in check_harness(benchmark, Options()).unexpected[needless["task_id"]]
    declared = replace(benchmark, needless_solutions={needless["task_id"]: "the line changes nothing"})
    check = check_harness(declared, Options())
    assert (check.unexpected, check.declared) == ({}, declared.needless_solutions)
    wrong = replace(entry("humaneval_infilling"), needless_solutions=declared.needless_solutions)
    assert "empty completion: failed" in check_harness(wrong, Options()).unexpected[GAP["task_id"]]


def test_a_gap_is_prompted_with_the_tokens_of_the_tokenizer(entry, tmp_path):
    tokens = ["<fim_prefix>", "<fim_suffix>", "<fim_middle>"]
    checkpoint = write_checkpoint(tmp_path / "m", special_tokens=tokens)
    benchmark = entry("humaneval_infilling")
    item = with_infilling_tokens(benchmark.read((), ()), checkpoint)[0]
    assert item.prompt == f"<fim_prefix>{GAP['prompt']}<fim_suffix>{GAP['suffix']}<fim_middle>"
    score = run_checkpoint(checkpoint, benchmark, tmp_path / "o", Options())
    assert (score.num_scored, score.num_unscored) == (1, 0)
    assert "<fim_middle>" in (tmp_path / "o" / "samples.jsonl").read_text()


def test_a_model_without_such_tokens_is_refused(entry, tmp_path):
    checkpoint = write_checkpoint(tmp_path / "m")
    with pytest.raises(ValueError, match="has none of the infilling tokens .*; score a model that was trained to fill"):
        run_checkpoint(checkpoint, entry("humaneval_infilling"), tmp_path / "o", Options())
    run_checkpoint(checkpoint, replace(entry("cruxeval_output"), max_new_tokens=2), tmp_path / "p", Options())
