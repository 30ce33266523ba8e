"""Fine-tuning by TRL: guarded like our own loop, with all weights or with low-rank additions only."""

import dataclasses
import json
import resource

import pytest
import torch

from codeft_training.measure import evaluation
from codeft_training.recipe_groups import DataConfig
from codeft_training.train import lora
from codeft_training.train.checkpoints import latest_valid
from codeft_training.train.run import train
from codeft_training.train.trainer_settings import micro_batch
from tests.training.children import Bombs, Collected, eight_kills, finetuning_run, training_run

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def base(made, tmp_path_factory):
    output = tmp_path_factory.mktemp("base")
    train(training_run(made, output, max_steps=2), Collected())
    return output / "checkpoint"


def losses(reporter):
    return {entry["step"]: entry["loss"] for entry in reporter.observed if "loss" in entry}


def test_the_engine_reports_what_our_own_loop_reports(made, base, tmp_path):
    reporter = Collected()
    result = train(finetuning_run(made, base, tmp_path), reporter)
    entry = next(entry for entry in reporter.observed if "loss" in entry)
    assert set(entry) == {
        "step", "loss", "learning_rate", "grad_norm", "num_tokens", "tokens_per_second", "tflops_per_second",
        "num_skipped_steps", "num_masked_steps", "seconds",
    }  # fmt: skip
    own = Collected()
    train(training_run(made, tmp_path / "own"), own)
    assert set(next(entry for entry in own.observed if "loss" in entry)) == set(entry)
    assert {"bits_per_byte", "bits_per_byte_code"} <= set(result["validation"])


@pytest.mark.parametrize("lora_rank", [0, 2])
def test_prompts_are_continued_while_it_trains_and_no_weight_is_changed(made, base, tmp_path, monkeypatch, lora_rank):
    monkeypatch.setattr(evaluation, "MAX_SHARE", 1e9)
    text = {"domain": "embedded", "context": "def one():\n", "text": "    return 1\n", "item": "one"}
    (tmp_path / "eval_texts.jsonl").write_text(json.dumps(text) + "\n")
    reporter, plain = Collected(), finetuning_run(made, base, tmp_path / "plain", lora_rank=lora_rank)
    evaluated = dataclasses.replace(plain, output=tmp_path / "evaluated", eval_texts=tmp_path / "eval_texts.jsonl")
    assert train(plain, Collected())["weights_hash"] == train(evaluated, reporter)["weights_hash"]
    written = [entry for entry in reporter.observed if "completions" in entry]
    assert [(entry["step"], list(entry["completions"])) for entry in written] == [(6, ["one"]), (12, ["one"])]


def test_low_rank_additions_are_merged_into_a_checkpoint_like_any_other(made, base, tmp_path):
    from safetensors.torch import load_file

    result = train(finetuning_run(made, base, tmp_path, lora_rank=2, learning_rate=0.03), Collected())
    before, after = (load_file(folder / "model.safetensors") for folder in (base, tmp_path / "checkpoint"))
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    linear = {name for name in before if "_proj" in name}
    assert changed == linear | {"model.embed_tokens.weight"}  # of these only the rows of added tokens
    for name in linear:
        assert torch.linalg.matrix_rank(after[name] - before[name], rtol=1e-3) <= 2
    assert result["final_loss"] < result["first_loss"]


@pytest.mark.slow
def test_eight_kills_at_random_moments_change_no_bit_of_low_rank_additions(made, base, tmp_path):
    steps = {"max_steps": 30, "save_every_steps": 1, "validate_every_steps": 15, "accumulation_steps": 1}
    runs = [finetuning_run(made, base, tmp_path / name, lora_rank=2, **steps) for name in ("undisturbed", "killed")]
    undisturbed = train(runs[0], Collected())
    lines = eight_kills(runs[1], seed=11)
    assert sum("resuming from checkpoint-" in line for line in lines) == 8
    killed = json.loads((tmp_path / "killed" / "result.json").read_text())
    assert killed["weights_hash"] == undisturbed["weights_hash"]


