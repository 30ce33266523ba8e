import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from codeft_eval.benchmarks.catalogue import BENCHMARKS, benchmark_texts, get_benchmark, is_available, load_items
from codeft_eval.benchmarks.datafiles import FOLDER_VARIABLE, DataFile, HubFiles, fetch, read_rows, rows_sha256
from codeft_eval.benchmarks.gsm8k import extract_number, read_gsm8k
from codeft_eval.benchmarks.humaneval import read_humaneval
from codeft_eval.benchmarks.mbpp import read_mbpp
from codeft_eval.scoring.graders import open_grader
from codeft_eval.scoring.harness_check import check_harness
from codeft_eval.scoring.options import Options
from tests.hub.server import HubServer

DEV_DATA = Path(os.environ.get("CODEFT_DEV_DATA", Path(__file__).parents[2] / "../shared/data")) / "benchmarks"


@pytest.fixture
def dev_data(monkeypatch):
    if not DEV_DATA.is_dir():
        pytest.skip("development data is not here")
    monkeypatch.setenv(FOLDER_VARIABLE, str(DEV_DATA))
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
        data = entry.data
        recorded = {len(data.rows_sha256), len(data.file_sha256)} == {0, 64} and data.num_rows
        assert data.is_packaged or data.is_unpinned or recorded or data.origin.startswith("built by")


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
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    read_rows.cache_clear()
    assert not is_available(BENCHMARKS["humaneval"])
    with pytest.raises(ValueError, match=r"HumanEval\.jsonl.*fetch it from openai/human-eval"):
        load_items(BENCHMARKS["humaneval"])


def test_a_file_with_other_content_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    (tmp_path / "HumanEval.jsonl").write_text(json.dumps({"task_id": "forged"}) + "\n")
    with pytest.raises(ValueError, match=r"has 1 rows, expected 164"):
        read_rows(replace(BENCHMARKS["humaneval"].data, origin="elsewhere"))


def test_rows_with_other_content_are_refused_however_they_are_stored(monkeypatch, tmp_path):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    rows = [{"question": f"q{i}", "answer": "#### 1"} for i in range(3)]
    entry = DataFile(name="x.jsonl", columns=("question", "answer"), rows_sha256=rows_sha256(rows), origin="there")
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(row | {"more": 1}) + "\n" for row in rows))
    assert read_rows(entry) == rows
    rows[1]["answer"] = "#### 2"
    (tmp_path / "y.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ValueError, match=r"rows of benchmark file 'y.jsonl' have sha256 .* fetch it from there"):
        read_rows(replace(entry, name="y.jsonl"))


def test_a_file_with_other_bytes_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    (tmp_path / "x.jsonl").write_text("{}\n")
    with pytest.raises(ValueError, match=r"has sha256 ca3d163.*, expected 000"):
        read_rows(DataFile(name="x.jsonl", columns=(), file_sha256="0" * 64, origin="there"))


def test_an_entry_without_a_recorded_hash_or_a_commit_is_refused():
    with pytest.raises(ValueError, match="no recorded hash"):
        DataFile(name="x.jsonl", columns=(), origin="there")
    with pytest.raises(ValueError, match="'main' of 'a/b' is no commit"):
        HubFiles(repo="a/b", revision="main", paths=("x",))


@pytest.fixture
def hub(monkeypatch, tmp_path):
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    with HubServer() as server:
        yield server


def fetch_elsewhere(server, data, tmp_path):
    """In a process of its own, because the client reads HF_ENDPOINT once."""
    code = f"from codeft_eval.benchmarks.datafiles import *; print(fetch({data!r}))"
    environment = os.environ | {"HF_ENDPOINT": server.url, "HF_HUB_OFFLINE": "0"}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)


