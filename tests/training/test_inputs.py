"""Before the first step: recipe, rows, tokenizer and base model belong together, and a run is named by its content."""

import json
import os
import shutil
import signal
from dataclasses import replace

import pytest
import torch

from codeft_training.data.corpus import Corpus
from codeft_training.data.packed_rows import PackedRows
from codeft_training.data.packing import pack
from codeft_training.data.tokenizer import train_tokenizer
from codeft_training.train.checkpoints import latest_valid
from codeft_training.train.inputs import check_inputs
from codeft_training.train.run import train
from tests.training.children import SERVER, Bombs, Collected, finetuning_run, training_run

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def base(made, tmp_path_factory):
    output = tmp_path_factory.mktemp("base")
    train(training_run(made, output, max_steps=2), Collected())
    return output / "checkpoint"


@pytest.fixture(scope="module")
def smaller(made, tmp_path_factory):
    """Another tokenizer, and rows that were packed with it."""
    folder = tmp_path_factory.mktemp("smaller")
    train_tokenizer(Corpus(made / "corpus"), folder / "tokenizer", vocab_size=294)
    pack(Corpus(made / "corpus"), folder / "tokenizer", folder / "packed", context_tokens=64)
    return folder


def with_config(base, folder, **changes):
    """Return a copy of a base model with another configuration."""
    shutil.copytree(base, folder)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


@pytest.mark.parametrize("make_run", [training_run, lambda *where: finetuning_run(where[0], "no-model", where[1])])
def test_rows_of_another_tokenizer_are_refused_and_both_are_named(made, smaller, tmp_path, make_run):
    run = replace(make_run(made, tmp_path), packed=PackedRows(smaller / "packed"))
    both = rf"rows in '{smaller}/packed' were packed with a tokenizer of 294 tokens .*'{made}/tokenizer' has 320 tokens"
    with pytest.raises(ValueError, match=f"{both} .* materialize corpus/packed again"):
        check_inputs(run)


def test_a_tokenizer_that_is_not_the_base_models_is_refused_and_both_are_named(made, smaller, base, tmp_path):
    run = finetuning_run(made, base, tmp_path)
    run = replace(run, packed=PackedRows(smaller / "packed"), tokenizer=smaller / "tokenizer")
    both = rf"base_model '{base}' knows the token .* by another id than the tokenizer in '{smaller}/tokenizer'"
    with pytest.raises(ValueError, match=f"{both}, which has 294 tokens"):
        check_inputs(run)


def test_a_base_without_its_tokenizer_is_refused(made, base, tmp_path):
    bare = shutil.copytree(base, tmp_path / "bare", ignore=shutil.ignore_patterns("*token*", "*.jinja"))
    with pytest.raises(
        ValueError, match=r"base model in '.*bare' has no tokenizer.json, .*save its tokenizer beside it"
    ):
        check_inputs(finetuning_run(made, bare, tmp_path / "output"))


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"vocab_size": 319}, "has an embedding of 319 rows, the tokenizer 320 ids"),
        ({"max_position_embeddings": 63}, "knows 63 positions, the rows have 64 tokens; set context_tokens"),
    ],
)
def test_a_base_that_is_too_small_for_the_rows_is_refused(made, base, tmp_path, change, rule):
    small = with_config(base, tmp_path / "small", **change)
    with pytest.raises(ValueError, match=rule):
        check_inputs(finetuning_run(made, small, tmp_path / "output"))


@pytest.mark.parametrize("size", ["vocab_size", "max_position_embeddings"])
def test_the_sizes_of_a_base_are_inclusive(made, base, tmp_path, size):
    exact = with_config(base, tmp_path / "exact", **{size: {"vocab_size": 320, "max_position_embeddings": 64}[size]})
    check_inputs(finetuning_run(made, exact, tmp_path / "output"))


def test_a_model_has_a_row_for_each_token_at_least(made, tmp_path):
    check_inputs(training_run(made, tmp_path, vocab_size=320))
    with pytest.raises(ValueError, match=r"tokenizer has 320 tokens, recipe 'smoke' has vocab_size = 319; .*=320"):
        check_inputs(training_run(made, tmp_path, vocab_size=319))


def test_rows_without_a_record_of_their_tokenizer_are_packed_again(made, tmp_path):
    packed = shutil.copytree(made / "packed", tmp_path / "packed")
    manifest = json.loads((packed / "manifest.json").read_text())
    del manifest["vocabulary_hash"]
    (packed / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=r"320 tokens \(vocabulary not recorded\).*materialize corpus/packed again"):
        check_inputs(replace(training_run(made, tmp_path / "output"), packed=PackedRows(packed)))


def test_a_base_that_is_neither_a_folder_nor_on_the_hub_is_refused(made, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        ValueError, match=r"'no/model' is no folder, and HF_HUB_OFFLINE keeps .*; check the name, .* and HF_TOKEN"
    ):
        check_inputs(finetuning_run(made, "no/model", tmp_path))
    with pytest.raises(ValueError, match=r"base_model '\./no-model' does not exist; choose a model's folder"):
        check_inputs(finetuning_run(made, "./no-model", tmp_path))


