"""The metrics of a run, one JSON object a line, in ``metrics.jsonl``; a resumed run has no entry twice.

The file is the truth. The same numbers go live to the reporter and to TensorBoard's event files.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codeft_assets.base.files import explain_write_errors
from codeft_assets.base.report import Reporter

FILE, BOARD = "metrics.jsonl", "tensorboard"


def step_line(entry: Mapping[str, Any], last_step: int) -> str:
    """Return the log line of a step's entry."""
    loss = f"{entry['loss']:.4f}" if "loss" in entry else "not measured"
    share = f", {entry['mfu']:.1%} of peak" if "mfu" in entry else ""
    speed = f"{entry['tokens_per_second']:,.0f} tokens/s, {entry['tflops_per_second']:.3g} TFLOP/s{share}"
    seconds_a_step = entry["num_tokens"] / max(entry["step"], 1) / max(entry["tokens_per_second"], 1e-9)
    minutes, seconds = divmod(round((last_step - entry["step"]) * seconds_a_step), 60)
    left = f", {minutes} min {seconds} s left" if entry["step"] < last_step else ""
    return f"step {entry['step']}/{last_step}: loss {loss}, rate {entry['learning_rate']:.2e}, {speed}{left}"


def finite(**values: float | None) -> dict[str, float]:
    """Return those values that are numbers: a missing measurement has no entry, never 0."""
    return {name: value for name, value in values.items() if value is not None and math.isfinite(value)}


class Metrics:
    """Records entries to the file, the reporter and TensorBoard; of several processes, only the main one does."""

    def __init__(self, folder: Path, reporter: Reporter, *, is_main: bool = True) -> None:
        self._folder, self._path, self._reporter, self._is_main = folder, folder / FILE, reporter, is_main
        self._board: Any = None

    def entries(self) -> list[dict[str, Any]]:
        """Return the entries so far."""
        if not self._path.is_file():
            return []
        lines = self._path.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]  # a killed process may leave half a line

    def rewind(self, step: int) -> None:
        """Drop entries after ``step``, which a resumed run records again, and open the event files."""
        if not self._is_main:
            return
        kept = [entry for entry in self.entries() if entry["step"] <= step]
        self._folder.mkdir(parents=True, exist_ok=True)
        self._path.write_text("".join(json.dumps(entry) + "\n" for entry in kept))
        self._board = self._open_board(step)

    def record(self, entry: Mapping[str, Any], line: str) -> None:
        """Record an entry, and ``line`` in the log."""
        if not self._is_main:
            return
        with explain_write_errors(self._path), self._path.open("a") as file:
            file.write(json.dumps(dict(entry)) + "\n")
        self._reporter.log(line)
        self._reporter.observe(entry)
        if self._board is not None:
            self._add_scalars(entry)

    def log(self, line: str) -> None:
        """Put a line without an entry in the log."""
        self._reporter.log(line)

    def close(self) -> None:
        """Finish the event files."""
        if self._board is not None:
            self._board.close()

    def _open_board(self, step: int) -> Any:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self._reporter.log("no TensorBoard files: pip install tensorboard to have them; metrics.jsonl has all")
            return None
        # hides the entries of an earlier process after this step
        return SummaryWriter(str(self._folder / BOARD), purge_step=step + 1)

    def _add_scalars(self, entry: Mapping[str, Any]) -> None:
        for name, value in entry.items():
            if name != "step" and isinstance(value, int | float):
                self._board.add_scalar(_tag(name), value, entry["step"])
        self._board.flush()


def _tag(name: str) -> str:
    """Return the name in TensorBoard, where the part before a slash is a group."""
    groups = {"probe_": "probe/", "bits_per_byte": "held out/bits_per_byte", "validation_": "held out/"}
    found = next((prefix for prefix in groups if name.startswith(prefix)), None)
    return name.replace(found, groups[found], 1) if found else f"training/{name}"
