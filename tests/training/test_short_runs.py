"""Runs of few steps, and steps without anything to learn, are reported as what they are."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from codeft_assets.base.files import file_hash
from codeft_training.data.packed_rows import PackedRows
from codeft_training.train.run import train
from tests.training.children import Collected, finetuning_run, training_run


@pytest.fixture(scope="module")
def base(made, tmp_path_factory):
    output = tmp_path_factory.mktemp("base")
    train(training_run(made, output, max_steps=2), Collected())
    return output / "checkpoint"


@pytest.fixture(params=["pretraining", "fine-tuning"])
def make_run(request, made, base, tmp_path):
    def make(**changes):
        scratch = request.param == "pretraining"
        output = tmp_path / "output"
        return training_run(made, output, **changes) if scratch else finetuning_run(made, base, output, **changes)

    return make


def test_a_run_of_fewer_steps_than_are_logged_ends_with_a_loss(make_run):
    reporter = Collected()
    result = train(make_run(max_steps=3, log_every_steps=5), reporter)
    entries = [entry for entry in reporter.observed if "loss" in entry]
    assert [entry["step"] for entry in entries] == [3]
    assert result["first_loss"] == result["final_loss"] == entries[0]["loss"]


def test_held_out_documents_are_measured_before_the_first_step_once(make_run):
    run, reporter = make_run(max_steps=3), Collected()
    train(run, reporter)
    lines = (run.output / "metrics.jsonl").read_text().splitlines()
    steps = [entry["step"] for entry in map(json.loads, lines) if "validation_loss" in entry]
    assert steps == [0, 3]


def without_labels(made, folder, share):
    """Return a copy of the rows in which a share of the rows, the first ones of the run, has no token in the loss."""
    packed = PackedRows(shutil.copytree(made / "packed", folder))
    path, mask = folder / "train.loss.bin", np.array(packed.loss_mask("train"))
    order = packed.order(1).rows(0, 32, (0, 32))
    mask[order[: round(32 * share)]] = 0
    path.write_bytes(mask.tobytes())
    manifest = packed.manifest()
    manifest["files"]["train.loss.bin"] = file_hash(path)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return packed


@pytest.mark.parametrize("num_masked", [1, 2])
def test_a_step_without_a_token_in_the_loss_is_counted_and_has_no_loss(make_run, made, tmp_path, num_masked):
    packed = without_labels(made, tmp_path / "packed", num_masked / 4)  # 8 rows a step
    reporter, every_step = Collected(), Collected()
    train(replace(make_run(max_steps=4, log_every_steps=2), packed=packed, output=tmp_path / "two"), reporter)
    train(replace(make_run(max_steps=4), packed=packed, output=tmp_path / "one"), every_step)
    single = {entry["step"]: entry for entry in every_step.observed if "num_masked_steps" in entry}
    for step in range(1, 5):
        assert ("loss" in single[step]) == (step > num_masked)
        assert single[step]["num_masked_steps"] == min(step, num_masked)
    entries = {entry["step"]: entry for entry in reporter.observed if "num_masked_steps" in entry}
    assert entries[2]["num_masked_steps"] == entries[4]["num_masked_steps"] == num_masked
    if num_masked == 1:
        assert entries[2]["loss"] == pytest.approx(single[2]["loss"])
    else:
        assert "loss" not in entries[2]
    assert entries[4]["loss"] == pytest.approx((single[3]["loss"] + single[4]["loss"]) / 2)


def test_a_masked_step_changes_no_weight_of_our_own_loop(made, tmp_path):
    from safetensors.torch import load_file

    packed = without_labels(made, tmp_path / "packed", 1 / 4)
    run = training_run(made, tmp_path / "output", max_steps=1)
    train(replace(run, packed=packed), Collected())
    from codeft_training.train.run import initial_model

    after = load_file(tmp_path / "output" / "checkpoint" / "model.safetensors")
    for name, parameter in initial_model(run.recipe).named_parameters():
        if name in after:
            assert torch.equal(parameter, after[name])
