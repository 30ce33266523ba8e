"""Starts a run in several processes through ``torchrun``; they end with this process, or on its SIGTERM."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from codeft_assets.base.processes import end_with_parent
from codeft_training.run_spec import STOPPED_EXIT_CODE
from codeft_training.train.signals import StopRequest


@dataclass(frozen=True, slots=True)
class Nodes:
    """The machines of a run, and which of them this is."""

    size: int = 1
    rank: int = 0
    rendezvous: str = ""
    """host:port of a free port of the machine of rank 0."""

    def __post_init__(self) -> None:
        host, _, port = self.rendezvous.rpartition(":")
        if self.size > 1 and not (host and port.isdigit()):
            raise ValueError(
                f"--rendezvous {self.rendezvous!r} is not host:port; name a free port of the machine of --node-rank 0, "
                f"the same on all {self.size} machines"
            )
        if not 0 <= self.rank < self.size:
            raise ValueError(f"--node-rank {self.rank} must be at least 0 and less than --nodes {self.size}")

    def torchrun_options(self) -> list[str]:
        """Return how these machines find each other, in the words of ``torchrun``."""
        if self.size == 1:
            return ["--standalone"]
        host, _, port = self.rendezvous.rpartition(":")
        sizes = [f"--nnodes={self.size}", f"--node-rank={self.rank}"]
        return [*sizes, f"--master-addr={host}", f"--master-port={port}"]


def launch(arguments: Sequence[str], num_processes: int, nodes: Nodes) -> int:
    """Run ``python -m codeft_training`` with ``arguments`` in every process here and return the exit code of all.

    Args:
        arguments: Of the command line.
        num_processes: On this machine, as many on each of ``nodes``.
        nodes: All machines of the run.
    """
    stop = StopRequest().install()
    command = [sys.executable, "-m", "torch.distributed.run", *nodes.torchrun_options()]
    process = subprocess.Popen(
        [*command, f"--nproc-per-node={num_processes}", "-m", "codeft_training", *arguments],
        preexec_fn=end_with_parent,
    )
    while process.poll() is None:
        if stop.is_set:
            process.terminate()  # torchrun passes it on, waits, and kills what does not end
            process.wait()
        else:
            _poll(process)
    return STOPPED_EXIT_CODE if stop.is_set else process.returncode


def _poll(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(timeout=0.2)
    except subprocess.TimeoutExpired:
        return
