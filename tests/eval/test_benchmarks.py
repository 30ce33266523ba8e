import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from codeft_eval import benchmarks
from codeft_eval.benchmarks import (
    BENCHMARKS,
    DataFile,
    benchmark_texts,
    get_benchmark,
    is_available,
    load_items,
    read_rows,
)
from codeft_eval.items import read_gsm8k, read_humaneval, read_mbpp
from codeft_eval.oracles import extract_number, open_oracle
from codeft_eval.runs import Options, check_harness

DEV_DATA = Path(os.environ.get("CODEFT_DEV_DATA", Path(__file__).parents[2] / "../shared/data")) / "benchmarks"


@pytest.fixture
def dev_data(monkeypatch):
    if not DEV_DATA.is_dir():
        pytest.skip("development data is not here")
    monkeypatch.setenv(benchmarks.FOLDER_VARIABLE, str(DEV_DATA))
    read_rows.cache_clear()


def test_canonical_solutions_of_the_embedded_benchmark_pass_and_empty_ones_fail():
    check = check_harness(BENCHMARKS["embedded"], Options())
    assert check.unexpected == {}
    assert check.num_items >= 40


@pytest.mark.slow
@pytest.mark.parametrize("name", ["humaneval", "gsm8k"])
def test_canonical_solutions_of_a_benchmark_pass_and_empty_ones_fail(dev_data, name):
    assert check_harness(BENCHMARKS[name], Options()).unexpected == {}


@pytest.mark.slow
def test_canonical_solutions_of_mbpp_pass_except_those_declared(dev_data):
    assert check_harness(BENCHMARKS["mbpp"], Options(limit=150)).unexpected == {}


def test_the_check_finds_a_wrong_canonical_solution_and_an_undemanding_test(tmp_path):
    prompt = 'def f(x):\n    """Doc."""\n'
    rows = [
        {"task_id": "good", "canonical_solution": "    return x\n", "test": "def check(c):\n    assert c(1) == 1"},
        {"task_id": "wrong", "canonical_solution": "    return 0\n", "test": "def check(c):\n    assert c(1) == 1"},
        {"task_id": "idle", "canonical_solution": "    return 0\n", "test": "def check(c):\n    pass"},
    ]
    entry = replace(BENCHMARKS["embedded"], read=lambda *_: read_humaneval(rows_of(rows, prompt), ()))
    found = check_harness(entry, Options()).unexpected
    assert sorted(found) == ["idle", "wrong"]
    declared = replace(entry, failing_solutions={"wrong": "the tests are wrong", "good": "stale"})
    assert sorted(check_harness(declared, Options()).unexpected) == ["good", "idle"]


def rows_of(rows, prompt):
    return [row | {"prompt": prompt, "entry_point": "f"} for row in rows]


def test_every_entry_says_what_identifies_a_score():
    for name, entry in BENCHMARKS.items():
        assert entry.name == name
        assert entry.version >= 1
        assert entry.protocol
        assert entry.stops
        assert entry.data.is_packaged or (len(entry.data.sha256) == 64 and entry.data.num_rows)


def test_benchmark_texts_hold_every_text_of_every_item():
    texts = benchmark_texts("embedded")
    items = load_items(BENCHMARKS["embedded"])
    assert len(items) * 3 == len(texts)
    assert {text["field"] for text in texts} == {"prompt", "solution", "tests"}
    assert {text["kind"] for text in texts} == {"code"}
    assert all(set(text) == {"benchmark", "task_id", "kind", "field", "text"} for text in texts)


def test_task_ids_and_entry_points_of_the_embedded_benchmark_are_distinct():
    items = load_items(BENCHMARKS["embedded"])
    assert len({item.task_id for item in items}) == len({item.prompt for item in items}) == len(items) >= 40


def test_an_unknown_benchmark_is_named_with_those_that_exist():
    with pytest.raises(ValueError, match=r"'nope' is not one of.*embedded"):
        get_benchmark("nope")


