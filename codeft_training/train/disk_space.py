"""The space that a run takes on its disk, from the model's real size."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import Any

from codeft_training.model.architecture import empty_model
from codeft_training.model.optimizer import is_hidden_matrix
from codeft_training.recipe import FinetuneRecipe, PretrainRecipe, Recipe
from codeft_training.run_spec import TrainingRun
from codeft_training.train.checkpoints import NUM_KEPT

_FP32 = 4
_NUM_STATES = NUM_KEPT + 2
"""A state is removed when the one after it is complete; the best one stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSize:
    """Bytes of a run's files."""

    num_parameters: int
    state_weights: int
    """Of the weights in each state: all of them, or the low-rank additions."""
    state_optimizer: int
    final_weights: int

    @property
    def states(self) -> int:
        """All states that are on the disk at once."""
        return _NUM_STATES * (self.state_weights + self.state_optimizer)


def run_size(recipe: Recipe) -> RunSize:
    """Return the size of the files of a run."""
    model = empty_model(recipe)
    parameters = dict(model.named_parameters())
    num = sum(parameter.numel() for parameter in parameters.values())
    trained, num_moments, final_bytes = num, 2 * num, _FP32
    if isinstance(recipe, FinetuneRecipe):
        config: Any = model.config
        final_bytes = config.dtype.itemsize if config.dtype else _FP32
        if rank := recipe.finetuning.lora_rank:
            matrices = (p.shape for name, p in parameters.items() if is_hidden_matrix(name, p))
            trained = sum(rank * sum(shape) for shape in matrices)
            num_moments = 2 * trained
    elif isinstance(recipe, PretrainRecipe):
        if recipe.pretraining.optimizer == "muon":  # one moment a hidden matrix, two of what is left
            num_moments -= sum(p.numel() for name, p in parameters.items() if is_hidden_matrix(name, p))
        num_moments += num if recipe.repetition.ema_decay else 0
    return RunSize(
        num_parameters=num,
        state_weights=_FP32 * trained,
        state_optimizer=_FP32 * num_moments,
        final_weights=final_bytes * num,
    )


def check_space(run: TrainingRun) -> None:
    """Check that the disk has room for a run; what an earlier start of it has written counts as room.

    Raises:
        OSError: it has not.
    """
    size = run_size(run.recipe)
    written = sum(file.stat().st_size for file in run.work.rglob("*") if file.is_file())
    needed = max(size.states - written, 0) + size.final_weights
    free = shutil.disk_usage(run.output).free
    if free < needed:
        raise OSError(
            f"{run.output} has {free:,} bytes free, the run needs about {needed:,}: {size.num_parameters:,} parameters,"
            f" {_NUM_STATES} states of {size.state_weights:,} bytes of weights and {size.state_optimizer:,} of the "
            f"optimizer, and {size.final_weights:,} bytes of final weights; free space first, or "
            f"choose another --output"
        )
