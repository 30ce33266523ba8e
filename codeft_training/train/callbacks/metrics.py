"""Metrics: one entry every ``log_every_steps``, with the same keys from both engines."""

from __future__ import annotations

from typing import Any

from codeft_training.measure.metrics import Metrics, finite, step_line
from codeft_training.measure.throughput import ThroughputMeter, build_throughput_meter
from codeft_training.recipe_groups import DataConfig
from codeft_training.train.callbacks.callback import Callback, Engine, StepLog


class MetricsCallback(Callback):
    """Records loss, gradient norm, learning rate and throughput."""

    def __init__(self, metrics: Metrics, data: DataConfig, *, num_devices: int) -> None:
        self._metrics, self._data, self._num_devices = metrics, data, num_devices
        self._meter: ThroughputMeter | None = None

    def on_train_begin(self, engine: Engine) -> None:
        self._meter = build_throughput_meter(engine.model.config, self._data.context_tokens, self._num_devices)
        if engine.step:
            self._metrics.log(f"resuming from checkpoint-{engine.step}")
        self._metrics.rewind(engine.step or -1)  # a run that begins measures step 0 again

    def on_log(self, engine: Engine, log: StepLog) -> None:
        assert self._meter is not None, "set when the run begins"
        tokens_per_second = log.num_steps * self._data.tokens_per_step / max(log.seconds, 1e-9)
        entry: dict[str, Any] = {
            "step": engine.step,
            **finite(loss=log.loss, grad_norm=log.grad_norm),
            "learning_rate": log.learning_rate,
            **self._meter.entry(tokens_per_second),
            "num_tokens": engine.step * self._data.tokens_per_step,
            "num_skipped_steps": log.num_skipped,
            "num_masked_steps": log.num_masked,
            "seconds": round(engine.seconds, 2),
        }
        self._metrics.record(entry, step_line(entry, engine.last_step))

    def on_message(self, line: str) -> None:
        self._metrics.log(line)