def test_data_comes_from_the_hub_at_its_revision_once_and_is_checked(hub, tmp_path):
    rows = [{"question": f"q{i}", "answer": f"#### {i}"} for i in range(5)]
    parts = [parquet_bytes(rows[:2]), parquet_bytes(rows[2:])]
    first = hub.commit("a/b", {"data/0.parquet": parts[0], "data/1.parquet": parts[1]})
    hub.commit("a/b", {"data/0.parquet": parquet_bytes(rows[:1])})
    places = HubFiles(repo="a/b", revision=first, paths=("data/0.parquet", "data/1.parquet"))
    data = DataFile(
        name="x.jsonl", columns=("question", "answer"), rows_sha256=rows_sha256(rows), num_rows=5, origin="", hub=places
    )
    assert not is_available(replace(BENCHMARKS["gsm8k"], data=data, more_data=()))
    with pytest.raises(ValueError, match=r"run `python -m codeft_eval fetch`"):
        read_rows(data)
    done = fetch_elsewhere(hub, data, tmp_path)
    assert done.returncode == 0, done.stderr
    assert is_available(replace(BENCHMARKS["gsm8k"], data=data, more_data=()))
    before = sum(hub.requests.values())
    assert read_rows(data) == rows
    assert sum(hub.requests.values()) == before


def test_hub_data_of_another_content_is_refused_when_it_is_fetched(hub, tmp_path):
    commit = hub.commit("a/b", {"x.jsonl": '{"question": "q", "answer": "1"}\n'})
    places = HubFiles(repo="a/b", revision=commit, paths=("x.jsonl",))
    data = DataFile(name="x.jsonl", columns=("question",), file_sha256="0" * 64, origin="there", hub=places)
    done = fetch_elsewhere(hub, data, tmp_path)
    assert "expected 000" in done.stderr
    missing = replace(data, hub=replace(places, paths=("absent.jsonl",)))
    said = fetch_elsewhere(hub, missing, tmp_path).stderr.splitlines()[-1]
    assert said == (
        f"ValueError: dataset 'a/b' at {commit[:12]}: the Hub answers with status 404: it is not there, or HF_TOKEN "
        "may not see it; check the network and HF_ENDPOINT, or fetch it from there into a folder that "
        "CODEFT_BENCHMARKS names (not set)"
    )
    with pytest.raises(ValueError, match="is not on the Hub"):
        fetch(replace(data, hub=None))


def test_the_folder_that_is_named_now_is_part_of_the_remedy(monkeypatch):
    data = DataFile(name="absent.jsonl", columns=("x",), file_sha256="0" * 64, origin="there")
    monkeypatch.setenv(FOLDER_VARIABLE, "/data")
    with pytest.raises(
        ValueError, match=r"fetch it from there into a folder that CODEFT_BENCHMARKS names \(now '/data'\)$"
    ):
        read_rows(data)
    monkeypatch.delenv(FOLDER_VARIABLE)
    with pytest.raises(ValueError, match=r"a folder that CODEFT_BENCHMARKS names \(not set\)$"):
        read_rows(data)


def parquet_bytes(rows):
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue().to_pybytes()


THREADS = """
import os, sys
from codeft_eval.benchmarks.datafiles import _parse
import pyarrow as pa, pyarrow.parquet as pq
content, before = open(sys.argv[1], "rb").read(), len(os.listdir("/proc/self/task"))
assert _parse("x.parquet", content) == [{"a": 1}, {"a": 2}]
print(len(os.listdir("/proc/self/task")) - before)
"""


def test_parquet_is_read_without_threads_that_may_hold_it_when_the_process_ends(tmp_path):
    (tmp_path / "x.parquet").write_bytes(parquet_bytes([{"a": 1}, {"a": 2}]))
    command = [sys.executable, "-c", THREADS, str(tmp_path / "x.parquet")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "0\n"


def test_a_file_with_a_row_too_few_is_refused():
    with pytest.raises(ValueError, match="expected 9999"):
        read_rows(DataFile(name="embedded.jsonl", columns=("task_id",), num_rows=9999, origin="", is_packaged=True))


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
    with open_grader(BENCHMARKS["gsm8k"]) as grader:
        outcomes = grader.grade([item] * 3, ["#### 18.0", "#### 17", "I do not know"])
    assert [outcome.reason for outcome in outcomes] == ["passed", "wrong_answer", "no_answer"]


def test_importing_the_table_loads_no_harness():
    code = (
        "import sys, codeft_eval.benchmarks.catalogue as b; b.benchmark_texts('embedded');"
        "print(sorted({'torch', 'lm_eval', 'transformers', 'datasets', 'dagster'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_benchmark_whose_examples_are_absent_is_not_available(monkeypatch, tmp_path):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / BENCHMARKS["gsm8k"].data.name).write_text("")
    assert not is_available(BENCHMARKS["gsm8k"])
