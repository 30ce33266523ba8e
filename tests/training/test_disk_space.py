"""The space that a run is said to need is what its files take; fine-tuning is checked as training from scratch is."""

import shutil
from types import SimpleNamespace

import pytest

from codeft_training.train.disk_space import run_size
from codeft_training.train.inputs import check_inputs
from codeft_training.train.run import train
from tests.training.children import Collected, finetuning_run, training_run


@pytest.fixture(scope="module")
def base(made, tmp_path_factory):
    output = tmp_path_factory.mktemp("base")
    train(training_run(made, output, max_steps=2), Collected())
    return output / "checkpoint"


def largest_state(run):
    return max(
        sum(file.stat().st_size for file in state.iterdir() if file.suffix in (".safetensors", ".pt"))
        for state in run.work.glob("checkpoint-*")
    )


@pytest.mark.parametrize("kind", ["muon", "adamw", "fine-tuned"])
def test_a_state_has_the_size_that_was_counted(made, base, tmp_path, kind):
    if kind == "fine-tuned":
        run = finetuning_run(made, base, tmp_path, max_steps=3, save_every_steps=1)
    else:
        run = training_run(made, tmp_path, max_steps=3, save_every_steps=1, optimizer=kind)
    size = run_size(run.recipe)
    train(run, Collected())
    assert largest_state(run) == pytest.approx(size.states / 3, rel=0.25)
    weights = (tmp_path / "checkpoint" / "model.safetensors").stat().st_size
    assert weights == pytest.approx(size.final_weights, rel=0.1)


def test_fine_tuning_is_refused_where_it_does_not_fit(made, base, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    with pytest.raises(
        OSError, match=r"has 1,000 bytes free, the run needs .* states of .* free space first, or choose"
    ):
        check_inputs(finetuning_run(made, base, tmp_path))
