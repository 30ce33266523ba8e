"""A training process ends with its parent and on SIGTERM, and saves its state before: no orphan stays on a GPU."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from codeft_training.train import signals
from codeft_training.train.checkpoints import latest_valid
from tests import patience
from tests.training.children import Bombs, Collected, finetuning_run, training_run
from tests.training.test_train import ROOT, command

PARENT = """
import subprocess, sys
child = subprocess.Popen(sys.argv[1:])
child.wait()
"""
ENDLESS = {"max_steps": 100_000, "save_every_steps": 100_000, "validate_every_steps": 100_000}


def orphaned(made, output, *, processes=1):
    """Start training below a parent, SIGKILL the parent at step 3, and return the log up to the child's end."""
    arguments = [*command(made, output, **ENDLESS), "--processes", str(processes)]
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, *arguments], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}, start_new_session=True,
    )  # fmt: skip
    group = parent.pid
    watchdog = threading.Timer(patience.SECONDS, os.killpg, (group, signal.SIGKILL))
    watchdog.start()
    lines = []
    for line in parent.stderr:  # the child writes to the same pipe: it ends only when the child has ended
        lines.append(line)
        if line.startswith("step 3/"):
            parent.kill()
    parent.wait()
    left_by_itself = watchdog.is_alive()
    watchdog.cancel()
    assert left_by_itself, "".join(lines)
    return lines


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_run_whose_parent_is_killed_saves_its_state_and_ends(made, tmp_path, processes):
    lines = orphaned(made, tmp_path, processes=processes)
    (work,) = (tmp_path / "runs").iterdir()
    found = latest_valid(work)
    assert found is not None, "".join(lines)
    assert int(found.name.removeprefix("checkpoint-")) < 90_000


def test_a_process_that_does_not_stop_leaves_after_its_grace(monkeypatch):
    left, gone = [], threading.Event()
    monkeypatch.setattr(signals, "GRACE_SECONDS", 0.01)
    monkeypatch.setattr(signals.os, "_exit", lambda code: (left.append(code), gone.set()))
    stop = signals.StopRequest()
    stop._watch(parent_id=-1)  # no process has this id: the parent is gone
    assert gone.wait(patience.SECONDS)
    assert stop.is_set
    assert left == [1]


@pytest.mark.parametrize("engine", ["pretraining", "fine-tuning"])
def test_on_sigterm_the_step_is_finished_saved_and_the_run_stopped(made, tmp_path, engine):
    from codeft_training.run_spec import Stopped
    from codeft_training.train.run import train

    def run_in(output):
        if engine == "pretraining":
            return training_run(made, output)
        return finetuning_run(made, tmp_path / "base" / "checkpoint", output)

    if engine == "fine-tuning":
        train(training_run(made, tmp_path / "base", max_steps=2), Collected())
    undisturbed = train(run_in(tmp_path / "undisturbed"), Collected())
    run = run_in(tmp_path / "stopped")
    with pytest.raises(Stopped, match="stopped at step [56] of 12; the state is saved"):
        train(run, Bombs(5, lambda: os.kill(os.getpid(), signal.SIGTERM)))
    assert latest_valid(run.work).name in {"checkpoint-5", "checkpoint-6"}
    assert train(run, Collected())["weights_hash"] == undisturbed["weights_hash"]
