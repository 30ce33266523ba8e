"""The gradients of a step: of the global batch, over all processes, clipped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from codeft_training.data.batches import Batch, Batches, Prefetcher
from codeft_training.model.distributed import DistributedContext, full_tensor
from codeft_training.model.forward import Mask, TrainedModel, document_mask
from codeft_training.recipe import PretrainRecipe
from codeft_training.train.oom import retry_line, retry_with_smaller_batch

_DROPOUT_STREAM = 5
"""Of random numbers, beside those of the batches."""


class Gradients:
    """Computes gradients by as many micro-batches as the memory asks for."""

    def __init__(
        self,
        recipe: PretrainRecipe,
        trained: TrainedModel,
        batches: Batches,
        *,
        context: DistributedContext,
        on_message: Callable[[str], None],
    ) -> None:
        self._recipe, self._trained, self._context, self._on_message = recipe, trained, context, on_message
        self._prefetcher = Prefetcher(batches, context.local_rows)
        self._is_sharded = recipe.pretraining.parallel == "shard"

    def compute(
        self, step: int, micro_rows: int, phase_begins: tuple[int, ...]
    ) -> tuple[tuple[float, float, int], int]:
        """Leave the clipped gradients of a step in the parameters.

        Returns:
            Loss in nats a token, norm before clipping, and labels of the global batch; and the rows a micro-batch that
            fitted the memory, ``micro_rows`` at most.
        """
        (loss, num_labels), micro_rows = retry_with_smaller_batch(
            lambda size: self._accumulate(step, size, phase_begins), micro_rows, self._on_retry
        )
        grads = [tensor.grad for tensor in self._trained.hub.parameters() if tensor.grad is not None]
        self._context.all_reduce([loss] if self._is_sharded else [loss, *grads])  # FSDP has reduced the gradients
        norm = full_tensor(torch.nn.utils.get_total_norm(grads))
        factor = (self._recipe.optimization.max_grad_norm / (norm + 1e-6)).clamp(max=1.0)
        torch._foreach_mul_(grads, factor)  # pyright: ignore[reportPrivateImportUsage]
        loss_value, norm_value = torch.stack([loss, norm.to(loss.dtype)]).tolist()  # the step's only wait for a GPU
        return (loss_value, norm_value, num_labels), micro_rows

    def clear(self) -> None:
        """Forget the gradients."""
        for tensor in self._trained.hub.parameters():
            tensor.grad = None

    def _accumulate(self, step: int, size: int, phase_begins: tuple[int, ...]) -> tuple[Tensor, int]:
        prepared, device = self._prefetcher.get(step, size, phase_begins), self._context.device
        total, scale = torch.zeros((), device=device), torch.full((), 1 / max(prepared.num_labels, 1), device=device)
        # FSDP averages gradients over processes; their sum is wanted
        factor = self._context.size if self._is_sharded else 1
        if self._recipe.repetition.dropout:
            torch.manual_seed(dropout_seed(self._recipe.data.seed, step, self._context.rank))
        for batch in prepared.micro_batches:
            ids, labels, mask = self._upload(batch)
            loss, cross_entropy = self._trained(ids, labels, scale, mask)
            (loss * factor).backward()
            total += cross_entropy
        return total, prepared.num_labels

    def _upload(self, batch: Batch) -> tuple[Tensor, Tensor, Mask]:
        device = self._context.device
        ids, labels = (to_device(part, device) for part in (batch.ids, batch.labels))
        return ids, labels, None if batch.documents is None else document_mask(to_device(batch.documents, device))

    def _on_retry(self, size: int) -> None:
        """Forget the gradients of a step that ran out of memory."""
        self.clear()
        if self._context.device.type == "cuda":
            torch.cuda.empty_cache()
        self._on_message(retry_line(size))


def to_device(values: npt.NDArray[Any], device: torch.device) -> Tensor:
    """Return an array as a tensor on a device, on its way there."""
    tensor = torch.from_numpy(values)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def dropout_seed(seed: int, step: int, rank: int) -> int:
    """Return the seed of a step's dropout in a process: a resumed run drops the same, two processes do not."""
    return int(np.random.SeedSequence([seed, _DROPOUT_STREAM, step, rank]).generate_state(1, np.uint64)[0])
