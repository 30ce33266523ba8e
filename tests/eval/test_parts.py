"""A run in parts: workers share the items, and the run of the whole is that of one program."""

import json
from dataclasses import replace

import pytest

from codeft_eval.__main__ import main
from codeft_eval.sandbox.pool import Sandbox
from codeft_eval.scoring import runs
from codeft_eval.scoring.options import Options
from codeft_eval.scoring.parts import items_of_part
from codeft_eval.scoring.runs import run_checkpoint
from tests.eval.checkpoints import write_checkpoint
from tests.eval.test_runs import FIVE, SHORT, digest


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("model") / "checkpoint")


@pytest.fixture(scope="module")
def parts(checkpoint, tmp_path_factory):
    folders = [tmp_path_factory.mktemp("parts") / str(number) for number in (1, 2)]
    for number, folder in enumerate(folders, 1):
        run_checkpoint(checkpoint, SHORT, folder, replace(FIVE, part=(number, 2)))
    return folders


def test_the_run_of_the_whole_asks_no_model_and_no_sandbox_again(checkpoint, parts, tmp_path, monkeypatch):
    whole = run_checkpoint(checkpoint, SHORT, tmp_path / "whole", FIVE)
    load = runs.load_language_model

    def refuse(*_, **__):
        pytest.fail("asked again")

    def mute(*args):
        model = load(*args)
        model.generate_until = model.loglikelihood = refuse
        return model

    monkeypatch.setattr(Sandbox, "submit", refuse)
    monkeypatch.setattr(runs, "load_language_model", mute)
    joined = run_checkpoint(checkpoint, SHORT, tmp_path / "joined", replace(FIVE, parts=parts))
    assert joined == whole
    for name in ("samples.jsonl", "scores.json"):
        assert digest(tmp_path / "joined" / name) == digest(tmp_path / "whole" / name)


def test_verdicts_that_were_changed_or_of_another_model_are_made_again(checkpoint, parts, tmp_path):
    path = parts[0] / "samples.jsonl"
    before = path.read_text()
    rows = [json.loads(line) | {"verdict": "passed", "reason": "passed"} for line in before.splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    joined = run_checkpoint(checkpoint, SHORT, tmp_path / "joined", replace(FIVE, parts=parts))
    assert joined.num_passed == 0
    path.write_text(before)
    other = write_checkpoint(tmp_path / "other", seed=5)
    assert run_checkpoint(other, SHORT, tmp_path / "o", replace(FIVE, parts=parts)) == replace(
        run_checkpoint(other, SHORT, tmp_path / "alone", FIVE)
    )


def test_parts_are_every_nth_item_and_together_all():
    items = list(range(7))
    found = [items_of_part(items, (number, 3), SHORT) for number in (1, 2, 3)]
    assert found == [[0, 3, 6], [1, 4], [2, 5]]
    with pytest.raises(ValueError, match=r"part 9/9 of 'embedded': there are 7 items; ask for fewer parts"):
        items_of_part(items, (9, 9), SHORT)
    with pytest.raises(ValueError, match="lm-eval runs its own tasks whole"):
        items_of_part(items, (1, 2), replace(SHORT, lm_eval_task="hellaswag"))


def test_a_part_that_is_none_is_refused(tmp_path, capsys):
    with pytest.raises(ValueError, match=r"part 3/2: the parts are 1/2 to 2/2"):
        Options(part=(3, 2))
    words = ["run", "--benchmark", "embedded", "--checkpoint", ".", "--output", str(tmp_path), "--part", "half"]
    assert main(words) == 2
    assert "'half' is not K/N, such as 1/4" in capsys.readouterr().err
