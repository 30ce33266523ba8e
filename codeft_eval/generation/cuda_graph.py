"""Generation for a batch of prompts, one decoding step recorded as a CUDA graph and replayed for every token.

A small model's step is hundreds of kernels of a few microseconds each, so a GPU waits for Python to launch them; a
replay launches all of them at once. Shapes must not change, hence a cache of fixed length and no row that leaves early.
Without a GPU the same steps run one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

STEPS_BETWEEN_LOOKS = 16
"""Steps from one look at whether the rows are done to the next: a look waits for the GPU, and later text is cut."""
SelectToken = Callable[[Any], Any]
"""From the logits [rows, vocabulary] to the next tokens [rows]."""
IsDone = Callable[[Any], bool]
"""Whether the tokens written so far, [rows, steps], are all that is wanted."""


def supports_cuda_graph(config: Any) -> bool:
    """Return whether one mask serves all layers of a model: full attention in each, no sliding window."""
    is_sliding = getattr(config, "sliding_window", None) is not None
    kinds = getattr(config, "layer_types", None) or ["sliding_attention" if is_sliding else "full_attention"]
    return set(kinds) == {"full_attention"}


def generate(model: Any, tokens: Any, mask: Any, num_new: int, select_token: SelectToken, is_done: IsDone) -> Any:
    """Return the new tokens [rows, at most num_new] behind ``tokens`` [rows, width]; ``mask`` is 0 at padding."""
    import torch
    from transformers import StaticCache

    with torch.inference_mode():
        cache = StaticCache(config=model.config, max_cache_len=tokens.shape[1] + num_new)
        positions = (mask.cumsum(1) - 1).clamp_min(0)
        found = model(
            input_ids=tokens, attention_mask=mask, position_ids=positions, past_key_values=cache, logits_to_keep=1
        )
        step = _Step(model, cache, mask, positions[:, -1:] + 1)
        written = torch.zeros((len(tokens), num_new), dtype=tokens.dtype, device=tokens.device)
        written[:, 0] = select_token(found.logits[:, -1])
        for number in range(1, num_new):
            if number % STEPS_BETWEEN_LOOKS == 0 and is_done(written[:, :number]):
                return written[:, :number]
            written[:, number] = select_token(step(written[:, number - 1 : number]))
        return written


class _Step:
    """From the last tokens to the logits of the next: the first time directly, then recorded, then replayed."""

    def __init__(self, model: Any, cache: Any, mask: Any, positions: Any) -> None:
        import torch

        num_rows, width = mask.shape
        length = cache.get_max_length()
        hidden = torch.finfo(model.dtype).min
        self._model, self._cache = model, cache
        self._token, self._position = torch.zeros_like(positions), positions.clone()
        self._mask = torch.full((num_rows, 1, 1, length), hidden, dtype=model.dtype, device=mask.device)
        self._mask[:, 0, 0, :width].masked_fill_(mask.bool(), 0.0)
        self._place = torch.tensor([width], device=mask.device)
        self._num_calls = 0
        self._graph: Any = None
        self._logits: Any = None

    def __call__(self, token: Any) -> Any:
        self._token.copy_(token)
        self._num_calls += 1
        if self._num_calls == 1 or not self._token.is_cuda:  # the first call also allocates, which no graph can record
            return self._run()
        graph = self._graph or self._record()
        graph.replay()
        return self._logits

    def _record(self) -> Any:
        import torch

        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._logits = self._run()
        return self._graph

    def _run(self) -> Any:
        self._mask.index_fill_(3, self._place, 0.0)
        found = self._model(
            input_ids=self._token,
            attention_mask=self._mask,
            position_ids=self._position,
            past_key_values=self._cache,
            logits_to_keep=1,
        )
        self._position.add_(1)
        self._place.add_(1)
        return found.logits[:, -1]
