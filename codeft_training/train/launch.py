"""Starts a run in several processes through ``torchrun``; they end with this process, or on its SIGTERM."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from codeft_assets.base.processes import end_with_parent
from codeft_training.run_spec import STOPPED_EXIT_CODE
from codeft_training.train.signals import StopRequest


def launch(arguments: Sequence[str], num_processes: int) -> int:
    """Run ``python -m codeft_training`` with ``arguments`` in every process and return the exit code of all."""
    stop = StopRequest().install()
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={num_processes}"]
    process = subprocess.Popen(
        [*command, "-m", "codeft_training", *arguments],
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
