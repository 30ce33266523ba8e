"""The rule that holds problems out, and the command that writes them down."""

import hashlib
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from codeft_eval.__main__ import main
from codeft_eval.benchmarks.catalogue import BENCHMARKS
from codeft_eval.benchmarks.competition_math import read_competition_math
from codeft_eval.benchmarks.datafiles import FOLDER_VARIABLE, read_rows, rows_sha256
from codeft_eval.benchmarks.held_out_problems import SHARE, Problem, held_out_rows
from codeft_eval.benchmarks.math_answers import reference_answer
from codeft_eval.scoring.graders import open_grader
from codeft_eval.scoring.options import Options
from codeft_eval.scoring.runs import run_checkpoint
from codeft_eval.scoring.samples import read_samples
from tests.eval.checkpoints import write_checkpoint

HELD_OUT = [f"Find the value of {i} + 1." for i in range(100) if Problem(f"Find the value of {i} + 1.", "").is_held_out]
TRAINED = "Find the value of 0 + 1."


def document(number, problem, solution=""):
    turns = [{"role": "user", "content": problem}, {"role": "assistant", "content": solution}] if solution else None
    return {"document_id": f"d{number}", "messages": turns, "text": "\n\n".join(filter(None, [problem, solution]))}


def write_table(folder, documents):
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(documents), folder / "0.parquet")
    pq.write_table(pa.Table.from_pylist([document(99, HELD_OUT[1])]), folder / "left-over.parquet")
    (folder / "manifest.json").write_text(json.dumps({"shards": [{"path": "0.parquet"}]}))
    return folder


def test_the_rule_is_what_it_says_and_ignores_case_and_white_space():
    assert not Problem(TRAINED, "").is_held_out
    digest = hashlib.sha256(b"comp-math held out 5\0find the value of 0 + 1.").hexdigest()
    assert Problem("FIND the  value\nof 0 + 1. ", "a solution").key == Problem(TRAINED, "").key == digest
    share = sum(Problem(f"Problem {i}", "").is_held_out for i in range(10_000)) / 10_000
    assert share == pytest.approx(1 / SHARE, abs=0.01)


def test_copies_of_a_problem_are_one_row_that_names_every_document():
    first, second = HELD_OUT[:2]
    documents = [
        document(0, first),
        document(1, TRAINED, "1"),
        document(2, first.upper(), "1 + 1 = 2."),
        document(3, second),
    ]
    rows = held_out_rows(documents)
    assert rows == held_out_rows(documents[::-1])
    assert sorted(row["document_ids"] for row in rows) == [["d0", "d2"], ["d3"]]
    assert {row["answer"] for row in rows} == {"2", ""}


@pytest.mark.parametrize(
    ("problem", "solution", "answer"),
    [
        ("Compute x.", "Hence x = 3/4.", "3/4"),
        ("Find x.", r"so $x = \frac{3}{4}$.", r"\frac{3}{4}"),
        ("Find x.", r"It is \boxed{7}, since 3 = 3.", "7"),
        ("How many are there?", "The answer is 12.", "12"),
        ("What is f(0)?", "f(0) = 1,200", "1,200"),
        ("Find x.", "x = 3 or so, as one sees.", ""),
        ("Show that x = 3.", "Hence x = 3.", ""),
        ("Find all pairs.", "(x, y) = (2, 2)", ""),
    ],
)
def test_an_answer_is_known_where_the_problem_asks_for_a_value_and_the_solution_ends_on_one(problem, solution, answer):
    assert reference_answer(problem, solution) == answer


def test_the_command_writes_the_rows_with_their_number_and_hash(tmp_path, capsys, monkeypatch):
    table = write_table(tmp_path / "table", [document(0, HELD_OUT[0], "It is 1 + 1 = 2."), document(1, TRAINED)])
    assert main(["hold-out", "--documents", str(table), "--output", str(tmp_path / "out")]) == 0
    rows = [json.loads(line) for line in (tmp_path / "out" / "competition_math.jsonl").read_text().splitlines()]
    facts = json.loads((tmp_path / "out" / "held_out.json").read_text())
    assert [row["problem"] for row in rows] == [HELD_OUT[0]]  # and nothing of a file that the manifest does not name
    assert (facts["num_held_out"], facts["num_with_answer"], facts["rows_sha256"]) == (1, 1, rows_sha256(rows))
    assert facts["rows_sha256"] in capsys.readouterr().out
    monkeypatch.setenv(FOLDER_VARIABLE, f"{tmp_path / 'nowhere'}:{tmp_path / 'out'}")
    read_rows.cache_clear()
    assert len(read_rows(BENCHMARKS["competition_math"].data)) == 1


def test_what_is_missing_is_said_with_its_remedy(tmp_path, capsys, monkeypatch):
    assert main(["hold-out", "--documents", str(tmp_path), "--output", str(tmp_path / "out")]) == 2
    assert "has no manifest.json; materialize documents/comp-math first" in capsys.readouterr().err
    table = write_table(tmp_path / "table", [document(1, TRAINED)])
    assert main(["hold-out", "--documents", str(table), "--output", str(tmp_path / "out")]) == 2
    assert "holds out none of them; materialize more" in capsys.readouterr().err
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    read_rows.cache_clear()
    with pytest.raises(ValueError, match=r"built by `python -m codeft_eval hold-out`.* that CODEFT_BENCHMARKS names"):
        read_rows(BENCHMARKS["competition_math"].data)


def test_a_problem_without_an_answer_has_a_likelihood_and_asks_the_model_for_no_completion(tmp_path, monkeypatch):
    table = write_table(tmp_path / "table", [document(0, HELD_OUT[0], "1 + 1 = 2."), document(1, HELD_OUT[1])])
    main(["hold-out", "--documents", str(table), "--output", str(tmp_path)])
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    read_rows.cache_clear()
    score = run_checkpoint(write_checkpoint(tmp_path / "m"), BENCHMARKS["competition_math"], tmp_path / "o", Options())
    assert (score.num_scored, score.num_unscored) == (1, 1)
    assert score.unscored_reasons == {"no_reference_answer": 1}
    assert score.metrics["bits_per_byte"].n == 2
    completions = {bool(sample["completion"]): sample["reason"] for sample in read_samples(tmp_path / "o")}
    assert completions[False] == "no_reference_answer"
    assert True in completions


def test_a_completion_is_right_by_the_rule_that_read_the_reference_answer():
    row = {"task_id": "t", "problem": "Find x.", "solution": "x = 80.", "answer": "80"}
    item = next(iter(read_competition_math([row], ())))
    with open_grader(BENCHMARKS["competition_math"]) as grader:
        texts = [item.solution, " so x = 80", r" \boxed{80.0}", " x = 81.", ""]
        found = grader.grade([item] * len(texts), texts)
    assert [outcome.verdict for outcome in found] == ["passed"] * 3 + ["failed"] * 2
