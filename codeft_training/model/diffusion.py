"""Masked diffusion with an autoregressive model (DiffuLLaMA, arXiv 2410.17891): noise, loss and sampling.

The model keeps its shift: the logits at a place are of the token after it, whether that is hidden or not. What changes
is attention, which sees both sides, and the inputs, of which some are hidden.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from torch import Tensor

MIN_NOISE = 0.02
"""Least share of hidden tokens that is drawn: the weight of a token is one over the share."""


def draw_noise(rows: int, *, generator: torch.Generator) -> Tensor:
    """Return the share of hidden tokens of each row, in ``MIN_NOISE..1``, spread evenly over the rows (``[rows]``)."""
    first = torch.rand(1, generator=generator)
    shares = (first + torch.arange(rows) / rows) % 1.0
    return MIN_NOISE + (1 - MIN_NOISE) * shares


def hide(ids: Tensor, may_hide: Tensor, share: Tensor, mask_id: int, *, generator: torch.Generator) -> Tensor:
    """Return the ids with about ``share`` of the tokens of each row replaced by the mask; never the first one.

    Args:
        ids: ``[rows, context]``.
        may_hide: Where a token is learned, ``[rows, context]``.
        share: Of each row, ``[rows]``.
        mask_id: The mask.
        generator: Of the draw.
    """
    hidden = torch.rand(ids.shape, generator=generator) < share[:, None]
    hidden &= may_hide
    hidden[:, 0] = False  # there is no place before it to predict it
    return torch.where(hidden, mask_id, ids)


def attention_mask(context: int, openness: float, *, generator: torch.Generator) -> Tensor:
    """Return the mask of a step, ``[1, 1, context, context]``: causal, and each later place with this probability."""
    later = torch.rand(context, context, generator=generator) < openness
    return (torch.ones(context, context, dtype=torch.bool).tril() | later)[None, None]


def diffusion_loss(logits: Tensor, ids: Tensor, noisy: Tensor, mask_id: int, share: Tensor) -> Tensor:
    """Return the sum over hidden tokens of their cross entropy, each divided by its row's share of hidden tokens.

    Args:
        logits: Of the noisy ids, ``[rows, context, vocabulary]``; those at a place are of the token after it.
        ids: The tokens, ``[rows, context]``.
        noisy: The ids with hidden tokens.
        mask_id: The mask.
        share: Of each row, ``[rows]``.
    """
    labels = torch.where(noisy == mask_id, ids, -100)[:, 1:]
    nats = F.cross_entropy(logits[:, :-1].float().transpose(1, 2), labels, reduction="none")
    return (nats / share.to(nats.device)[:, None]).sum()


@torch.no_grad()
def fill(
    model: Any, ids: Tensor, mask_id: int, *, num_steps: int, lengths: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the ids with every mask filled, the surest tokens first, and the mean log-likelihood of each row's tokens.

    The likelihood of a token is that of the pass which chose it, so it compares fillings of one gap and bounds nothing.

    Args:
        model: A causal model of transformers, adapted to diffusion.
        ids: ``[rows, context]``; the first of a row is no mask.
        mask_id: The mask.
        num_steps: Passes; as many as a row has masks fill one token each.
        lengths: Tokens of each row, ``[rows]``; what follows them is padding. Without them, all are of the context.

    Raises:
        ValueError: a first token is hidden, or there are no passes.
    """
    if num_steps < 1 or bool((ids[:, 0] == mask_id).any()):
        raise ValueError(
            f"num_steps {num_steps} must be at least 1, and a token must stand before the first hidden one"
        )
    rows, context = ids.shape
    ids = ids.clone().to(model.device)
    sizes = torch.full((rows,), context) if lengths is None else lengths
    is_text = torch.arange(context, device=ids.device) < sizes.to(ids.device)[:, None]
    seen = is_text[:, None, None, :].expand(rows, 1, context, context)
    total, num_hidden = torch.zeros(rows, device=ids.device), (ids == mask_id).sum(1)
    for left in range(num_steps, 0, -1):
        hidden = ids == mask_id
        if not hidden.any():
            break
        logits = model(input_ids=ids, attention_mask=seen, use_cache=False).logits
        total += _fill_surest(ids, logits, hidden, mask_id, left)
    return ids, total / num_hidden.clamp(min=1)


def _fill_surest(ids: Tensor, logits: Tensor, hidden: Tensor, mask_id: int, left: int) -> Tensor:
    """Fill the surest of each row's masks, one share of ``left``, in place; return their log-likelihoods by row."""
    row, place = hidden.nonzero(as_tuple=True)
    chosen = logits[row, place - 1].float()
    chosen[:, mask_id] = -torch.inf
    sureness, tokens = chosen.log_softmax(-1).max(-1)
    ranked = torch.full(ids.shape, -torch.inf, device=ids.device)
    ranked[row, place] = sureness
    rank = ranked.argsort(1, descending=True).argsort(1)
    is_surest = (rank < -(-hidden.sum(1, keepdim=True) // left))[row, place]
    ids[row[is_surest], place[is_surest]] = tokens[is_surest]
    found = torch.zeros(len(ids), device=ids.device)
    return found.index_add_(0, row[is_surest], sureness[is_surest])
