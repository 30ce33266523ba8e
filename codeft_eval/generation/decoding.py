"""Selection of tokens and the ends of completions: prompts, stops, seeds, and sampling on the model's device."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Key = tuple[str, int]
"""(task id, number of the sample)."""
IsWaiting = Callable[[Key], bool]
"""Whether there is no answer yet."""
NUM_CANDIDATES = 1024
_UNIFORM_BITS = 23
"""As many as a float32 below 1 holds even after a product with a sum that is not quite 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A prompt with all that its completion depends on."""

    task_id: str
    sample: int
    tokens: tuple[int, ...]
    max_new_tokens: int
    """The rest of the model's context, at most the benchmark's limit."""

    @property
    def key(self) -> Key:
        """The key under which its completion is stored."""
        return self.task_id, self.sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """Selection of tokens and the end of a completion."""

    stops: tuple[str, ...]
    temperature: float = 0.0
    """0: the likeliest token."""
    top_p: float = 1.0
    min_p: float = 0.0
    """The least probability, relative to the likeliest token's, that a token needs."""
    seed: int = 0
    batch_size: int = 16
    stop_token_ids: tuple[int, ...] = ()
    """Tokens that end a completion beside the tokenizer's own end of a text."""

    def __post_init__(self) -> None:
        if self.temperature < 0 or not 0 < self.top_p <= 1 or not 0 <= self.min_p <= 1:
            raise ValueError(
                f"temperature {self.temperature}, top_p {self.top_p}, min_p {self.min_p}: temperature is 0 or more, "
                "top_p in (0, 1], and min_p in [0, 1]"
            )

    def end_tokens(self, tokenizer: Any) -> list[int]:
        """Return the tokens that end a completion."""
        return sorted({*self.stop_token_ids, tokenizer.eos_token_id} - {None})


def cut_at_stop(text: str, stops: Sequence[str]) -> str:
    """Return the text before its first stop."""
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    return text[: min(places)] if places else text


def sample_seed(prompt: Prompt, decoding: Decoding) -> int:
    """Return the seed of one sample: of the task, the item and its number, and of nothing else."""
    text = f"{decoding.seed}\0{prompt.task_id}\0{prompt.sample}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")


def num_tail_tokens(stops: Sequence[str]) -> int:
    """Return how many tokens hold the longest stop, were each of its bytes a token, and one before."""
    return max((len(stop.encode()) for stop in stops), default=0) + 2


def decoded(tokenizer: Any, rows: Sequence[Sequence[int]]) -> list[str]:
    """Return the text of each row; for no rows transformers 5.17 returns one empty text."""
    return tokenizer.batch_decode(rows) if rows else []


class StopTracker:
    """Knows which rows of a batch are done: they wrote a stop or the end of the text, or reached their own limit."""

    def __init__(self, prompts: Sequence[Prompt], tokenizer: Any, decoding: Decoding) -> None:
        self._tokenizer, self._stops, self._ends = tokenizer, decoding.stops, set(decoding.end_tokens(tokenizer))
        self._limits = [prompt.max_new_tokens for prompt in prompts]
        self._done = [False] * len(prompts)

    def __call__(self, found: Any) -> Any:
        """Return one truth value a row, of the new tokens [rows, steps], after each step."""
        import torch

        waiting = [index for index, done in enumerate(self._done) if not done]
        tails = found[:, -num_tail_tokens(self._stops) :].tolist()
        texts = decoded(self._tokenizer, [tails[index] for index in waiting])
        for index, text in zip(waiting, texts, strict=True):
            self._done[index] = (
                found.shape[1] >= self._limits[index]
                or not self._ends.isdisjoint(tails[index])
                or any(stop in text for stop in self._stops)
            )
        return torch.tensor(self._done, device=found.device)


