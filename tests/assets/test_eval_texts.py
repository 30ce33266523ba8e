"""Evaluation texts: held out, the same every time, few."""

import json

import polars as pl

from codeft_assets.stages.eval_texts import MAX_CHARS, MAX_TEXTS, eval_text_lines
from codeft_training.measure.eval_texts import read_eval_texts

SOLVED = [("codeft/0", "def f(x):\n", "    return x\n")]
COMPETITION = [("comp-math/0", "Problem. Find x.\n\nSolution.", " x = 1.\n")]


def documents(*rows):
    return pl.DataFrame(rows, schema=["document_id", "domain", "split", "text"], orient="row")


def domains(lines):
    return [json.loads(line)["domain"] for line in lines.splitlines()]


def test_only_held_out_documents_are_weighed():
    corpus = documents(
        ("b", "code", "train", "trained on"), ("c", "code", "validation", "x = 1"), ("d", "math", "validation", "other")
    )
    lines = eval_text_lines(corpus, COMPETITION, {"embedded": SOLVED})
    assert domains(lines) == ["code", "competition_math", "embedded"]
    assert "trained on" not in lines
    assert "other" not in lines


def test_the_order_of_the_documents_changes_nothing():
    rows = [(str(i), "code", "validation", f"x = {i}") for i in range(100)]
    found = [eval_text_lines(documents(*part), COMPETITION, {"embedded": SOLVED}) for part in (rows, rows[::-1])]
    assert found[0] == found[1]


def test_a_domain_has_few_and_short_texts():
    rows = [(str(i), "code", "validation", "x" * 5000) for i in range(100)]
    found = [json.loads(line) for line in eval_text_lines(documents(*rows), [], {}).splitlines()]
    assert len(found) == MAX_TEXTS
    assert {len(row["text"]) for row in found} == {MAX_CHARS}


def test_training_reads_what_is_written(tmp_path):
    odd = "a\u2028b \u0085 café\n"
    corpus = documents(("a", "code", "validation", odd), ("b", "code", "validation", "  \n"))
    (tmp_path / "eval_texts.jsonl").write_text(eval_text_lines(corpus, COMPETITION, {"embedded": SOLVED}))
    found = read_eval_texts(tmp_path / "eval_texts.jsonl")
    assert [(text.domain, text.context, text.text) for text in found] == [
        ("code", "", odd),
        ("competition_math", "Problem. Find x.\n\nSolution.", " x = 1.\n"),
        ("embedded", "def f(x):\n", "    return x\n"),
    ]
