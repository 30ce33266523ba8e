"""Evaluation between steps: bits per byte of held-out documents and, where they are given, of evaluation texts.

Metric keys of the evaluation texts begin with ``probe_``, as in the files of earlier runs.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from codeft_training.data.packed_rows import PackedRows
from codeft_training.measure.eval_texts import MAX_SHARE, EvalTexts, bits_line, read_eval_texts
from codeft_training.measure.samples import COMPLETIONS, Generate, TrainingSamples
from codeft_training.measure.validation import AVERAGE_PREFIX, TokenNats, Validation, log_line
from codeft_training.recipe import Recipe

Entry = tuple[dict[str, Any], str]
"""An entry for the metrics and its line in the log."""


class Evaluator:
    """Validation, evaluation texts and samples of a run, the latter two within their share of its time."""

    def __init__(
        self,
        validation: Validation,
        eval_texts: EvalTexts | None = None,
        samples: TrainingSamples | None = None,
        *,
        tokens_per_step: int,
    ) -> None:
        self._validation, self._eval_texts, self._samples = validation, eval_texts, samples
        self._tokens_per_step = tokens_per_step
        self._start, self._seconds_used = time.monotonic(), 0.0

    def describe(self) -> list[str]:
        """Return log lines about the evaluation texts and samples, none where there are none."""
        return [part.describe() for part in (self._eval_texts, self._samples) if part is not None]

    def measure_validation(self, step: int, token_nats: TokenNats, batch_rows: int) -> Iterator[Entry]:
        """Yield the entry of the held-out documents, if there are any."""
        validation = self._validation.measure(token_nats, batch_rows)
        if validation:
            yield {"step": step, **validation}, f"step {step}: {log_line(validation)}"

    def measure_average(self, step: int, token_nats: TokenNats, batch_rows: int) -> Iterator[Entry]:
        """Yield the entry of the held-out documents for the average of the weights, if there are any."""
        for entry, line in self.measure_validation(step, token_nats, batch_rows):
            values = {f"{AVERAGE_PREFIX}{key}": value for key, value in entry.items() if key != "step"}
            yield {"step": step, **values}, f"{line}: the average of the weights"

    def measure(
        self, step: int, token_nats: TokenNats, batch_rows: int, generate: Generate | None = None
    ) -> Iterator[Entry]:
        """Yield the entries of an evaluation after ``step``; without ``generate`` there are no samples."""
        yield from self.measure_validation(step, token_nats, batch_rows)
        if self._eval_texts is None:
            return
        start = time.monotonic()
        position = {"step": step, "num_tokens": step * self._tokens_per_step}
        bits = self._eval_texts.measure(token_nats, batch_rows)
        yield position | bits, f"step {step}: {bits_line(bits)}"
        if generate is not None and self._samples is not None:
            affordable = MAX_SHARE * (start - self._start) - self._seconds_used - (time.monotonic() - start)
            samples = self._samples.measure(generate, affordable)
            if samples:
                num, seconds = len(samples[COMPLETIONS]), samples["probe_completion_seconds"]
                yield position | samples, f"step {step}: {num} prompts continued ({seconds:.2f} s)"
        self._seconds_used += time.monotonic() - start


def build_evaluator(packed: PackedRows, tokenizer: Path, eval_texts: Path | None, recipe: Recipe) -> Evaluator:
    """Return the evaluator of a run; ``eval_texts`` is a file for ``read_eval_texts``."""
    validation = Validation(packed, tokenizer, recipe.monitor.validation_rows, by_document=recipe.separates_documents)
    if eval_texts is None:
        return Evaluator(validation, tokens_per_step=recipe.data.tokens_per_step)
    texts = read_eval_texts(eval_texts)
    samples = TrainingSamples(texts, tokenizer, recipe.data.context_tokens)
    return Evaluator(
        validation,
        EvalTexts(texts, tokenizer, recipe),
        samples if samples.prompts else None,
        tokens_per_step=recipe.data.tokens_per_step,
    )
