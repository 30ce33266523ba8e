"""An exponential moving average of the weights (EMA), in fp32 as they are, and sharded where they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from codeft_training.model.distributed import local_part

PREFIX = "ema."
"""Of the names of the averages in a checkpoint."""


class WeightAverage:
    """The average of parameters over the steps; the first steps count as in an average of all so far.

    The decay of step ``n`` is ``min(decay, (1 + n) / (10 + n))``, so that the first weights are soon forgotten.
    """

    def __init__(self, parameters: Mapping[str, Tensor], *, decay: float) -> None:
        self._parameters, self._decay = dict(parameters), decay
        self._averages = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        self._num_updates = torch.zeros(())

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the weights after a step."""
        self._num_updates += 1
        number = float(self._num_updates)
        decay = min(self._decay, (1 + number) / (10 + number))
        torch._foreach_lerp_(*self._local(), 1 - decay)  # pyright: ignore[reportPrivateImportUsage]

    def tensors(self) -> dict[str, Tensor]:
        """Return the state by name; the tensors are the state, not copies."""
        averages = {f"{PREFIX}{name}": average for name, average in self._averages.items()}
        return averages | {f"{PREFIX}num_updates": self._num_updates}

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Have the averages in the place of the weights for a while."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for average, weights in zip(*self._local(), strict=True):
            before = weights.clone()
            weights.copy_(average)
            average.copy_(before)

    def _local(self) -> tuple[list[Tensor], list[Tensor]]:
        """Return the averages and the weights, the parts of them that this process holds."""
        averages = [local_part(average) for average in self._averages.values()]
        return averages, [local_part(parameter).detach() for parameter in self._parameters.values()]
