"""Our own step loop: trains a Hub architecture from scratch on packed rows; needs torch, transformers and numpy only.

Invariant: on one CPU the weights after a step depend on recipe, rows and step only. Killed at any moment, the next call
goes on from the latest valid checkpoint and ends in the same bits. A step whose loss or gradient is not finite changes
nothing; several such steps in a row end the run with an error.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import Qwen3ForCausalLM

from codeft_training.data.batches import Batches
from codeft_training.measure.samples import Generate, greedy_generator
from codeft_training.model.average import PREFIX, WeightAverage
from codeft_training.model.distributed import DistributedContext, copy_into_sharded, full_tensor, local_part
from codeft_training.model.forward import document_mask, prepare_model
from codeft_training.model.optimizer import build_optimizer
from codeft_training.model.schedule import Schedule, build_schedule, decay_factor
from codeft_training.recipe import PretrainRecipe
from codeft_training.run_spec import Stopped
from codeft_training.train.callbacks.callback import Callback, StepLog
from codeft_training.train.checkpoints import checkpoint_path, is_valid, latest_valid, load_checkpoint, save_checkpoint
from codeft_training.train.collection import without_garbage_collection
from codeft_training.train.gradients import Gradients, to_device
from codeft_training.train.state import TrainState

MAX_SKIPPED_IN_A_ROW = 3
"""One bad batch is skipped; three in a row are a diverged run."""


class Pretrainer:
    """The engine of a run from scratch; between two steps, ``state`` and tensors are all of it."""

    def __init__(
        self,
        recipe: PretrainRecipe,
        model: Qwen3ForCausalLM,
        *,
        batches: Batches,
        context: DistributedContext,
        folder: Path,
        callbacks: Callback,
    ) -> None:
        self.model = model
        self._recipe, self._context, self._folder, self._callbacks = recipe, context, folder, callbacks
        self._batches, self._trained = batches, prepare_model(model, recipe, context)
        self._gradients = Gradients(recipe, self._trained, batches, context=context, on_message=callbacks.on_message)
        self._optimizer = build_optimizer(
            model.named_parameters(),
            recipe.pretraining.optimizer,
            recipe.optimization,
            ema_decay=recipe.repetition.ema_decay,
        )
        schedule = build_schedule(recipe.schedule, budget_seconds=recipe.pretraining.budget_seconds)
        self.state = TrainState(
            schedule=schedule,
            micro_rows=recipe.data.batch_rows,
            phase_begins=batches.phase_begins(schedule.begins, schedule.last_step),
        )
        self._clock = time.monotonic()
        self._is_stopped, self._saved_step = False, -1

    def train(self) -> Qwen3ForCausalLM:
        """Resume, train to the end of the schedule and return the Hub model with the best weights, in full.

        The best are those, or their average, after the step whose held-out documents had the least bits per byte; the
        last where nothing is held out.

        Raises:
            Stopped: SIGTERM came; the state is saved and the next call goes on from there.
            FloatingPointError: loss, gradient or weights are not finite; the last valid checkpoint is kept.
            OSError: a checkpoint cannot be written, or a single row does not fit the memory.
        """
        self.resume()
        with without_garbage_collection():
            while not self.is_done and not self._is_stopped:
                self.train_step()
        if self._is_stopped:
            raise Stopped(f"stopped at step {self.step} of {self._recipe.schedule.max_steps}; the state is saved")
        self._callbacks.on_train_end(self)
        return self._kept_model()

    @property
    def step(self) -> int:
        """Steps done."""
        return self.state.step

    @property
    def last_step(self) -> int:
        """Steps of the whole run, as far as is known."""
        return self.state.schedule.last_step

    @property
    def is_done(self) -> bool:
        """Whether the schedule is at its end."""
        return self.step >= self.last_step

    @property
    def seconds(self) -> float:
        """Time used by the run, in all processes that worked at it one after the other."""
        return time.monotonic() - self._clock

    @property
    def schedule(self) -> Schedule:
        """The schedule of the run."""
        return self.state.schedule

    @property
    def eval_rows(self) -> int:
        """Rows that ``token_nats`` reads at a time."""
        return self.state.micro_rows

    def resume(self) -> None:
        """Restore the latest valid checkpoint of rank 0's folder in all processes, if there is one."""
        folder = latest_valid(self._folder) if self._context.is_main else None
        if self._context.broadcast(folder is not None):
            self._restore(folder)
        self._clock = time.monotonic() - self.state.seconds
        self._callbacks.on_train_begin(self)

    def _restore(self, folder: Path | None) -> None:
        """Restore a checkpoint that rank 0 reads: other nodes may have none, or another."""
        weights, optimizer, state = load_checkpoint(folder) if folder is not None else ({}, {}, {})
        for saved, current in ((weights, self._weights()), (optimizer, self._optimizer.tensors())):
            for name, tensor in current.items():
                value = saved[name].to(tensor.dtype) if saved else torch.empty(tensor.shape, dtype=tensor.dtype)
                copy_into_sharded(tensor, self._context.broadcast_tensor(value))
        restored = TrainState.from_checkpoint(self._context.broadcast(state))
        is_damaged = restored.best_step and not is_valid(checkpoint_path(self._folder, restored.best_step))
        if self._context.broadcast(bool(is_damaged)):
            restored = restored.without_best()  # its checkpoint was damaged: what is not there cannot be kept
        # memory may have been the reason for fewer rows, then or now
        self.state = replace(restored, micro_rows=min(restored.micro_rows, self._recipe.data.batch_rows))

    def train_step(self) -> None:
        """Do one step and call the callbacks."""
        start = time.monotonic()
        self._callbacks.on_step_begin(self)
        factor = self.schedule.rate(self.step)
        rate = self._recipe.optimization.learning_rate * factor
        (loss, norm, num_labels), micro_rows = self._gradients.compute(
            self.step, self.state.micro_rows, self.state.phase_begins
        )
        self.state = replace(self.state, micro_rows=micro_rows)
        if not num_labels:
            self.state = self.state.masked(time.monotonic() - start)
        elif math.isfinite(loss) and math.isfinite(norm):
            self._optimizer.step(rate, decay_factor(self._recipe.repetition.weight_decay_schedule, factor))
            self.state = self.state.stepped(loss, time.monotonic() - start)
        else:
            self.state = self._skipped(loss, norm, time.monotonic() - start)
        self._gradients.clear()
        if self.step % self._recipe.monitor.log_every_steps == 0 or self.is_done:
            self._log(rate, norm)
        self._callbacks.on_step_end(self)

    def follow(self, schedule: Schedule) -> None:
        """Go on by ``schedule``; where a time budget has moved its parts, what is read in them moves along."""
        if schedule != self.schedule:
            begins = self._batches.phase_begins(
                schedule.begins, schedule.last_step, step=self.step, before=self.state.phase_begins
            )
            self.state = replace(self.state, schedule=schedule, phase_begins=begins)

    def averaged(self) -> AbstractContextManager[None] | None:
        """Return a context in which the model has the average of its weights; None where the recipe wants none."""
        average = self._optimizer.average
        return None if average is None else self._averaged(average)

    def keep_best(self, bits: float, averaged_bits: float | None, *, since: int) -> None:
        """Keep the weights after this step, or their average, if its bits per byte are the least after ``since``."""
        is_average = averaged_bits is not None and averaged_bits < bits
        best = averaged_bits if averaged_bits is not None and is_average else bits
        # the processes may differ in a last digit, and must not differ in this
        if self._context.any(self._context.is_main and self.state.is_better(best, since=since)):
            self.state = self.state.improved(best, is_average=self._context.any(self._context.is_main and is_average))
            if not self.is_done:
                self.save()

    def save(self) -> None:
        """Write a checkpoint of everything that the next step depends on, if this step has none."""
        if self._saved_step == self.step:
            return
        self._callbacks.on_save(self)
        weights = {name: full_tensor(tensor) for name, tensor in self._weights().items()}
        optimizer = {name: full_tensor(tensor) for name, tensor in self._optimizer.tensors().items()}
        if self._context.is_main:
            state = replace(self.state, seconds=self.seconds)
            save_checkpoint(self._folder, self.step, weights, optimizer, asdict(state))
        self._context.barrier()
        self._saved_step = self.step

    def stop(self) -> None:
        """End the run after this step."""
        self._is_stopped = True

    def token_nats(
        self, ids: npt.NDArray[np.int64], labels: npt.NDArray[np.int64], positions: npt.NDArray[np.int64] | None = None
    ) -> npt.NDArray[np.float32]:
        """Return each label's loss in nats, ``[rows, context]``."""
        device = self._context.device
        mask = None if positions is None else document_mask(to_device(np.cumsum(positions == 0, axis=1), device))
        return self._trained.token_nats(to_device(ids, device), to_device(labels, device), mask).cpu().numpy()

    def generator(self) -> Generate | None:
        """Return a greedy generator in the main process, None where it holds only a part of the weights."""
        if not self._context.is_main or self._is_sharded:
            return None
        return greedy_generator(self.model, bf16=self._recipe.precision.bf16)

    def weights_are_finite(self) -> bool:
        """Return whether every weight is a finite number, in all processes."""
        finite = torch.stack([local_part(tensor).isfinite().all() for tensor in self._weights().values()])
        return not self._context.any(not bool(finite.all()))

    @property
    def _is_sharded(self) -> bool:
        return self._recipe.pretraining.parallel == "shard" and self._context.size > 1

    @contextmanager
    def _averaged(self, average: WeightAverage) -> Iterator[None]:
        self._reshard()
        with average.swapped():
            yield
            self._reshard()

    def _reshard(self) -> None:
        """Forget the full weights that a forward pass has gathered: they are about to change."""
        if self._is_sharded:
            self._trained.reshard()  # type: ignore[operator]  # FSDP has made it a module that has it

    def _kept_model(self) -> Qwen3ForCausalLM:
        """Return the Hub model with the full weights that are kept, also where each process held a part."""
        best, weights = self.state.best_step, self._weights()
        is_last = best in {0, self.step}
        if is_last and not self.state.best_is_average and not self._is_sharded:
            return self.model
        optimizer = self._optimizer.tensors()
        if not is_last:
            if not self._context.is_main:
                return self.model  # the folder of another node has no checkpoints; rank 0 alone exports
            weights, optimizer, _ = load_checkpoint(checkpoint_path(self._folder, best))
        if self.state.best_is_average:
            weights = {name: optimizer[f"{PREFIX}{name}"] for name in weights}
        weights = {name: full_tensor(tensor).detach() for name, tensor in weights.items()}
        model = Qwen3ForCausalLM(self.model.config) if self._is_sharded else self.model
        for name, parameter in model.named_parameters():
            copy_into_sharded(parameter, weights[name])
        return model

    def _weights(self) -> dict[str, Tensor]:
        return dict(self.model.named_parameters())

    def _skipped(self, loss: float, norm: float, seconds: float) -> TrainState:
        state = self.state.skipped(seconds)
        problem = f"loss {loss} and gradient norm {norm} at step {state.step} are not finite"
        if state.num_skipped_in_a_row >= MAX_SKIPPED_IN_A_ROW:
            raise FloatingPointError(
                f"{problem}; lower learning_rate ({self._recipe.optimization.learning_rate}): {MAX_SKIPPED_IN_A_ROW} "
                f"steps in a row; the last valid checkpoint is kept"
            )
        self._callbacks.on_message(f"{problem}: this step changes nothing")
        return state

    def _log(self, rate: float, norm: float) -> None:
        log = StepLog(
            loss=self.state.mean_loss,
            grad_norm=norm if math.isfinite(norm) else None,
            learning_rate=rate,
            num_steps=self.state.num_pending,
            seconds=self.state.pending_seconds,
            num_skipped=self.state.num_skipped,
            num_masked=self.state.num_masked,
        )
        self.state = self.state.logged()
        self._callbacks.on_log(self, log)
