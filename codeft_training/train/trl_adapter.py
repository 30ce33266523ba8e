"""TRL's trainer as an engine: one adapter calls our callbacks from its hooks."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.optim.lr_scheduler import LambdaLR
from transformers import PrinterCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState
from trl.trainer.sft_trainer import SFTTrainer

from codeft_assets.base.files import explain_write_errors
from codeft_training.measure.samples import Generate, greedy_generator
from codeft_training.model.optimizer import is_hidden_matrix
from codeft_training.model.schedule import Schedule
from codeft_training.train.callbacks.callback import Callback, StepLog
from codeft_training.train.checkpoints import checkpoint_path, is_valid, library_write_errors, mark_complete


def _without_compiling() -> AbstractContextManager[Any]:
    """Return a context whose shapes, other than those of the steps, are not worth a graph each."""
    return torch.compiler.set_stance("force_eager")


def checkpoint_folder(args: TrainingArguments, state: TrainerState) -> Path:
    """Return the folder in which the trainer saves the current step."""
    return checkpoint_path(Path(str(args.output_dir)), state.global_step)


class OwnSchedule:
    """A trainer of transformers with the learning rate and weight decay of our own loop, that explains a full disk."""

    schedule: Schedule
    lr_scheduler: Any
    optimizer: Any
    args: Any
    state: Any

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> LambdaLR:
        """Return the learning rate of our own loop: the trainer's WSD begins at 0 and falls along a cosine."""
        if self.lr_scheduler is None:
            self.lr_scheduler = LambdaLR(optimizer or self.optimizer, self.schedule.rate)
        return self.lr_scheduler

    def get_decay_parameter_names(self, model: Any) -> list[str]:
        """Return what our own optimizer decays: the matrices between hidden states, LoRA's among them."""
        named = dict(model.named_parameters(remove_duplicate=False))  # of weights that are shared, too
        trainer: Any = super()
        return [name for name in trainer.get_decay_parameter_names(model) if is_hidden_matrix(name, named[name])]

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder, trainer = checkpoint_folder(self.args, self.state), super()
        with explain_write_errors(folder, folder, also=library_write_errors()):
            trainer._save_checkpoint(model, trial)  # type: ignore[misc]


class GuardedTrainer(OwnSchedule, SFTTrainer):
    """TRL's trainer of packed rows, which reports to an adapter."""

    def __init__(self, adapter: TrlAdapter, **settings: Any) -> None:
        self._adapter, self.schedule = adapter, adapter.schedule
        super().__init__(callbacks=[adapter], **settings)
        self.remove_callback(PrinterCallback)  # our own log lines have the same numbers
        trained: Any = self.model
        head = trained.get_output_embeddings()
        if not hasattr(head, "bias"):  # peft's wrapper of trained rows hides it from TRL's loss
            object.__setattr__(head, "bias", head.original_module.bias)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        self._adapter.num_labels = int(
            (inputs["labels"] != -100).sum() if num_items_in_batch is None else num_items_in_batch
        )
        return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)


