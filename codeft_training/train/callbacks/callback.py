"""The hooks of a training run, and the engine as its callbacks see it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from codeft_training.measure.samples import Generate
from codeft_training.model.schedule import Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLog:
    """Numbers of the steps since the last log; None where there is no finite one to give."""

    loss: float | None
    """Mean over the steps, in nats a token."""
    grad_norm: float | None
    """Of the last step, before clipping."""
    learning_rate: float
    num_steps: int
    seconds: float
    """Of the steps alone, without evaluation and saving."""
    num_skipped: int
    """Steps since the beginning of the run whose loss or gradient was not finite."""
    num_masked: int
    """Steps since the beginning of the run without a token in the loss."""


class Engine(Protocol):
    """A running training: ``Pretrainer``, or TRL's trainer through ``TrlAdapter``."""

    @property
    def model(self) -> Any:
        """The Hub model that is trained."""
        ...

    @property
    def step(self) -> int:
        """Steps done."""
        ...

    @property
    def last_step(self) -> int:
        """Steps of the whole run, as far as is known."""
        ...

    @property
    def schedule(self) -> Schedule:
        """The schedule of the run."""
        ...

    @property
    def seconds(self) -> float:
        """Time used by the run, in all processes that worked at it one after the other."""
        ...

    @property
    def eval_rows(self) -> int:
        """Rows that ``token_nats`` reads at a time."""
        ...

    def token_nats(
        self, ids: npt.NDArray[np.int64], labels: npt.NDArray[np.int64], positions: npt.NDArray[np.int64] | None = None
    ) -> npt.NDArray[np.float32]:
        """Return each label's loss in nats, ``[rows, context]``; a collective of all processes.

        Args:
            ids: Token ids.
            labels: The next token of each token, or -100.
            positions: Positions that begin again where tokens do not see those before; none for plain causal attention.
        """
        ...

    def generator(self) -> Generate | None:
        """Return a generator of samples; None in a process that does not generate."""
        ...

    def weights_are_finite(self) -> bool:
        """Return whether every weight is a finite number; a collective of all processes."""
        ...

    def averaged(self) -> AbstractContextManager[None] | None:
        """Return a context in which the engine has the average of its weights; None where there is none."""
        ...

    def keep_best(self, bits: float, averaged_bits: float | None, *, since: int) -> None:
        """Keep the weights after this step, or their average, if its bits per byte are the least after ``since``."""
        ...

    def save(self) -> None:
        """Write a checkpoint of the state after this step."""
        ...

    def stop(self) -> None:
        """End the run after this step."""
        ...


class Callback:
    """A habit of a training run; each hook does nothing unless it is overridden."""

    def on_train_begin(self, engine: Engine) -> None:
        """Called when the state is restored, before the first step."""

    def on_step_begin(self, engine: Engine) -> None:
        """Called before each step; TRL's trainer does not call it."""

    def on_log(self, engine: Engine, log: StepLog) -> None:
        """Called every ``log_every_steps``."""

    def on_step_end(self, engine: Engine) -> None:
        """Called after each step."""

    def on_save(self, engine: Engine) -> None:
        """Called before a checkpoint counts; an error keeps it from counting."""

    def on_message(self, line: str) -> None:
        """Called with a line for the log."""

    def on_train_end(self, engine: Engine) -> None:
        """Called after the last step."""


class CallbackList(Callback):
    """Several callbacks as one; they are called in order."""

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        self._callbacks = callbacks

    def on_train_begin(self, engine: Engine) -> None:
        for callback in self._callbacks:
            callback.on_train_begin(engine)

    def on_step_begin(self, engine: Engine) -> None:
        for callback in self._callbacks:
            callback.on_step_begin(engine)

    def on_log(self, engine: Engine, log: StepLog) -> None:
        for callback in self._callbacks:
            callback.on_log(engine, log)

    def on_step_end(self, engine: Engine) -> None:
        for callback in self._callbacks:
            callback.on_step_end(engine)

    def on_save(self, engine: Engine) -> None:
        for callback in self._callbacks:
            callback.on_save(engine)

    def on_message(self, line: str) -> None:
        for callback in self._callbacks:
            callback.on_message(line)

    def on_train_end(self, engine: Engine) -> None:
        for callback in self._callbacks:
            callback.on_train_end(engine)
