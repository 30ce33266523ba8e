"""Selection of tokens and the ends of completions: prompts, stops, seeds, and Gumbel sampling."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Key = tuple[str, int]
"""(task id, number of the sample)."""
IsWaiting = Callable[[Key], bool]
"""Whether there is no answer yet."""


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
    seed: int = 0
    batch_size: int = 16

    def __post_init__(self) -> None:
        if self.temperature < 0 or not 0 < self.top_p <= 1:
            raise ValueError(
                f"temperature {self.temperature}, top_p {self.top_p}: temperature is 0 or more and top_p in (0, 1]"
            )


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


class StopTracker:
    """Knows which rows of a batch are done: they wrote a stop or the end of the text, or reached their own limit."""

    def __init__(self, prompts: Sequence[Prompt], tokenizer: Any, decoding: Decoding, steps_between_looks: int) -> None:
        self._tokenizer, self._stops = tokenizer, decoding.stops
        self._limits = [prompt.max_new_tokens for prompt in prompts]
        self._done = [False] * len(prompts)
        self._tail = num_tail_tokens(self._stops) + steps_between_looks - 1

    def __call__(self, found: Any) -> Any:
        """Return one truth value a row, of the new tokens [rows, steps]."""
        import torch

        waiting = [index for index, done in enumerate(self._done) if not done]
        tails = found[:, -self._tail :].tolist()
        texts = self._tokenizer.batch_decode([tails[index] for index in waiting])
        end = self._tokenizer.eos_token_id
        for index, text in zip(waiting, texts, strict=True):
            self._done[index] = (
                found.shape[1] >= self._limits[index]
                or end in tails[index]
                or any(stop in text for stop in self._stops)
            )
        return torch.tensor(self._done, device=found.device)


def gumbel_sampler(prompts: Sequence[Prompt], decoding: Decoding) -> Any:
    """Return a logits processor that makes the likeliest token a sample; None for greedy decoding.

    With Gumbel noise added to the logits, their maximum is a draw from the distribution (Gumbel-max).
    """
    import torch
    from transformers import LogitsProcessorList, TopPLogitsWarper

    if not decoding.temperature:
        return None
    generators = [torch.Generator().manual_seed(sample_seed(prompt, decoding)) for prompt in prompts]

    def draw(_input_ids: Any, scores: Any) -> Any:
        kept = scores.float() / decoding.temperature
        if decoding.top_p < 1:
            kept = TopPLogitsWarper(top_p=decoding.top_p)(_input_ids, kept)
        uniform = torch.stack([torch.rand(kept.shape[1], generator=generator) for generator in generators])
        return kept - torch.log(-torch.log(uniform.clamp(1e-20, 1 - 1e-7))).to(kept.device)

    return LogitsProcessorList([draw])