class TrlAdapter(TrainerCallback, ExportableState):
    """Calls ``callbacks`` from the hooks of TRL's trainer, and is the engine that they see."""

    def __init__(self, callbacks: Callback, *, schedule: Schedule, checkpoint_files: Sequence[str], bf16: bool) -> None:
        self._callbacks, self._checkpoint_files, self._bf16 = callbacks, checkpoint_files, bf16
        self.schedule = schedule
        self.model: Any = None
        self.is_stopped = False
        self.num_labels = 0
        """Tokens in the loss of the current step; the trainer sets it."""
        self._state, self._control = TrainerState(), TrainerControl()
        self._clock = self._step_start = time.monotonic()
        self._logged_step, self._step_seconds = 0, 0.0
        self._num_masked = self._num_masked_logged = 0
        self._output = Path()
        self._best_step, self._best_bits = 0, math.inf

    @property
    def step(self) -> int:
        """Steps done."""
        return self._state.global_step

    @property
    def last_step(self) -> int:
        """Steps of the whole run."""
        return self._state.max_steps

    @property
    def seconds(self) -> float:
        """Time used by the run, in all processes that worked at it one after the other."""
        return time.monotonic() - self._clock

    @property
    def eval_rows(self) -> int:
        """Rows that ``token_nats`` reads at a time: one, for the logits of a large vocabulary fill the memory."""
        return 1

    @torch.no_grad()
    def token_nats(
        self, ids: npt.NDArray[np.int64], labels: npt.NDArray[np.int64], positions: npt.NDArray[np.int64] | None = None
    ) -> npt.NDArray[np.float32]:
        """Return each label's loss in nats, ``[rows, context]``."""
        device = self.model.device
        inputs = {"input_ids": ids} if positions is None else {"input_ids": ids, "position_ids": positions}
        with _without_compiling(), torch.autocast(device.type, dtype=torch.bfloat16, enabled=self._bf16):
            logits = self.model(**{name: torch.from_numpy(part).to(device) for name, part in inputs.items()}).logits
        wanted = torch.from_numpy(labels).to(device).flatten()
        nats = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), wanted, reduction="none")
        return nats.view(ids.shape).cpu().numpy()

    def generator(self) -> Generate:
        """Return a greedy generator."""
        generate = greedy_generator(self.model, bf16=self._bf16)

        def generate_eagerly(prompts: Sequence[Sequence[int]], num_tokens: int) -> list[list[int]]:
            with _without_compiling():
                return generate(prompts, num_tokens)

        return generate_eagerly

    def weights_are_finite(self) -> bool:
        """Return whether every weight is a finite number."""
        return all(bool(parameter.isfinite().all()) for parameter in self.model.parameters())

    def averaged(self) -> None:
        """Return None: the trainer averages no weights."""

    def keep_best(self, bits: float, averaged_bits: float | None, *, since: int) -> None:
        """Let the trainer keep the checkpoint after this step, if its bits per byte are the least after ``since``."""
        if bits < self._best_bits or (math.isfinite(bits) and self._best_step <= since):
            self._best_step, self._best_bits = self.step, bits
            self._state.best_model_checkpoint = str(checkpoint_path(self._output, self.step))
            if self.step < self.last_step:
                self.save()

    @property
    def kept_checkpoint(self) -> Path | None:
        """The checkpoint of the best weights; None where they are the last, or none were measured."""
        path = checkpoint_path(self._output, self._best_step)
        return path if 0 < self._best_step < self.step and is_valid(path) else None

    def save(self) -> None:
        """Let the trainer save when its hooks have ended."""
        self._control.should_save = True

    def stop(self) -> None:
        """Let the trainer end after this step."""
        self._control.should_training_stop = self.is_stopped = True

    def state(self) -> dict[str, Any]:
        """Return the part of a checkpoint that is the adapter's: the time used, the masked steps and the best one."""
        best = {} if math.isinf(self._best_bits) else {"best_step": self._best_step, "best_bits": self._best_bits}
        return {"args": {}, "attributes": {"seconds": self.seconds, "num_masked": self._num_masked} | best}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.model, self._state, self._control = kwargs["model"], state, control
        saved: Any = state.stateful_callbacks or {}  # a restored state holds what state() below returned
        attributes = saved.get(type(self).__name__, {}).get("attributes", {}) if isinstance(saved, dict) else {}
        self._clock = time.monotonic() - attributes.get("seconds", 0.0)
        self._num_masked = self._num_masked_logged = attributes.get("num_masked", 0)
        self._output = Path(str(args.output_dir))
        self._best_step, self._best_bits = attributes.get("best_step", 0), attributes.get("best_bits", math.inf)
        self._logged_step, self._step_seconds = state.global_step, 0.0
        self._callbacks.on_train_begin(self)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._step_start = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._state, self._control = state, control
        self._step_seconds += time.monotonic() - self._step_start
        self._num_masked += self.num_labels == 0
        control.should_log = control.should_log or state.global_step >= state.max_steps
        self._callbacks.on_step_end(self)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        logs: dict[str, Any] = kwargs.get("logs") or {}
        if "loss" not in logs:  # the trainer's summary at its end
            return
        num_steps = state.global_step - self._logged_step
        num_labeled = num_steps - (self._num_masked - self._num_masked_logged)
        log = StepLog(
            # the trainer's mean counts a masked step as 0.0
            loss=float(logs["loss"]) * num_steps / num_labeled if num_labeled else None,
            grad_norm=float(logs["grad_norm"]) if logs.get("grad_norm") is not None else None,
            learning_rate=float(logs["learning_rate"]),
            num_steps=num_steps,
            seconds=self._step_seconds,
            num_skipped=0,  # the trainer skips no step
            num_masked=self._num_masked,
        )
        self._logged_step, self._step_seconds = state.global_step, 0.0
        self._num_masked_logged = self._num_masked
        self._callbacks.on_log(self, log)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._callbacks.on_save(self)
        mark_complete(checkpoint_folder(args, state), self._checkpoint_files)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._callbacks.on_train_end(self)