def test_a_base_is_its_content_not_its_path(made, base, tmp_path):
    here, there = shutil.copytree(base, tmp_path / "here"), shutil.copytree(base, tmp_path / "there")
    before = finetuning_run(made, here, tmp_path / "output").identity
    assert finetuning_run(made, there, tmp_path / "output").identity == before
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(there)
    with torch.no_grad():
        model.model.norm.weight += 1
    model.save_pretrained(here)
    assert finetuning_run(made, here, tmp_path / "output").identity != before


def test_a_base_whose_weights_changed_is_fine_tuned_again(made, base, tmp_path):
    folder = shutil.copytree(base, tmp_path / "base")
    run = finetuning_run(made, folder, tmp_path / "output", max_steps=2)
    first = train(run, Collected())
    train(training_run(made, tmp_path / "other", max_steps=2, seed=5), Collected())
    shutil.copy(tmp_path / "other" / "checkpoint" / "model.safetensors", folder)
    assert train(run, Collected())["weights_hash"] != first["weights_hash"]


def test_a_result_never_replaces_its_own_base(made, base, tmp_path):
    shutil.copytree(base, tmp_path / "checkpoint")
    before = (tmp_path / "checkpoint" / "model.safetensors").read_bytes()
    with pytest.raises(ValueError, match=r"base_model .* would be replaced by the result, .*choose another --output"):
        train(finetuning_run(made, tmp_path / "checkpoint", tmp_path), Collected())
    assert (tmp_path / "checkpoint" / "model.safetensors").read_bytes() == before


def killed_between_the_renames(run):
    """Train in this process, and end it when the old checkpoint has stepped aside and the new one is not there yet."""
    from pathlib import Path

    rename = Path.rename

    def rename_and_die(self, target):
        if self.name.startswith(".tmp-") and Path(target).name == "checkpoint":
            os.kill(os.getpid(), signal.SIGKILL)
        return rename(self, target)

    Path.rename = rename_and_die
    torch.set_num_threads(1)
    train(run, Collected())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["from scratch", "fine-tuned"])
def test_a_kill_between_the_renames_of_the_last_step_is_recovered_from(made, base, tmp_path, kind):
    def make_run(output, **changes):
        scratch = kind == "from scratch"
        return training_run(made, output, **changes) if scratch else finetuning_run(made, base, output, **changes)

    expected = train(make_run(tmp_path / "undisturbed"), Collected())
    train(make_run(tmp_path / "killed", seed=2, max_steps=2), Collected())  # an old result, which steps aside
    run = make_run(tmp_path / "killed")
    process = SERVER.Process(target=killed_between_the_renames, args=(run,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "checkpoint").exists()
    reporter = Collected()
    assert train(run, reporter)["weights_hash"] == expected["weights_hash"]
    assert "resuming from checkpoint-12" in reporter.lines
    left = {path.name for path in (tmp_path / "killed").iterdir()}
    assert left == {"checkpoint", "metrics.jsonl", "result.json", "runs"}


class Interrupt(Exception):  # noqa: N818  no error of the run
    """Ends a run in the middle."""


def interrupt():
    raise Interrupt


@pytest.mark.parametrize("engine", ["pretraining", "fine-tuning"])
@pytest.mark.parametrize(
    "change",
    [
        {"log_every_steps": 2, "save_every_steps": 4, "validate_every_steps": 5, "validation_rows": 8},
        {"batch_rows": 8, "accumulation_steps": 1},
        {"batch_rows": 2, "accumulation_steps": 4},
    ],
    ids=lambda change: " ".join(change),
)
def test_cadence_and_micro_batches_do_not_begin_a_run_again(made, base, tmp_path, engine, change):
    def make_run(output, **changes):
        scratch = engine == "pretraining"
        return training_run(made, output, **changes) if scratch else finetuning_run(made, base, output, **changes)

    with pytest.raises(Interrupt):
        train(make_run(tmp_path / "run"), Bombs(7, interrupt))
    assert latest_valid(make_run(tmp_path / "run").work).name == "checkpoint-6"
    reporter = Collected()
    result = train(make_run(tmp_path / "run", **change), reporter)
    assert "resuming from checkpoint-6" in reporter.lines
    expected = train(make_run(tmp_path / "undisturbed"), Collected())
    assert result["num_tokens_seen"] == expected["num_tokens_seen"]
    if "batch_rows" in change:  # sums of other parts, rounded elsewhere
        assert result["final_loss"] == pytest.approx(expected["final_loss"], abs=1e-4)
    else:
        assert result["weights_hash"] == expected["weights_hash"]


def test_another_run_begins_anew_and_says_that_the_first_ones_state_is_there(made, tmp_path):
    with pytest.raises(Interrupt):
        train(training_run(made, tmp_path), Bombs(7, interrupt))
    reporter = Collected()
    train(training_run(made, tmp_path, learning_rate=1e-4, max_steps=2), reporter)
    assert any(line.startswith("1 other runs have states in") for line in reporter.lines)
    assert not any("resuming" in line for line in reporter.lines)
