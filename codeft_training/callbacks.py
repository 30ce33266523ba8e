"""What watches a run: metrics as they come, validation, whole checkpoints, and the reasons to stop."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from codeft_training.checkpoints import mark_complete
from codeft_training.lifetime import StopRequest
from codeft_training.recipes import Recipe
from codeft_training.rows import PackedRows, token_bytes


class RunWatch(TrainerCallback):
    """Writes ``metrics.jsonl``, validates in bits per byte, marks checkpoints and stops on request or on NaN."""

    def __init__(
        self,
        packed: PackedRows,
        tokenizer: Path,
        path: Path,
        recipe: Recipe,
        stop: StopRequest,
        log: Callable[[str], None],
    ) -> None:
        self._packed, self._path, self._recipe, self._stop, self._log = packed, path, recipe, stop, log
        self._bytes = token_bytes(tokenizer)
        self._last = (0, time.monotonic())

    def metrics(self) -> list[dict[str, Any]]:
        """Return all that was recorded so far."""
        return [json.loads(line) for line in self._path.read_text().splitlines()] if self._path.exists() else []

    def rewind(self, step: int) -> None:
        """Drop what was recorded after ``step``: a resumed run records it again."""
        kept = [entry for entry in self.metrics() if entry["step"] <= step]
        self._path.write_text("".join(json.dumps(entry) + "\n" for entry in kept))
        self._last = (step, time.monotonic())

    def on_log(  # noqa: D102
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        logs = kwargs.get("logs") or {}
        if "loss" not in logs:
            return
        loss, grad_norm = float(logs["loss"]), float(logs.get("grad_norm", 0.0))
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            raise FloatingPointError(
                f"loss {loss} and gradient norm {grad_norm} at step {state.global_step} are not finite; lower "
                f"learning_rate ({self._recipe.learning_rate}); the last whole checkpoint is kept"
            )
        step, now = state.global_step, time.monotonic()
        num_tokens = (step - self._last[0]) * self._recipe.tokens_per_step
        speed = num_tokens / max(now - self._last[1], 1e-9)
        self._last = (step, now)
        rate = float(logs.get("learning_rate", 0.0))
        self._record(
            {
                "step": step,
                "loss": loss,
                "learning_rate": rate,
                "grad_norm": grad_norm,
                "num_tokens": step * self._recipe.tokens_per_step,
                "tokens_per_second": round(speed, 1),
            }
        )
        self._log(f"step {step}/{args.max_steps}: loss {loss:.4f}, rate {rate:.2e}, {speed:,.0f} tokens/s")

    def on_step_end(  # noqa: D102
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._stop.is_set:
            control.should_save = control.should_training_stop = True
        due = state.global_step % self._recipe.validate_every_steps == 0 or state.global_step == args.max_steps
        if due and not self._stop.is_set:
            self._validate(kwargs["model"], state.global_step)

    def on_save(  # noqa: D102
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        mark_complete(Path(str(args.output_dir)) / f"checkpoint-{state.global_step}")

    def _record(self, entry: dict[str, Any]) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(entry) + "\n")

    def _validate(self, model: Any, step: int) -> None:
        nats, num_bytes, num_tokens = self._measure(model)
        if not num_tokens.sum():
            return
        names = self._packed.domains("validation")[0]
        bits = nats / math.log(2) / np.maximum(num_bytes, 1)
        by_domain = {f"bits_per_byte_{name}": float(value) for name, value in zip(names, bits, strict=True)}
        entry = {
            "step": step,
            "validation_loss": float(nats.sum() / num_tokens.sum()),
            "bits_per_byte": float(nats.sum() / math.log(2) / max(num_bytes.sum(), 1)),
            **by_domain,
        }
        self._record(entry)
        shown = ", ".join(f"{name} {value:.3f}" for name, value in zip(names, bits, strict=True))
        self._log(f"step {step}: {entry['bits_per_byte']:.4f} bits per byte on held-out documents ({shown})")

    def _measure(self, model: Any) -> tuple[Any, Any, Any]:
        """Return summed nats, bytes of text and number of tokens by domain, over the validation rows."""
        import torch

        tokens, in_loss = self._packed.tokens("validation"), self._packed.in_loss("validation") == 1
        names, domains = self._packed.domains("validation")
        sums, was_training = np.zeros((3, len(names))), model.training
        model.eval()
        for row in spread_rows(len(tokens), self._recipe.validation_rows):
            ids = torch.from_numpy(tokens[row : row + 1].astype(np.int64)).to(model.device)
            with torch.no_grad():
                logits = model(input_ids=ids).logits[0, :-1].float()
            nats = torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none").cpu().numpy()
            counted, domain = in_loss[row, 1:], domains[row, 1:]
            sizes = self._bytes[tokens[row, 1:].astype(np.int64)]
            for i, values in enumerate((nats, sizes, np.ones_like(sizes))):
                sums[i] += np.bincount(domain[counted], values[counted], minlength=len(names))
        model.train(was_training)
        return sums[0], sums[1], sums[2]


def spread_rows(num_rows: int, num_wanted: int) -> list[int]:
    """Return at most ``num_wanted`` row numbers, spread evenly."""
    step = max(num_rows / max(num_wanted, 1), 1.0)
    return [int(i * step) for i in range(min(num_rows, num_wanted))]
