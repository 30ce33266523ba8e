"""A training on several machines: they find each other, and go on from what rank 0 has, whatever the others have."""

import json
import os
import shutil
import subprocess

import pytest

from codeft_training.__main__ import main
from codeft_training.train.launch import Nodes
from tests import patience
from tests.training.children import free_port, together, training_run
from tests.training.test_train import ROOT, command

STEPS = {"max_steps": 8, "save_every_steps": 2, "validate_every_steps": 4}


def weights_hash(output):
    return json.loads((output / "result.json").read_text())["weights_hash"]


@pytest.mark.parametrize("parallel", ["replicate", "shard"])
def test_all_go_on_from_the_state_of_rank_0_whatever_the_others_hold(made, tmp_path, parallel):
    changes = STEPS | {"parallel": parallel, "optimizer": "adamw"}
    first, second = (training_run(made, tmp_path / name, **changes) for name in ("first", "second"))
    together(first, second)
    undisturbed = weights_hash(first.output)
    assert not (second.output / "result.json").exists()  # rank 0 alone writes
    (first.output / "result.json").unlink()
    last = max(first.work.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    second.work.mkdir(parents=True, exist_ok=True)
    shutil.move(last, second.work / last.name)  # a later state than rank 0 has
    together(first, second)
    assert weights_hash(first.output) == undisturbed


def test_the_command_on_each_of_two_machines_is_one_run(made, tmp_path):
    nodes = ["--nodes", "2", "--rendezvous", f"127.0.0.1:{free_port()}"]
    started = [
        subprocess.Popen(
            [*command(made, tmp_path / f"node-{rank}", max_steps=3), *nodes, "--node-rank", str(rank)],
            cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        )
        for rank in (0, 1)
    ]  # fmt: skip
    assert [process.wait(patience.SECONDS) for process in started] == [0, 0]
    assert (tmp_path / "node-0" / "result.json").exists()
    assert not (tmp_path / "node-1" / "result.json").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--nodes", "2"], "--rendezvous '' is not host:port; name a free port of the machine of --node-rank 0"),
        (["--nodes", "2", "--rendezvous", "head"], "--rendezvous 'head' is not host:port"),
        (["--nodes", "2", "--rendezvous", "head:1", "--node-rank", "2"], "--node-rank 2 must be at least 0 and less"),
        (["--nodes", "0"], "--node-rank 0 must be at least 0 and less than --nodes 0"),
    ],
)
def test_machines_that_cannot_find_each_other_are_refused(made, tmp_path, capsys, options, message):
    assert main([*command(made, tmp_path)[3:], *options]) == 2
    assert message in capsys.readouterr().err


def test_torchrun_gets_its_own_words():
    assert Nodes().torchrun_options() == ["--standalone"]
    found = Nodes(3, 1, "head:29500").torchrun_options()
    assert found == ["--nnodes=3", "--node-rank=1", "--master-addr=head", "--master-port=29500"]
