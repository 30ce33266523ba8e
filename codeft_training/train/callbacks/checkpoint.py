"""Checkpointing: the state is saved every ``save_every_steps``."""

from __future__ import annotations

from codeft_training.train.callbacks.callback import Callback, Engine


class CheckpointCallback(Callback):
    """Saves the state at fixed steps."""

    def __init__(self, *, every_steps: int) -> None:
        self._every_steps = every_steps

    def on_step_end(self, engine: Engine) -> None:
        if engine.step % self._every_steps == 0:
            engine.save()
