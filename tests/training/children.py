"""Training runs in processes that begin quickly: a fork server has imported torch and transformers once."""

import multiprocessing
import random
import re
import signal
import socket

from codeft_training.data.packed_rows import PackedRows
from codeft_training.recipes import RECIPES
from codeft_training.run_spec import TrainingRun
from tests import patience

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    ["codeft_training.train.run", "codeft_training.train.pretrain", "codeft_training.train.trl_adapter"]
)
SHORT = {
    "context_tokens": 64,
    "batch_rows": 4,
    "accumulation_steps": 2,
    "max_steps": 12,
    "save_every_steps": 3,
    "validate_every_steps": 6,
    "log_every_steps": 1,
    "validation_rows": 64,
}
TINY = SHORT | {
    "vocab_size": 320,
    "hidden_size": 32,
    "num_layers": 1,
    "num_heads": 2,
    "num_kv_heads": 1,
    "intermediate_size": 48,
}


class Collected:
    """A reporter that keeps lines and observations."""

    def __init__(self):
        self.lines, self.observed = [], []

    def log(self, line):
        self.lines.append(line)

    def observe(self, values):
        self.observed.append(dict(values))

    def materialize(self, metadata, data_version): ...


class Bombs(Collected):
    """A reporter that does something at a step."""

    def __init__(self, step, what):
        super().__init__()
        self._step, self._what = step, what

    def log(self, line):
        super().log(line)
        if line.startswith(f"step {self._step}/"):
            self._what()


class Sent(Collected):
    """A reporter that sends each line to the process that started this one."""

    def __init__(self, connection):
        super().__init__()
        self._connection = connection

    def log(self, line):
        self._connection.send(line)


def run_of(made, output, recipe):
    return TrainingRun(
        packed=PackedRows(made / "packed"), tokenizer=made / "tokenizer", output=output, recipe=recipe, lineage={}
    )


def training_run(made, output, **changes):
    return run_of(made, output, RECIPES["smoke"].override(**(TINY | changes)))


def finetuning_run(made, base, output, **changes):
    settings = {"base_model": str(base), "learning_rate": 1e-3, "weight_decay": 0.05, "bf16": False}
    return run_of(made, output, RECIPES["qwen2.5-0.5b-sft"].override(**(SHORT | settings | changes)))


def train_and_send(run, connection):
    import torch

    from codeft_training.train.run import train

    torch.set_num_threads(1)
    train(run, Sent(connection))


def train_in_place(run, rank, size, port):
    import os

    import torch

    from codeft_training.train.run import train

    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": "0"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    train(run, Collected())


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def together(*runs):
    """Run one training in as many processes, each with its own view of it."""
    port = free_port()
    processes = [
        SERVER.Process(target=train_in_place, args=(run, rank, len(runs), port)) for rank, run in enumerate(runs)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=patience.SECONDS)
        process.kill()
    assert {process.exitcode for process in processes} == {0}


def killed_at_random(run, rng):
    """Start or go on with a run and SIGKILL it at a random moment after a few steps; return its lines.

    The second step is reported after the checkpoint of the first is complete, so each process leaves one.
    """
    ours, theirs = SERVER.Pipe()
    process = SERVER.Process(target=train_and_send, args=(run, theirs))
    process.start()
    theirs.close()
    lines, num_steps = [], rng.randint(2, 3)
    while sum(bool(re.match(r"step \d+/", line)) for line in lines) < num_steps:  # not those of an evaluation
        lines.append(ours.recv())
    process.join(timeout=rng.uniform(0, 0.05))
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL, f"the run was over before the kill: {lines}"
    return lines


def eight_kills(run, seed):
    """Kill a run eight times, then let it end; return all lines of all its processes."""
    rng, lines = random.Random(seed), []
    for _ in range(8):
        lines += killed_at_random(run, rng)
    ours, theirs = SERVER.Pipe()
    process = SERVER.Process(target=train_and_send, args=(run, theirs))
    process.start()
    theirs.close()
    while True:
        try:
            lines.append(ours.recv())
        except EOFError:
            break
    process.join()
    assert process.exitcode == 0, lines
    return lines
