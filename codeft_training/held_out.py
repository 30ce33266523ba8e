"""What is measured between steps: bits per byte of held-out documents and, where there is one, of a probe's texts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from codeft_training.probe import PREFIX, Probe, read_probe
from codeft_training.runs import TrainingRun
from codeft_training.validation import TokenNats, Validation, told


class HeldOut:
    """The validation and the probe of a run."""

    def __init__(self, run: TrainingRun) -> None:
        self._recipe = run.recipe
        self._validation = Validation(run.packed, run.tokenizer, run.recipe.validation_rows)
        self.probe = Probe(read_probe(run.probe), run.tokenizer, run.recipe) if run.probe else None

    def is_due(self, step: int) -> bool:
        """Return whether to measure after ``step``, besides the last one."""
        return step % self._recipe.validate_every_steps == 0

    def measure(self, step: int, token_nats: TokenNats, batch_rows: int) -> Iterator[tuple[dict[str, Any], str]]:
        """Yield entries for the metrics, each with its line in the log."""
        measured = self._validation.measure(token_nats, batch_rows)
        if measured:
            yield {"step": step, **measured}, f"step {step}: {told(measured)}"
        if self.probe is None:
            return
        probed = self.probe.measure(token_nats, batch_rows)
        bits = ", ".join(f"{name.removeprefix(PREFIX)} {value:.3f}" for name, value in probed.items() if PREFIX in name)
        entry = {"step": step, "num_tokens": step * self._recipe.tokens_per_step, **probed}
        yield entry, f"step {step}: probe, bits per byte: {bits} ({probed['probe_seconds']:.2f} s)"
