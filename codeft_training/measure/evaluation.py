"""What is measured between steps: bits per byte of held-out documents and, where there is one, of a probe's texts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from codeft_training.measure.eval_texts import MAX_SHARE, PREFIX, Probe, read_probe
from codeft_training.measure.samples import COMPLETIONS, Completions, Write
from codeft_training.measure.validation import TokenNats, Validation, told
from codeft_training.run_spec import TrainingRun


class HeldOut:
    """The validation and the probe of a run."""

    def __init__(self, run: TrainingRun) -> None:
        self._recipe = run.recipe
        self._validation = Validation(run.packed, run.tokenizer, run.recipe.validation_rows)
        texts = read_probe(run.probe) if run.probe else []
        self._probe = Probe(texts, run.tokenizer, run.recipe) if run.probe else None
        self._completions = Completions(texts, run.tokenizer, run.recipe.context_tokens)
        self._start, self._probe_seconds = time.monotonic(), 0.0

    def told(self) -> list[str]:
        """Return the log's lines of what is probed, where there is a probe."""
        parts = [self._probe, self._completions if self._completions.prompts else None]
        return [part.told() for part in parts if part is not None]

    def is_due(self, step: int) -> bool:
        """Return whether to measure after ``step``, besides the last one."""
        return step % self._recipe.validate_every_steps == 0

    def measure(
        self, step: int, token_nats: TokenNats, batch_rows: int, write: Write | None = None
    ) -> Iterator[tuple[dict[str, Any], str]]:
        """Yield entries for the metrics, each with its line in the log; without ``write`` nothing is completed."""
        measured = self._validation.measure(token_nats, batch_rows)
        if measured:
            yield {"step": step, **measured}, f"step {step}: {told(measured)}"
        if self._probe is None:
            return
        start = time.monotonic()
        seen = {"step": step, "num_tokens": step * self._recipe.tokens_per_step}
        probed = self._probe.measure(token_nats, batch_rows)
        bits = ", ".join(f"{name.removeprefix(PREFIX)} {value:.3f}" for name, value in probed.items() if PREFIX in name)
        yield seen | probed, f"step {step}: probe, bits per byte: {bits} ({probed['probe_seconds']:.2f} s)"
        if write is not None:
            affordable = MAX_SHARE * (start - self._start) - self._probe_seconds - (time.monotonic() - start)
            written = self._completions.measure(write, affordable)
            if written:
                num, seconds = len(written[COMPLETIONS]), written["probe_completion_seconds"]
                yield seen | written, f"step {step}: probe, {num} prompts continued ({seconds:.2f} s)"
        self._probe_seconds += time.monotonic() - start
