"""A user's own benchmark: a file that a variable names, from an empty file to a row of the scoreboard."""

import json
import os
import subprocess
import sys

import pytest

from codeft_eval.__main__ import main
from codeft_eval.benchmarks.catalogue import all_benchmarks, benchmark_texts, data_sha256, get_benchmark, load_items
from codeft_eval.benchmarks.datafiles import read_rows
from codeft_eval.benchmarks.own_benchmarks import OWN_VARIABLE
from tests.eval.checkpoints import write_checkpoint
from tests.hub.server import HubServer
from tests.walk import clone, environment, walk

ROW = {
    "task_id": "mine/0",
    "prompt": 'def half(x):\n    """Return half of x."""\n',
    "canonical_solution": "    return x / 2\n",
    "entry_point": "half",
    "test": "def check(candidate):\n    assert candidate(4) == 2\n",
}
MODULE = """
from dataclasses import replace
from codeft_eval.benchmarks.embedded import EMBEDDED
BENCHMARK = replace(EMBEDDED, name="other_stops", stops=("\\n\\n",))
"""

NO_DATA = """
BENCHMARK = replace(BENCHMARK, data=replace(EMBEDDED.data, is_packaged=False, path="/no/x.jsonl"))
"""


@pytest.fixture
def name_files(tmp_path, monkeypatch):
    def write(texts):
        paths = [tmp_path / name for name in texts]
        for path, text in zip(paths, texts.values(), strict=True):
            path.write_text(text)
        monkeypatch.setenv(OWN_VARIABLE, os.pathsep.join(map(str, paths)))
        read_rows.cache_clear()
        return paths

    return write


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.slow
def test_the_page_leads_from_an_empty_file_to_a_row_of_the_scoreboard(tmp_path):
    place = clone(tmp_path)
    write_checkpoint(place / ".codeft/files/model/checkpoint/checkpoint")
    with HubServer() as hub:
        outputs = [output for _, output, _ in walk("docs/your_own_benchmark.md", place, environment(tmp_path, hub),
                                                   long=True)]  # fmt: skip
    printed = "\n".join(outputs)
    assert "my_functions: 2 items, 0 unexpected" in printed
    assert "sums: 2 items, 0 unexpected" in printed
    assert "| my functions |" in printed
    assert "scores/my_functions" in printed


def test_a_file_of_rows_and_a_module_are_benchmarks_beside_those_of_the_package(name_files):
    name_files({"halves.jsonl": lines(ROW), "more.py": MODULE})
    assert {"halves", "other_stops", "embedded"} <= all_benchmarks().keys()
    assert get_benchmark("other_stops").stops == ("\n\n",)
    assert [item.entry_point for item in load_items(get_benchmark("halves"))] == ["half"]
    assert {text["field"] for text in benchmark_texts("halves")} == {"prompt", "solution", "tests"}


def test_the_assets_and_the_commands_know_it(name_files):
    name_files({"halves.jsonl": lines(ROW)})
    code = (
        "from codeft_assets.definitions import defs\n"
        "print([key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "'scores/halves'" in done.stdout
    assert main(["check", "--benchmark", "halves"]) == 0


def test_an_edit_is_another_benchmark(name_files):
    name_files({"halves.jsonl": lines(ROW), "more.py": MODULE})
    before = {name: data_sha256(get_benchmark(name)) for name in ("halves", "other_stops")}
    name_files({"halves.jsonl": lines(ROW | {"task_id": "mine/1"}), "more.py": MODULE.replace("\\n\\n", "\\n#")})
    after = {name: data_sha256(get_benchmark(name)) for name in before}
    assert all(before[name] != after[name] for name in before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": None}, r"row 2 of '.*halves.jsonl' has None for 'prompt'; each row needs text for task_id, prompt"),
        ({"test": "  "}, r"row 2 of .* has '  ' for 'test'; each row needs text"),
        ({"entry_point": 3}, r"row 2 of .* has 3 for 'entry_point'"),
        ({"task_id": "mine/0"}, r"row 2 of .* repeats the task_id 'mine/0'; give it another"),
        ({"entry_point": "third"}, r"prompt and canonical_solution define no 'third', only \['half'\]; define that"),
        ({"canonical_solution": "    return (x\n"}, r"row 2 of .* line 3: .*; write valid Python"),
        ({"test": "assert half(4) == 2"}, r"row 2 of .*: test define no 'check', only \[\]; define that function"),
    ],
)
def test_a_bad_row_is_named_with_its_value_the_rule_and_the_remedy(name_files, change, message):
    name_files({"halves.jsonl": lines(ROW, ROW | {"task_id": "mine/1"} | change)})
    with pytest.raises(ValueError, match=message):
        load_items(get_benchmark("halves"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"halves.jsonl' has no rows; write one JSON object a line"),
        (lines(ROW) + "{'task_id': 1}\n", r"line 2 of benchmark file 'halves.jsonl' is no JSON .*; write one object"),
        ("[1, 2]\n", r"line 1 of benchmark file 'halves.jsonl' is '\[1, 2\]', no JSON object"),
    ],
)
def test_a_file_that_holds_no_rows_is_refused(name_files, text, message):
    name_files({"halves.jsonl": text})
    with pytest.raises(ValueError, match=message):
        load_items(get_benchmark("halves"))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"half.txt": ""}, r"half.txt' is neither .jsonl nor .py"),
        ({"Half Life.jsonl": ""}, r"'Half Life' is no name of a benchmark: lower-case letters"),
        ({"humaneval.jsonl": ""}, r"there is a benchmark 'humaneval' already; rename yours"),
        ({"half.py": "x = 1\n"}, r"half.py': BENCHMARK is None; set it to a Benchmark"),
        ({"half.py": "\nx = 1 / 0\n"}, r"half.py', line 2: ZeroDivisionError: .*; correct the module"),
        ({"half.py": "x = (\n"}, r"half.py': SyntaxError: .*correct the module"),
        (
            {"half.py": MODULE + NO_DATA},
            r"its data '/no/x.jsonl' is no file; put it there, or correct the path",
        ),
    ],
)  # fmt: skip
def test_a_bad_file_is_named_with_the_rule_and_the_remedy(name_files, files, message):
    name_files(files)
    with pytest.raises(ValueError, match=message):
        all_benchmarks()


def test_a_name_that_two_files_share_and_an_absent_file_are_refused(name_files, tmp_path, monkeypatch, capsys):
    name_files({"more.py": MODULE, "other_stops.jsonl": lines(ROW)})
    with pytest.raises(ValueError, match="there is a benchmark 'other_stops' already"):
        all_benchmarks()
    monkeypatch.setenv(OWN_VARIABLE, str(tmp_path / "absent.jsonl"))
    assert main(["check", "--benchmark", "embedded"]) == 2
    assert "absent.jsonl', which is no file; name files, divided by a colon" in capsys.readouterr().err
