"""A training or evaluation that fails says why in the row of its step: value, rule and remedy, and no frame of ours."""

import sys

import dagster as dg
import pytest

from codeft_assets.base.report import out_of_memory
from codeft_assets.defs.messages import program_client
from tests.training.children import TINY

NO_MEMORY = """
import resource, sys, torch
from codeft_training.__main__ import main
from codeft_training.model import forward
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**29, -1))
sys.exit(main(sys.argv[1:]))
"""
BROKEN = """
from codeft_assets.base.report import open_reporter
with open_reporter() as reporter:
    {}["checkpoint"]
"""
TRAIN = ["-m", "codeft_training", "train"]


def failure_of(arguments):
    """Return the error that the row of the step shows."""

    @dg.asset
    def program(context: dg.AssetExecutionContext, pipes: dg.PipesSubprocessClient):
        return pipes.run(command=[sys.executable, *arguments], context=context).get_materialize_result()

    with dg.DagsterInstance.ephemeral() as instance:
        resources = {"pipes": program_client()}
        done = dg.materialize([program], instance=instance, resources=resources, raise_on_error=False)
        [failed] = [e for e in done.all_events if e.event_type is dg.DagsterEventType.STEP_FAILURE]
    return failed.step_failure_data.error


def options(made, output, **changes):
    chosen = [f"--set={name}={value}" for name, value in (TINY | changes).items()]
    return ["--packed", str(made / "packed"), "--tokenizer", str(made / "tokenizer"), "--output", str(output), *chosen]


CASES = {
    "a field out of its range": (TRAIN, {"max_steps": 0}, "recipe 'smoke': max_steps = 0 must be at least 1"),
    "too little memory": (["-c", NO_MEMORY, "train"], {"hidden_size": 8192}, "out of memory"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_training_that_fails_gives_its_reason(made, tmp_path, case):
    program, changes, reason = CASES[case]
    error = failure_of([*program, *options(made, tmp_path / "run", **changes)])
    assert reason in error.message.splitlines()[0]
    assert (error.stack, error.cause, error.context) == ([], None, None)
    assert "External execution process failed" not in error.to_string()


def test_a_training_without_data_says_what_to_materialize(made, tmp_path):
    (tmp_path / "packed").mkdir()
    error = failure_of([*TRAIN, *options(made, tmp_path / "run"), "--packed", str(tmp_path / "packed")])
    assert "has no manifest.json; materialize corpus/packed first" in error.message.splitlines()[0]


def test_an_evaluation_that_fails_gives_its_reason(tmp_path):
    command = ["-m", "codeft_eval", "run", "--benchmark", "embedded", "--output", str(tmp_path / "o")]
    error = failure_of([*command, "--checkpoint", str(tmp_path / "none")])
    assert str(tmp_path / "none") in error.message.splitlines()[0]


def test_a_fault_of_the_program_is_named_by_its_error():
    assert "KeyError: 'checkpoint' (its traceback is in the stderr of this step)" in failure_of(["-c", BROKEN]).message


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ("os.kill(os.getpid(), 9)", "killed (SIGKILL): most often the machine was out of memory; lower batch_rows"),
        ("os.kill(os.getpid(), 15)", "asked to end (SIGTERM); materialize again: it goes on"),
        ("sys.exit(143)", "asked to end (SIGTERM); materialize again: it goes on"),
        ("os.kill(os.getpid(), 11)", "ended with signal 11 and gave no reason; read the stderr"),
        ("sys.exit(3)", "ended with exit code 3 and gave no reason; read the stderr"),
    ],
)
def test_a_program_that_says_nothing_is_judged_by_its_end(end, reason):
    assert reason in failure_of(["-c", f"import os, sys; {end}"]).message.splitlines()[0]


def test_memory_that_ran_out_is_told_from_other_errors():
    import numpy as np
    import torch

    with pytest.raises(MemoryError) as by_numpy:
        np.empty(2**50)
    with pytest.raises(RuntimeError) as by_torch:
        torch.empty(2**50)
    assert out_of_memory(by_numpy.value).startswith("out of memory: Unable to allocate")
    assert "can't allocate memory" in out_of_memory(by_torch.value)
    assert out_of_memory(MemoryError()) == "out of memory"
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert not out_of_memory(RuntimeError("shape"))
