"""The rows of a batch on a device, one decoding step of all of them recorded as a CUDA graph and replayed.

A small model's step is hundreds of kernels of a few microseconds each, so a GPU waits for Python to launch them; a
replay launches all of them at once. Shapes must not change, hence a cache of fixed length, of which a step reads the
width that its longest row needs, with one graph a width. Without a GPU the same steps run one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from codeft_eval.generation.decoder import Decoder

STEPS_PER_LOOK = 8
"""Steps from one look at what the rows have written to the next: a look costs time on the host."""
WIDTH_STEP = 128
"""Cache widths are multiples of this, so that a few graphs serve all lengths."""
_PREFILL_TOKENS = 32768
"""Tokens of one prefill, padding included."""

SelectTokens = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From logits [rows, vocabulary], and each row's seed and place of the next token, to the next tokens [rows]."""
Prompts = Sequence[tuple[tuple[int, ...], int]]
"""Tokens and seed of each."""


@dataclass(frozen=True, slots=True)
class Steps:
    """Tokens of the last steps on their way to the host."""

    tokens: Tensor
    copied: Any

    def read(self) -> list[list[int]]:
        """Return the tokens that each row wrote; waits for the device."""
        if self.copied is not None:
            self.copied.synchronize()
        return self.tokens.T.tolist()


class Rows:
    """Rows of one batch: the last token of each, its position, its seed, and the cache.

    A row writes until another prompt takes its place; the caller decides what of it is wanted.
    """

    @torch.inference_mode()
    def __init__(self, decoder: Decoder, num_rows: int, select: SelectTokens) -> None:
        self._decoder, self._select, self.num_rows = decoder, select, num_rows
        self._cache = decoder.new_cache(num_rows, decoder.length)
        self._tokens, self._positions, self._seeds = (self._zeros(num_rows) for _ in range(3))
        self._begin()

    def _begin(self) -> None:
        """Forget the graphs, which hold the addresses of the tensors that they were recorded with."""
        self._written, self._step = self._zeros(STEPS_PER_LOOK, self.num_rows), self._zeros(1)
        self._widths: set[int] = set()
        self._graphs: dict[int, Any] = {}
        self._pool = torch.cuda.graph_pool_handle() if self._tokens.is_cuda else None

    def _zeros(self, *shape: int) -> Tensor:
        return torch.zeros(shape, dtype=torch.long, device=self._decoder.device)

    @torch.inference_mode()
    def fill(self, rows: Sequence[int], prompts: Prompts) -> None:
        """Let ``rows`` go on from ``prompts``: each text is read once, in groups of similar length."""
        texts: dict[tuple[int, ...], list[int]] = {}
        for number, (tokens, _seed) in enumerate(prompts):
            texts.setdefault(tokens, []).append(number)
        ordered = iter(sorted(texts, key=len, reverse=True))
        while (longest := next(ordered, None)) is not None:
            group = [longest, *islice(ordered, max(0, _PREFILL_TOKENS // len(longest) - 1))]
            source = [place for place, text in enumerate(group) for _ in texts[text]]
            numbers = [number for text in group for number in texts[text]]
            self._prefill(group, source, [rows[number] for number in numbers], [prompts[n][1] for n in numbers])

    def _prefill(self, texts: list[tuple[int, ...]], source: list[int], rows: list[int], seeds: list[int]) -> None:
        device = self._decoder.device
        width = len(texts[0])
        lengths = torch.tensor([len(text) for text in texts], device=device)
        tokens = torch.tensor([[*text, *[0] * (width - len(text))] for text in texts], device=device)
        logits, found = self._decoder.prefill(tokens, lengths)
        chosen, origin = torch.tensor(rows, device=device), torch.tensor(source, device=device)
        self._decoder.store(self._cache, chosen, origin, found)
        self._seeds[chosen] = torch.tensor(seeds, device=device)
        self._positions[chosen] = lengths[origin]
        self._tokens[chosen] = self._select(logits[origin], self._seeds[chosen], self._positions[chosen])

    @torch.inference_mode()
    def advance(self, num_places: int) -> Steps:
        """Take the next steps of all rows, none of which is wanted beyond ``num_places``."""
        width = min(-(-num_places // WIDTH_STEP) * WIDTH_STEP, self._decoder.length)
        self._step.zero_()
        for _ in range(STEPS_PER_LOOK):
            self._take_step(width)
        if not self._tokens.is_cuda:
            return Steps(self._written.clone(), None)
        host = self._written.to("cpu", non_blocking=True)
        copied = torch.cuda.Event()
        copied.record()
        return Steps(host, copied)

    def _take_step(self, width: int) -> None:
        """Take one step: the first of a width directly, because what it allocates cannot be recorded."""
        if width not in self._widths or not self._tokens.is_cuda:
            self._widths.add(width)
            self._decode(width)
            return
        if width not in self._graphs:
            self._graphs[width] = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graphs[width], pool=self._pool):
                self._decode(width)
        self._graphs[width].replay()

    def _decode(self, width: int) -> None:
        """Note the tokens, and put the next ones in their place; a row that nobody wants stays inside the cache."""
        self._written.index_copy_(0, self._step, self._tokens[None])
        logits = self._decoder.decode(self._tokens, self._positions, self._cache, width)
        self._positions.add_(1).clamp_(max=self._decoder.length - 1)
        self._tokens.copy_(self._select(logits, self._seeds, self._positions))
        self._step.add_(1)

    @torch.inference_mode()
    def keep(self, rows: Sequence[int]) -> None:
        """Keep only ``rows``, renumbered in this order: fewer rows take shorter steps."""
        chosen = torch.tensor(list(rows), device=self._decoder.device)
        if self._tokens.is_cuda:
            torch.cuda.synchronize()  # a graph that still runs must not lose its memory
        self.num_rows = len(rows)
        self._tokens, self._positions, self._seeds = (
            kept[chosen] for kept in (self._tokens, self._positions, self._seeds)
        )
        self._begin()
        for layer, tables in enumerate(self._cache):
            self._cache[layer] = self._decoder.rows_of(tables, chosen)
