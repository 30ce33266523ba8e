"""Cross entropy over a large vocabulary without the logits of the whole batch.

The output layer is applied to a chunk of tokens at a time, and the gradient of the chunk is taken while its logits are
there (as Liger's fused linear cross entropy does, arXiv 2410.10989): memory is one chunk of logits instead of the
batch's, and nothing is computed twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from torch import Tensor

CHUNK_LOGITS = {"cuda": 2**27, "cpu": 2**20}
"""Logits held at a time: 256 MiB in bf16 on a GPU; few enough for a cache on a CPU (2**18 to 2**27 were tried)."""
IGNORE_INDEX = -100
"""Label of a token that is not in the loss (``torch.nn.functional.cross_entropy``'s default)."""
_COMPILED: list[Callable[..., tuple[Tensor, Tensor, Tensor]]] = []


def summed_losses(
    hidden: Tensor, weight: Tensor, labels: Tensor, scale: Tensor, z_loss: float
) -> tuple[Tensor, Tensor]:
    """Return ``scale`` times the sum of cross entropy plus z-loss, and of cross entropy alone (no gradient).

    The z-loss is ``z_loss`` times the squared log of the softmax's denominator (PaLM, arXiv 2204.02311): it keeps
    logits from drifting, which bf16 rounds away.

    Args:
        hidden: ``[tokens, hidden]``.
        weight: of the output layer, ``[vocabulary, hidden]``.
        labels: ``[tokens]``, -100 where there is nothing to predict.
        scale: a factor on the sums, most often one over the number of labels; a tensor, because a number that changes
            would be compiled each time.
        z_loss: its weight.
    """
    loss, cross_entropy = _LinearLoss.apply(hidden, weight, labels, scale, z_loss)  # type: ignore[misc]
    return loss, cross_entropy


class _LinearLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, labels: Tensor, scale: Tensor, z_loss: float) -> Any:
        narrow = weight.to(hidden.dtype)
        grad_hidden = torch.empty_like(hidden)
        grad_weight = torch.zeros_like(weight, dtype=torch.float32)
        sums = torch.zeros(2, device=hidden.device)
        size = chunk_tokens(hidden.device, len(weight))
        for start in range(0, len(hidden), size):
            part = slice(start, start + size)
            loss, cross_entropy, grad = _chunk(hidden.device)(hidden[part] @ narrow.T, labels[part], scale, z_loss)
            sums += torch.stack([loss, cross_entropy])
            grad_hidden[part] = grad @ narrow
            grad_weight += grad.T @ hidden[part]
        ctx.save_for_backward(grad_hidden, grad_weight.to(weight.dtype))
        loss, cross_entropy = sums[0].clone(), sums[1].clone()
        ctx.mark_non_differentiable(cross_entropy)
        return loss, cross_entropy

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        grad_hidden, grad_weight = ctx.saved_tensors
        return grad_hidden * grads[0].to(grad_hidden.dtype), grad_weight * grads[0], None, None, None


def chunk_tokens(device: torch.device, vocab_size: int) -> int:
    """Return how many tokens have their logits in memory at a time."""
    return max(CHUNK_LOGITS[device.type] // vocab_size, 1)


def _chunk(device: torch.device) -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    if device.type != "cuda":
        return _chunk_losses_in_place
    if not _COMPILED:
        _COMPILED.append(torch.compile(_chunk_losses))
    return _COMPILED[0]


def _chunk_losses(logits: Tensor, labels: Tensor, scale: Tensor, z_loss: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return both sums and the gradient of the first one by the logits, ``[tokens, vocabulary]``."""
    wide = logits.float()
    log_sum = torch.logsumexp(wide, dim=-1)
    counted = (labels != IGNORE_INDEX).float() * scale
    target = labels.clamp_min(0)[:, None]
    cross_entropy = ((log_sum - wide.gather(1, target)[:, 0]) * counted).sum()
    loss = cross_entropy + z_loss * (log_sum.square() * counted).sum()
    grad = torch.exp(wide - log_sum[:, None]) * (counted * (1 + 2 * z_loss * log_sum))[:, None]
    hit = torch.arange(logits.shape[1], device=logits.device) == target
    return loss, cross_entropy, (grad - hit * counted[:, None]).to(logits.dtype)


def _chunk_losses_in_place(
    logits: Tensor, labels: Tensor, scale: Tensor, z_loss: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the same as ``_chunk_losses``, writing the gradient over the logits: without a compiler, passes cost."""
    target, counted = labels.clamp_min(0)[:, None], (labels != IGNORE_INDEX).float() * scale
    wide = logits.float()
    log_sum = torch.logsumexp(wide, dim=-1)
    cross_entropy = ((log_sum - wide.gather(1, target)[:, 0]) * counted).sum()
    loss = cross_entropy + z_loss * (log_sum.square() * counted).sum()
    grad = wide.sub_(log_sum[:, None]).exp_().mul_((counted * (1 + 2 * z_loss * log_sum))[:, None])
    grad.scatter_add_(1, target, -counted[:, None])
    return loss, cross_entropy, grad.to(logits.dtype)


def token_losses(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    """Return the cross entropy of each token in nats, 0 where the label is -100, ``[tokens]``."""
    size = chunk_tokens(hidden.device, len(weight))
    narrow = weight.to(hidden.dtype)
    parts = [
        F.cross_entropy((hidden[i : i + size] @ narrow.T).float(), labels[i : i + size], reduction="none")
        for i in range(0, len(hidden), size)
    ]
    return torch.cat(parts)