class StopFinder:
    """Finds stops in what rows have just written, and reads only rows with a token in which a stop can end."""

    def __init__(self, tokenizer: Any, stops: Sequence[str]) -> None:
        self._tokenizer, self._stops = tokenizer, stops
        self._num_tail = num_tail_tokens(stops)
        self._can_end: dict[int, bool] = {}

    def __call__(self, rows: Sequence[Sequence[int]], num_new: int) -> list[bool]:
        """Return which rows hold a stop that ends within the last ``num_new`` tokens."""
        if not self._stops:
            return [False] * len(rows)
        self._learn({token for row in rows for token in row[-num_new:]})
        read = [number for number, row in enumerate(rows) if any(self._can_end[token] for token in row[-num_new:])]
        texts = decoded(self._tokenizer, [rows[number][-self._num_tail - num_new + 1 :] for number in read])
        found = {number for number, text in zip(read, texts, strict=True) if any(stop in text for stop in self._stops)}
        return [number in found for number in range(len(rows))]

    def _learn(self, tokens: set[int]) -> None:
        """A stop can end in a token that holds it, or begins with the end of it, or is only part of a character."""
        unknown = sorted(tokens - self._can_end.keys())
        for token, text in zip(unknown, decoded(self._tokenizer, [[token] for token in unknown]), strict=True):
            self._can_end[token] = "\ufffd" in text or any(
                stop in text or any(text.startswith(stop[place:]) for place in range(len(stop))) for stop in self._stops
            )


def token_selector(decoding: Decoding) -> Callable[[Any, Any, Any], Any]:
    """Return the choice of the next tokens from logits [rows, vocabulary], on their device.

    A sample is drawn by the inverse of the cumulative distribution from one number, which depends on the row's seed and
    the token's place alone. top_p and min_p choose among the likeliest ``NUM_CANDIDATES`` tokens.
    """

    def select(logits: Any, seeds: Any, places: Any) -> Any:
        if not decoding.temperature:
            return logits.argmax(-1)
        weights = (logits.float() / decoding.temperature).softmax(-1)
        if decoding.top_p == 1 and not decoding.min_p:
            return _draw(weights, seeds, places)
        weights, tokens = weights.topk(min(NUM_CANDIDATES, weights.shape[1]))
        is_out = (weights.cumsum(-1) - weights >= decoding.top_p) | (weights < decoding.min_p * weights[:, :1])
        return tokens.gather(1, _draw(weights.masked_fill(is_out, 0.0), seeds, places)[:, None])[:, 0]

    return select


def _draw(weights: Any, seeds: Any, places: Any) -> Any:
    """Return an index for each row of weights, drawn in proportion to them."""
    import torch

    sums = weights.cumsum(-1)
    aim = sums[:, -1:] * uniform(seeds, places)[:, None]
    return torch.searchsorted(sums, aim, right=True)[:, 0].clamp(max=weights.shape[1] - 1)


def uniform(seeds: Any, places: Any) -> Any:
    """Return a number in [0, 1) for each seed and place: SplitMix64, in the wrapping arithmetic of int64."""
    import torch

    state = seeds + (places + 1) * _signed(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        state = (state ^ _shifted(state, shift)) * _signed(factor)
    return _shifted(state ^ _shifted(state, 31), 64 - _UNIFORM_BITS).to(torch.float32) / 2**_UNIFORM_BITS


def _shifted(state: Any, num_bits: int) -> Any:
    """Shift right and fill with zeros, not with the sign."""
    return (state >> num_bits) & ((1 << (64 - num_bits)) - 1)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def sampler(prompts: Sequence[Prompt], decoding: Decoding) -> Any:
    """Return a logits processor that leaves only the selected token of each row; None for greedy decoding.

    ``prompts`` are the rows, padded on the left to the longest.
    """
    import torch
    from transformers import LogitsProcessorList

    if not decoding.temperature:
        return None
    select, width = token_selector(decoding), max(len(prompt.tokens) for prompt in prompts)
    seeds = torch.tensor([sample_seed(prompt, decoding) for prompt in prompts])
    gaps = torch.tensor([width - len(prompt.tokens) for prompt in prompts])

    def keep_selected(input_ids: Any, scores: Any) -> Any:
        places = (input_ids.shape[1] - gaps).to(scores.device)
        chosen = select(scores, seeds.to(scores.device), places)
        return torch.full_like(scores, -torch.inf).scatter(1, chosen[:, None], 0.0)

    return LogitsProcessorList([keep_selected])
