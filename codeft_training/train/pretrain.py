"""Our own step loop: trains a Hub architecture from scratch on packed rows; needs torch, transformers and numpy only.

Invariant: on one CPU the weights after a step depend on recipe, rows and step only. Killed at any moment, the next call
goes on from the last whole checkpoint and ends in the same bits. A step whose loss or gradient is not a number changes
nothing; a run whose steps all are, ends with an error, never with a number.
"""

from __future__ import annotations

import gc
import math
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import Qwen3ForCausalLM

from codeft_training.data.batches import Batch, Batches, Feed
from codeft_training.measure.evaluation import HeldOut
from codeft_training.measure.metrics import Metrics, finite, step_line
from codeft_training.measure.samples import greedy
from codeft_training.measure.throughput import compute_of
from codeft_training.model.distributed import World, fill, shard, whole
from codeft_training.model.forward import Mask, TrainedModel, document_mask
from codeft_training.model.optimizer import Optimizer
from codeft_training.model.schedule import Schedule, schedule_of
from codeft_training.pipes import Reporter
from codeft_training.recipes import Recipe
from codeft_training.run_spec import Stopped, TrainingRun
from codeft_training.train.checkpoints import load_checkpoint, newest_complete, save_checkpoint, step_of
from codeft_training.train.oom import fitting
from codeft_training.train.signals import StopRequest
from codeft_training.train.state import Progress

MAX_SKIPPED_IN_A_ROW = 3
"""One bad batch is skipped; three in a row are a diverged run."""


def pretrain(
    run: TrainingRun, model: Qwen3ForCausalLM, world: World, reporter: Reporter, stop: StopRequest
) -> tuple[Qwen3ForCausalLM, list[dict[str, Any]]]:
    """Train ``model`` and return it with what was measured.

    Raises:
        Stopped: SIGTERM came; the state is saved and the next call goes on from there.
        FloatingPointError: loss or gradient is no longer a number; the last whole checkpoint is kept.
        OSError: a checkpoint cannot be written, or a single row does not fit the memory.
    """
    loop = Loop(run, model, world, reporter)
    loop.resume()
    gc.collect()
    gc.freeze()  # a collection walks every object of torch and transformers: none is garbage
    gc.disable()
    try:
        while not loop.is_done:
            loop.step()
            if loop.asked_to_stop(stop):
                loop.save()
                raise Stopped(f"stopped at step {loop.progress.step} of {run.recipe.max_steps}; the state is saved")
    finally:
        loop.metrics.close()
        gc.enable()
        gc.unfreeze()
    return loop.trained(), loop.metrics.entries()


