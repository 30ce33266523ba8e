"""In-flight batching: a row that ends makes room for a prompt that waits, and all rows take their steps together.

While the device takes the next steps, the host reads those before, so a row goes on for a while after its end; what it
writes there is cut off.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from codeft_eval.generation.cuda_graph import STEPS_PER_LOOK, WIDTH_STEP, Rows, Steps
from codeft_eval.generation.decoder import Decoder
from codeft_eval.generation.decoding import Decoding, Prompt, StopFinder, sample_seed, token_selector

_log = logging.getLogger(__name__)

Finished = list[tuple[Prompt, list[int]]]
"""Prompts with the tokens behind them, which may go on after the end."""
MEMORY_FRACTION = 0.6
"""Of the free memory of a GPU, for the cache and the logits."""
_LOGIT_BYTES = 36
"""Of one logit, with all that sampling makes of it, once directly and once in graphs."""
_MINIMUM_ROWS = 8
"""Fewer take no less time; and a row's sum alone is taken in an order that differs from run to run."""
_SMALLEST_SHRINKING = 64
"""A batch of fewer rows is not worth the recording of new graphs."""
_SECONDS_BETWEEN_LINES = 10.0


def generate(
    model: Any, tokenizer: Any, prompts: Sequence[Prompt], decoding: Decoding, num_all: int
) -> Iterator[Finished]:
    """Yield finished prompts; ``num_all`` counts those of the whole run, which decide the number of rows.

    When the GPU's memory is exhausted, the prompts that are left begin again in half as many rows.
    """
    longest = max(len(prompt.tokens) + prompt.max_new_tokens for prompt in prompts)
    decoder = Decoder(model, -(-(longest + STEPS_PER_LOOK) // WIDTH_STEP) * WIDTH_STEP)
    stops = StopFinder(tokenizer, decoding.stops)
    ends, num_rows = (
        frozenset(decoding.end_tokens(tokenizer)),
        choose_num_rows(decoder, min(decoding.batch_size, num_all)),
    )
    waiting = dict.fromkeys(prompts)
    while waiting:
        try:
            for finished in _Batch(decoder, list(waiting), decoding, num_rows, stops, ends):
                yield finished
                for prompt, _tokens in finished:
                    del waiting[prompt]
        except torch.OutOfMemoryError:
            if num_rows <= _MINIMUM_ROWS:
                raise
            num_rows //= 2
            _log.warning("the GPU's memory is exhausted; %d prompts go on in %d rows", len(waiting), num_rows)


def choose_num_rows(decoder: Decoder, num_wanted: int) -> int:
    """Return how many rows a batch has: as many as are wanted, or the largest power of two that fits into memory."""
    wanted = max(_MINIMUM_ROWS, num_wanted)
    if decoder.device.type != "cuda":
        return wanted
    free, _total = torch.cuda.mem_get_info(decoder.device)
    free += torch.cuda.memory_reserved(decoder.device) - torch.cuda.memory_allocated(decoder.device)
    fitting = num_rows_in(int(free * MEMORY_FRACTION), decoder)
    if fitting < wanted:
        _log.warning("batches of %d rows, not %d: %.1f GB of the GPU are free", fitting, wanted, free / 1e9)
    return min(wanted, fitting)


def num_rows_in(num_bytes: int, decoder: Decoder) -> int:
    """Return the largest power of two of rows that fit into so many bytes."""
    row_bytes = decoder.length * decoder.bytes_per_token + decoder.vocabulary * _LOGIT_BYTES
    return max(_MINIMUM_ROWS, 1 << (max(1, num_bytes // row_bytes).bit_length() - 1))


@dataclass(slots=True, eq=False)
class _Row:
    prompt: Prompt
    num_steps: int = 0
    """Taken or on their way."""
    tokens: list[int] = field(default_factory=list)
    is_done: bool = False

    @property
    def num_places(self) -> int:
        """The places in the cache that its next steps need."""
        return len(self.prompt.tokens) + self.num_steps + STEPS_PER_LOOK


class _Batch:
    """Rows on the device and the prompts in them."""

    def __init__(
        self,
        decoder: Decoder,
        prompts: Sequence[Prompt],
        decoding: Decoding,
        num_rows: int,
        stops: StopFinder,
        ends: frozenset[int],
    ) -> None:
        self._decoding, self._stops, self._ends = decoding, stops, ends
        self._rows = Rows(decoder, num_rows, token_selector(decoding))
        self._waiting = deque(prompts)
        self._live: dict[int, _Row] = {}
        self._flying: deque[tuple[Steps, dict[int, _Row]]] = deque()
        self._num_ahead = 1 if decoder.device.type == "cuda" else 0
        self._progress = _Progress(len(prompts))

    def __iter__(self) -> Iterator[Finished]:
        """Yield finished prompts, once an eighth of the rows have ended."""
        finished: Finished = []
        while self._waiting or self._live or self._flying:
            self._fill()
            self._shrink()
            self._launch()
            while len(self._flying) > (self._num_ahead if self._live else 0):
                finished += self._land()
            if len(finished) * 8 >= self._rows.num_rows or not (self._waiting or self._live or self._flying):
                self._progress.add(finished)
                yield finished
                finished = []

    def _fill(self) -> None:
        """Give free rows to prompts that wait, several at a time."""
        num_rows = self._rows.num_rows
        num_free = num_rows - len(self._live)
        if not self._waiting or num_free * 16 < num_rows:
            return
        free = [row for row in range(num_rows) if row not in self._live][: len(self._waiting)]
        prompts = [self._waiting.popleft() for _ in free]
        self._live |= {row: _Row(prompt) for row, prompt in zip(free, prompts, strict=True)}
        self._rows.fill(free, [(prompt.tokens, sample_seed(prompt, self._decoding)) for prompt in prompts])

    def _shrink(self) -> None:
        """Halve the rows when no prompt waits and half of them are idle."""
        half = self._rows.num_rows // 2
        if self._waiting or half < _SMALLEST_SHRINKING or not 0 < len(self._live) <= half:
            return
        kept = sorted(self._live)
        idle = [row for row in range(self._rows.num_rows) if row not in self._live]
        self._rows.keep(kept + idle[: half - len(kept)])
        self._live = {place: self._live[row] for place, row in enumerate(kept)}

    def _launch(self) -> None:
        """Start the next steps; a row that reaches its limit in them is free at once."""
        if not self._live:
            return
        steps = self._rows.advance(max(row.num_places for row in self._live.values()))
        self._flying.append((steps, dict(self._live)))
        for row in self._live.values():
            row.num_steps += STEPS_PER_LOOK
        self._live = {place: row for place, row in self._live.items() if row.num_steps < row.prompt.max_new_tokens}

    def _land(self) -> Finished:
        """Read the oldest steps and return the rows that ended in them."""
        steps, flown = self._flying.popleft()
        written = steps.read()
        landed = [(place, row) for place, row in flown.items() if not row.is_done]
        for place, row in landed:
            row.tokens += written[place]
        has_stop = self._stops([row.tokens for _, row in landed], STEPS_PER_LOOK)
        for (_place, row), stopped in zip(landed, has_stop, strict=True):
            is_full = len(row.tokens) >= row.prompt.max_new_tokens
            row.is_done = stopped or is_full or not self._ends.isdisjoint(row.tokens[-STEPS_PER_LOOK:])
        self._live = {place: row for place, row in self._live.items() if not row.is_done}
        return [(row.prompt, row.tokens) for _, row in landed if row.is_done]


class _Progress:
    """Writes how many prompts are finished and how fast, now and then."""

    def __init__(self, num_prompts: int) -> None:
        self._num_prompts, self._num_finished, self._num_tokens = num_prompts, 0, 0
        self._begin = self._last = time.monotonic()

    def add(self, finished: Finished) -> None:
        self._num_finished += len(finished)
        self._num_tokens += sum(min(len(tokens), prompt.max_new_tokens) for prompt, tokens in finished)
        now = time.monotonic()
        if now - self._last < _SECONDS_BETWEEN_LINES:
            return
        self._last, rate = now, self._num_tokens / (now - self._begin)
        _log.info("%d of %d prompts finished, %.0f tokens/s", self._num_finished, self._num_prompts, rate)
