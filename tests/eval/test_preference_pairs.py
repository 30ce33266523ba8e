"""Preference pairs: right over wrong of one item, and never long over short, or short over long."""

import json
import random
from pathlib import Path

import pytest

from codeft_assets.exercises.__main__ import main as write_exercises
from codeft_assets.exercises.composition import Composition
from codeft_assets.exercises.exercise import make_exercise
from codeft_eval.__main__ import main
from codeft_eval.scoring.preference_pairs import MAX_MEAN_DIFFERENCE, make_pairs


def sample(item, completion, verdict):
    return {"task_id": item, "prompt": "def f():\n", "completion": completion, "verdict": verdict}


def test_a_pair_is_a_right_and_a_wrong_completion_of_one_item():
    found = make_pairs(
        [
            sample("a", "return 1", "passed"), sample("a", "return 2", "failed"), sample("a", "return 2", "failed"),
            sample("b", "return 3", "passed"), sample("b", "return 3", "passed"),
            sample("c", "return 4", "failed"), sample("d", "return 5", "unscored"),
            sample("e", "return 6", "passed"), sample("e", "return 6", "failed"), sample("e", "", "failed"),
            sample("f", "return 7", "passed"), sample("f", "return 7\n" * 40, "failed"),
        ]
    )  # fmt: skip
    (pair,) = found.pairs
    assert (pair.item, pair.prompt, pair.chosen, pair.rejected) == ("a", "def f():\n", "return 1", "return 2")
    assert found.num_items == 6
    # a text that passed and failed is neither; a loop of the same line is not the fellow of one line
    assert found.left_out == {"all passed": 1, "none passed": 2, "lengths too far apart": 2}


def test_right_completions_are_not_longer_on_average():
    """Right ones are longer, as they are where a model forgets a case; the pairs do not show it."""
    rng, rows = random.Random(3), []
    for item in range(200):
        for number in range(4):
            is_right = number % 2 == 0
            length = rng.randint(40, 80) + (8 if is_right else 0)
            rows.append(sample(f"{item}", f"{number}" * length, "passed" if is_right else "failed"))
    found = make_pairs(rows)
    chosen, rejected = found.mean_chars()
    assert abs(chosen - rejected) <= MAX_MEAN_DIFFERENCE * (chosen + rejected) / 2
    assert len(found.pairs) > 150
    assert found.left_out["balance of lengths"] > 0
    texts = [text for pair in found.pairs for text in ((pair.item, pair.chosen), (pair.item, pair.rejected))]
    assert len(set(texts)) == len(texts)


def test_a_benchmark_gives_no_pairs(tmp_path, capsys):
    from tests.eval.test_strategy_runs import ITEMS, WRONG, write_run

    run = write_run(tmp_path / "run", [[(item.solution, "passed"), (WRONG, "failed")] for item in ITEMS])
    assert main(["pairs", "--runs", str(run), "--output", str(tmp_path / "pairs")]) == 2
    assert "'embedded', which measures models and must not train them" in capsys.readouterr().err
    assert not (tmp_path / "pairs").exists()


@pytest.fixture
def practice(tmp_path, monkeypatch):
    path = tmp_path / "practice.jsonl"
    assert write_exercises(["--practice", str(path), "--number", "6", "--seed", "11"]) == 0
    monkeypatch.setenv("CODEFT_OWN_BENCHMARKS", str(path))
    return path


def test_exercises_to_practise_on_are_never_held_out(practice):
    rows = [json.loads(line) for line in practice.read_text().splitlines()]
    compositions = [make_exercise(11, number).composition for number in range(6)]
    assert all(isinstance(one, Composition) and not one.is_held_out for one in compositions)
    assert [row["task_id"] for row in rows] == [f"practice/{number}" for number in range(6)]
    shipped = Path("codeft_eval/data/composed.jsonl").read_text()
    assert not any(json.dumps(row["prompt"]) in shipped for row in rows)


def test_pairs_are_written_with_the_facts_about_them(practice, tmp_path, capsys):
    solutions = [json.loads(line) for line in practice.read_text().splitlines()]
    longer, shorter = (
        (lambda text: text.replace("return ", "return not ")),
        (lambda text: text.replace("return ", "x = ")),
    )

    def pairs_of(name, is_right):
        stored = tmp_path / f"{name}.jsonl"
        with stored.open("w") as lines:
            for number, row in enumerate(solutions):
                wrong = (longer, shorter)[number % 2](row["canonical_solution"])
                for text in (row["canonical_solution"] if is_right else f"{wrong}\n", wrong):
                    lines.write(json.dumps({"task_id": row["task_id"], "completion": text}) + "\n")
        run = ["--output", str(tmp_path / name)]
        assert main(["replay", "--benchmark", "practice", "--generations", str(stored), *run]) == 0
        return main(["pairs", "--runs", str(tmp_path / name), "--output", str(tmp_path / f"{name}-pairs")])

    assert pairs_of("wrong", is_right=False) == 2
    assert "{'none passed': 6}; draw more samples (--num-samples), or easier exercises" in capsys.readouterr().err
    assert pairs_of("right", is_right=True) == 0
    facts = json.loads((tmp_path / "right-pairs" / "pairs.json").read_text())
    rows = [json.loads(line) for line in (tmp_path / "right-pairs" / "pairs.jsonl").read_text().splitlines()]
    assert facts["num_pairs"] == len(rows) > 2
    assert facts["benchmarks"] == ["practice"]
    assert facts["model_hash"].startswith("replay")
    known = {row["task_id"]: row for row in solutions}
    assert all(row["chosen"] == known[row["item"]]["canonical_solution"] for row in rows)