class Loop:
    """A run between two steps."""

    def __init__(self, run: TrainingRun, model: Qwen3ForCausalLM, world: World, reporter: Reporter) -> None:
        self._run, self._recipe, self._hub, self._world, self._reporter = run, run.recipe, model, world, reporter
        self._batches = Batches(run.packed, run.recipe)
        self._feed = Feed(self._batches, world.share)
        self._model = prepare(model, run.recipe, world)
        self._optimizer = optimizer_of(model, run.recipe)
        self._held_out = HeldOut(run)
        self._compute = compute_of(model.config, run.recipe.context_tokens, world.size)
        self.metrics = Metrics(run.work, reporter)
        self.progress = Progress(
            schedule=schedule_of(run.recipe),
            micro_rows=run.recipe.batch_rows,
            annealing_begin=self._batches.annealing_begin(run.recipe.max_steps),
        )
        self._clock = time.monotonic()
        self._after_first: tuple[int, float] | None = None

    @property
    def is_done(self) -> bool:
        """Whether the schedule is at its end."""
        return self.progress.step >= self.progress.schedule.last_step

    def resume(self) -> None:
        """Go on from the newest whole checkpoint, if there is one."""
        folder = newest_complete(self._run.work) if self._world.writes else None
        self._world.wait()  # rank 0 deletes torn checkpoints before the others look
        folder = folder if self._world.writes else newest_complete(self._run.work)
        if self._world.writes:
            self.metrics.rewind(step_of(folder) if folder else 0, resumed=folder is not None)
        for line in self._held_out.told():
            self.metrics.say(line)
        if folder is not None:
            self._restore(folder)
        self._clock = time.monotonic() - self.progress.seconds

    def _restore(self, folder: Path) -> None:
        weights, optimizer, state = load_checkpoint(folder)
        for found, wanted in ((weights, self._weights()), (optimizer, self._optimizer.tensors())):
            for name, tensor in wanted.items():
                fill(tensor, found[name])
        self.progress = Progress.of(state)

    def step(self) -> None:
        """Do one step, and what is due after it."""
        start = time.monotonic()
        self._plan()
        rate = self._recipe.learning_rate * self.progress.schedule.rate(self.progress.step)
        loss, norm = self._gradients()
        step = self.progress.step + 1
        if math.isfinite(loss) and math.isfinite(norm):
            self._optimizer.step(rate)
            self.progress = self.progress.stepped(loss, time.monotonic() - start)
        else:
            self.progress = self._skipped(loss, norm, time.monotonic() - start)
        self._zero()
        if step % self._recipe.log_every_steps == 0 or self.is_done:
            self._log(rate, norm)
        if self._held_out.is_due(step) or self.is_done:
            self.validate()
        if step % self._recipe.save_every_steps == 0:
            self.save()
        self._after_first = self._after_first or (step, self._seconds())

    def asked_to_stop(self, stop: StopRequest) -> bool:
        """Return whether any process was asked to stop."""
        if self._world.size == 1:
            return stop.is_set
        flag = torch.tensor([float(stop.is_set)], device=self._world.device)
        self._world.add_up([flag])
        return bool(flag.item())

    def save(self) -> None:
        """Write a checkpoint of all that the next step depends on.

        Raises:
            FloatingPointError: a weight is not a number.
        """
        weights = {name: whole(tensor) for name, tensor in self._weights().items()}
        optimizer = {name: whole(tensor) for name, tensor in self._optimizer.tensors().items()}
        _check_finite(weights, self.progress.step, self._recipe)
        if self._world.writes:
            state = replace(self.progress, seconds=self._seconds())
            save_checkpoint(self._run.work, self.progress.step, weights, optimizer, asdict(state))
        self._world.wait()

    def validate(self) -> None:
        """Measure bits per byte of held-out documents, and of the probe; the process that writes completes prompts."""
        has_all = self._world.writes and (self._recipe.parallel == "replicate" or self._world.size == 1)
        write = greedy(self._hub, bf16=self._recipe.bf16) if has_all else None
        step, rows = self.progress.step, self.progress.micro_rows
        for entry, line in self._held_out.measure(step, self._token_nats, rows, write):
            if self._world.writes:
                self.metrics.record(entry, line)

    def trained(self) -> Qwen3ForCausalLM:
        """Return the Hub model with the whole weights, also where each process held a part.

        Raises:
            FloatingPointError: a weight is not a number.
        """
        weights = {name: whole(tensor).detach() for name, tensor in self._weights().items()}
        _check_finite(weights, self.progress.step, self._recipe)
        if self._recipe.parallel == "replicate" or self._world.size == 1:
            return self._hub
        model = Qwen3ForCausalLM(self._hub.config)
        for name, parameter in model.named_parameters():
            fill(parameter, weights[name])
        return model

    def _seconds(self) -> float:
        return time.monotonic() - self._clock

    def _weights(self) -> dict[str, Tensor]:
        return dict(self._hub.named_parameters())

    def _plan(self) -> None:
        step, seconds = self.progress.step, self._seconds()
        first, at = self._after_first or (step, 0.0)
        # the first step compiles, so it counts only until there is another
        per_step = (seconds - at) / (step - first) if step > first else seconds / max(step, 1)
        before, schedule = self.progress.schedule, self._agreed(self.progress.schedule.planned(step, seconds, per_step))
        begin = self.progress.annealing_begin
        is_decided = schedule.budget_seconds and schedule.num_decay_steps and not before.num_decay_steps
        if is_decided and begin > step * self._recipe.batch_rows * self._recipe.accumulation_steps:
            begin = self._batches.annealing_begin(schedule.last_step, step)
        self.progress = replace(self.progress, schedule=schedule, annealing_begin=begin)

    def _agreed(self, schedule: Schedule) -> Schedule:
        """Return rank 0's schedule: the processes' clocks differ, and they must end at the same step."""
        if self._world.size == 1 or not schedule.budget_seconds:
            return schedule
        decided = torch.zeros(3, device=self._world.device, dtype=torch.float64)
        if self._world.writes:
            slope = [schedule.decay_start, schedule.num_decay_steps, schedule.decay_from]
            decided.copy_(torch.tensor(slope, dtype=torch.float64))
        self._world.add_up([decided])
        start, num, rate = decided.tolist()
        return replace(schedule, decay_start=int(start), num_decay_steps=int(num), decay_from=rate)

    def _gradients(self) -> tuple[float, float]:
        """Leave the clipped gradients of the global batch; return its loss in nats a token and the gradient's norm."""
        step = self.progress.step
        loss, micro_rows = fitting(
            lambda size: self._accumulate(step, size), self.progress.micro_rows, self._start_anew
        )
        self.progress = replace(self.progress, micro_rows=micro_rows)
        grads = [tensor.grad for tensor in self._weights().values() if tensor.grad is not None]
        self._world.add_up([loss] if self._recipe.parallel == "shard" else [loss, *grads])
        norm = whole(torch.nn.utils.get_total_norm(grads))
        factor = (self._recipe.max_grad_norm / (norm + 1e-6)).clamp(max=1.0)
        torch._foreach_mul_(grads, factor)  # pyright: ignore[reportPrivateImportUsage]
        loss_value, norm_value = torch.stack([loss, norm.to(loss.dtype)]).tolist()  # the step's only wait for a GPU
        return loss_value, norm_value

    def _accumulate(self, step: int, size: int) -> Tensor:
        taken, device = self._feed.take(step, size, self.progress.annealing_begin), self._world.device
        total, scale = torch.zeros((), device=device), torch.full((), 1 / max(taken.num_labels, 1), device=device)
        # FSDP averages gradients over processes; what we want is their sum
        factor = self._world.size if self._recipe.parallel == "shard" else 1
        for batch in taken.micro_batches:
            ids, labels, mask = self._upload(batch)
            loss, cross_entropy = self._model(ids, labels, scale, mask)
            (loss * factor).backward()
            total += cross_entropy
        return total

    def _upload(self, batch: Batch) -> tuple[Tensor, Tensor, Mask]:
        ids, labels = (self._to_device(part) for part in (batch.ids, batch.labels))
        return ids, labels, None if batch.documents is None else document_mask(self._to_device(batch.documents))

    def _to_device(self, values: npt.NDArray[Any]) -> Tensor:
        tensor = torch.from_numpy(values)
        if self._world.device.type != "cuda":
            return tensor
        return tensor.pin_memory().to(self._world.device, non_blocking=True)

    def _start_anew(self, size: int) -> None:
        """Forget the gradients of a step that ran out of memory."""
        self._zero()
        if self._world.device.type == "cuda":
            torch.cuda.empty_cache()
        self._reporter.log(f"out of memory: {size} rows a micro-batch from here on, the global batch stays")

    def _zero(self) -> None:
        for tensor in self._weights().values():
            tensor.grad = None

    def _skipped(self, loss: float, norm: float, seconds: float) -> Progress:
        progress = self.progress.skipped(seconds)
        told_rate = f"lower learning_rate ({self._recipe.learning_rate})"
        problem = f"loss {loss} and gradient norm {norm} at step {progress.step} are not finite"
        if progress.num_skipped_in_a_row >= MAX_SKIPPED_IN_A_ROW:
            raise FloatingPointError(
                f"{problem}; {told_rate}: {MAX_SKIPPED_IN_A_ROW} steps in a row; the last whole checkpoint is kept"
            )
        self._reporter.log(f"{problem}: this step changes nothing")
        return progress

    def _log(self, rate: float, norm: float) -> None:
        progress, recipe = self.progress, self._recipe
        self.progress = progress.logged()
        if not self._world.writes:
            return
        entry: dict[str, Any] = {
            "step": progress.step,
            **finite(loss=progress.mean_loss, grad_norm=norm),
            "learning_rate": rate,
            **self._compute.entry(progress.num_pending * recipe.tokens_per_step / max(progress.pending_seconds, 1e-9)),
            "num_tokens": progress.step * recipe.tokens_per_step,
            "num_skipped_steps": progress.num_skipped,
            "seconds": round(self._seconds(), 2),
        }
        self.metrics.record(entry, step_line(entry, progress.schedule.last_step))

    def _token_nats(self, ids: npt.NDArray[np.int64], labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        return self._model.token_nats(self._to_device(ids), self._to_device(labels)).cpu().numpy()


def prepare(model: Qwen3ForCausalLM, recipe: Recipe, world: World) -> TrainedModel:
    """Return the model that the loop trains, on the device, compiled or spread over processes as the recipe says."""
    torch.set_float32_matmul_precision("high" if recipe.bf16 else "highest")
    dtype = torch.bfloat16 if recipe.bf16 else torch.float32
    model.to(world.device)  # pyright: ignore[reportArgumentType]
    model.train()
    trained = TrainedModel(model, dtype=dtype, z_loss=recipe.z_loss)
    if recipe.parallel == "shard" and world.size > 1:
        shard(trained, list(trained.layers), world, dtype)
    trained.compile_parts(recipe.compile)
    return trained


def optimizer_of(model: Qwen3ForCausalLM, recipe: Recipe) -> Optimizer:
    """Return the recipe's optimizer over the model's parameters."""
    return Optimizer(
        model.named_parameters(), name=recipe.optimizer, beta_2=recipe.adam_beta_2, weight_decay=recipe.weight_decay
    )


def _check_finite(weights: dict[str, Tensor], step: int, recipe: Recipe) -> None:
    finite = torch.stack([tensor.isfinite().all() for tensor in weights.values()])
    if not bool(finite.all()):
        raise FloatingPointError(
            f"weights at step {step} are not finite; lower learning_rate ({recipe.learning_rate}); the last whole "
            f"checkpoint is kept"
        )