def test_an_absent_file_says_where_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv(benchmarks.FOLDER_VARIABLE, str(tmp_path))
    read_rows.cache_clear()
    assert not is_available(BENCHMARKS["humaneval"])
    with pytest.raises(ValueError, match=r"HumanEval\.jsonl.*fetch it from openai/human-eval"):
        load_items(BENCHMARKS["humaneval"])


def test_a_file_with_other_content_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv(benchmarks.FOLDER_VARIABLE, str(tmp_path))
    (tmp_path / "HumanEval.jsonl").write_text(json.dumps({"task_id": "forged"}) + "\n")
    with pytest.raises(ValueError, match=r"has sha256 .*, expected 1d49078b"):
        read_rows(replace(BENCHMARKS["humaneval"].data, origin="elsewhere"))


def test_a_file_with_a_row_too_few_is_refused():
    with pytest.raises(ValueError, match="expected 9999"):
        read_rows(DataFile(name="embedded.jsonl", num_rows=9999, origin="here"))


def test_a_humaneval_prompt_is_stripped_and_ends_in_one_newline():
    row = {"task_id": "t", "prompt": '\n\ndef f():\n\t"""D."""\n    \n', "canonical_solution": "    return 1\n",
           "test": "x", "entry_point": "f"}  # fmt: skip
    item = next(iter(read_humaneval([row], ())))
    assert item.prompt == item.source_prefix == 'def f():\n    """D."""\n'


def test_an_mbpp_prompt_holds_the_solved_examples_with_unix_newlines():
    row = {"task_id": 11, "text": "Add.", "code": "def g(x):\r\n  return x\r\ndef f(x):\r\n  return g(x)",
           "test_list": ["assert set([f(1)]) == {1}"], "test_setup_code": ""}  # fmt: skip
    shot = row | {"task_id": 2, "text": "Shot."}
    item = next(iter(read_mbpp([row], [shot])))
    assert item.prompt.count("[BEGIN]\n") == 2
    assert "\n[DONE]\n\nYou are" in item.prompt
    assert "\r" not in item.prompt + item.solution
    assert (item.task_id, item.entry_point) == ("MBPP/11", "f")


def test_an_mbpp_test_that_calls_nothing_of_the_solution_is_refused():
    row = {"task_id": 1, "text": "", "code": "def f(x): return x", "test_list": ["assert g(1)"], "test_setup_code": ""}
    with pytest.raises(ValueError, match="calls none of"):
        list(read_mbpp([row], ()))


def test_a_gsm8k_answer_is_the_number_after_the_marks():
    row = {"question": "Q?", "answer": "It is <<2*500=1000>>1000.\n#### 1,000"}
    item = next(iter(read_gsm8k([row], [row])))
    assert item.answer == "1000"
    assert item.prompt.endswith("#### 1,000\n\nQuestion: Q?\nAnswer:")


@pytest.mark.parametrize(
    ("completion", "number"),
    [
        ("so 5.\n#### 1,234", "1234"),
        ("it is $12.50 then 7", "7"),
        ("#### none, but 3", "3"),
        ("none", None),
        ("-4", "-4"),
    ],
)
def test_the_number_of_a_completion(completion, number):
    assert extract_number(completion) == number


def test_numbers_are_equal_by_value_and_an_absent_one_is_no_answer():
    item = next(iter(read_gsm8k([{"question": "Q", "answer": "#### 18"}], ())))
    with open_oracle(BENCHMARKS["gsm8k"]) as oracle:
        outcomes = oracle.judge([item] * 3, ["#### 18.0", "#### 17", "I do not know"])
    assert [outcome.reason for outcome in outcomes] == ["passed", "wrong_answer", "no_answer"]


def test_importing_the_table_loads_no_harness():
    code = (
        "import sys, codeft_eval.benchmarks as b; b.benchmark_texts('embedded');"
        "print(sorted({'torch', 'lm_eval', 'transformers', 'datasets', 'dagster'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