def test_without_peft_a_recipe_that_wants_lora_says_what_to_install(made, base, tmp_path, monkeypatch):
    monkeypatch.setattr(lora, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"lora_rank = 4 needs peft.*pip install -e '\.\[lora\]', or set lora_rank=0"):
        train(finetuning_run(made, base, tmp_path, lora_rank=4), Collected())


@pytest.mark.parametrize(("rows", "wanted"), [(6, (6, 2)), (5, (4, 3)), (3, (3, 4)), (1, (1, 12))])
def test_any_micro_batch_keeps_the_global_batch(rows, wanted):
    assert micro_batch(DataConfig(batch_rows=6, accumulation_steps=2).rows_per_step, rows) == wanted


def test_out_of_memory_halves_the_micro_batch_and_goes_on_from_the_last_checkpoint(made, base, tmp_path, monkeypatch):
    from codeft_training.train.trl_adapter import GuardedTrainer

    whole, reporter = Collected(), Collected()
    train(finetuning_run(made, base, tmp_path / "whole"), whole)
    step = GuardedTrainer.training_step

    def more_than_two_rows_at_step_four(self, model, inputs, *rest, **more):
        if self.state.global_step == 4 and len(inputs["input_ids"]) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return step(self, model, inputs, *rest, **more)

    monkeypatch.setattr(GuardedTrainer, "training_step", more_than_two_rows_at_step_four)
    result = train(finetuning_run(made, base, tmp_path / "halved"), reporter)
    assert "out of memory: 2 rows a micro-batch from here on, the global batch stays" in reporter.lines
    assert "resuming from checkpoint-3" in reporter.lines
    assert result["num_tokens_seen"] == 12 * 512
    entries = [json.loads(line) for line in (tmp_path / "halved" / "metrics.jsonl").read_text().splitlines()]
    found = {entry["step"]: entry["loss"] for entry in entries if "loss" in entry}
    assert found == pytest.approx(losses(whole), abs=1e-3)


def test_a_full_disk_is_a_clear_error_and_the_last_checkpoint_stays_whole(made, base, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    run = finetuning_run(made, base, tmp_path)
    # from step 5 on the kernel refuses to write more than 10,000 bytes to a file, as on a full disk
    reporter = Bombs(5, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1])))
    try:
        with pytest.raises(OSError, match=r"cannot write .*checkpoint-6: .* run again: finished work is kept"):
            train(run, reporter)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert latest_valid(run.work).name == "checkpoint-3"
    result = train(run, Collected())
    assert (
        result["weights_hash"]
        == train(dataclasses.replace(run, output=tmp_path / "other"), Collected())["weights_hash"]
    )


def test_weights_that_are_no_number_are_not_saved(made, base, tmp_path, monkeypatch):
    from codeft_training.train.trl_adapter import GuardedTrainer

    step = GuardedTrainer.training_step

    def poisoned(self, model, *rest, **more):
        if self.state.global_step == 4:
            with torch.no_grad():
                model.model.norm.weight[0] = float("nan")
        return step(self, model, *rest, **more)

    monkeypatch.setattr(GuardedTrainer, "training_step", poisoned)
    run = finetuning_run(made, base, tmp_path, log_every_steps=12)  # the loss is not looked at before step 12
    with pytest.raises(FloatingPointError, match="weights at step 6 are not finite; lower learning_rate"):
        train(run, Collected())
    assert latest_valid(run.work).name == "checkpoint-3"


def test_a_loss_that_is_no_number_ends_the_run_and_is_never_logged_as_one(made, base, tmp_path):
    reporter = Collected()
    run = finetuning_run(made, base, tmp_path, learning_rate=1e30, max_grad_norm=1e30, warmup_fraction=0.0)
    with pytest.raises(FloatingPointError, match="not finite; lower learning_rate"):
        train(run, reporter)
    assert 0.0 not in losses(reporter).values()
