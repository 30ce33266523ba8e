"""Samples while a model trains: greedy completions of a few fixed prompts, which another process scores.

Invariant: like evaluation texts, they change no weight and draw no random number. They are generated only where their
expected cost keeps all evaluation within its share of the run so far: a short run has few and a long one many.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from codeft_training.data.encoding import load_tokenizer
from codeft_training.measure.eval_texts import EvalText

COMPLETIONS = "completions"
"""Key of a metrics entry: item -> the model's continuation of its prompt."""
_TIMED_TOKENS = 8
"""Generated to estimate the cost of the first samples."""
Generate = Callable[[Sequence[Sequence[int]], int], list[list[int]]]
"""From prompts and a number of tokens to the continuation of each prompt."""


class TrainingSamples:
    """Prompts that are tokenized once and continued again and again."""

    def __init__(self, texts: Sequence[EvalText], tokenizer_folder: Path, context_tokens: int) -> None:
        self._tokenizer = load_tokenizer(tokenizer_folder)
        chosen = [text for text in texts if text.item]
        prompts = {text.item: self._encode(text.context) for text in chosen}
        # twice the longest solution: room for a longer way, and no more than is needed
        self.max_new_tokens = 2 * max((len(self._encode(text.text)) for text in chosen), default=0)
        most_tokens = context_tokens - self.max_new_tokens
        self.prompts = {item: ids for item, ids in prompts.items() if 0 < len(ids) <= most_tokens}
        self._num_given = len(chosen)
        self._expected_seconds: float | None = None

    def describe(self) -> str:
        """Return the log line about the prompts."""
        return (
            f"samples: {len(self.prompts)} of {self._num_given} prompts are continued by {self.max_new_tokens} tokens"
        )

    def measure(self, generate: Generate, affordable_seconds: float) -> dict[str, Any]:
        """Return ``completions`` and ``probe_completion_seconds``; {} where they are expected to take longer."""
        if not self.prompts:
            return {}
        start = time.monotonic()
        if self._expected_seconds is None:
            self._expected_seconds = self._estimate_seconds(generate)
        if self._expected_seconds > affordable_seconds:
            return {}
        found = generate(list(self.prompts.values()), self.max_new_tokens)
        self._expected_seconds = time.monotonic() - start
        texts = [self._tokenizer.decode(ids, skip_special_tokens=True) for ids in found]
        return {
            COMPLETIONS: dict(zip(self.prompts, texts, strict=True)),
            "probe_completion_seconds": round(self._expected_seconds, 4),
        }

    def _estimate_seconds(self, generate: Generate) -> float:
        """Return the expected seconds of all tokens; the first one costs more, for it reads the prompt."""
        starts = [time.monotonic()]
        for num_tokens in (1, 1, 1 + _TIMED_TOKENS):  # the very first call also imports and allocates
            generate(list(self.prompts.values()), num_tokens)
            starts.append(time.monotonic())
        _, first, more = (end - start for start, end in itertools.pairwise(starts))
        return first + max(more - first, 0.0) * (self.max_new_tokens - 1) / _TIMED_TOKENS

    def _encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids


def greedy_generator(model: Any, *, bf16: bool) -> Generate:
    """Return a generator of the likeliest tokens of a Hub model."""
    import torch
    from transformers import GenerationConfig

    def generate(prompts: Sequence[Sequence[int]], num_tokens: int) -> list[list[int]]:
        width = max(map(len, prompts))
        padding, end = model.config.pad_token_id or 0, model.config.eos_token_id
        rows = [[padding] * (width - len(prompt)) + list(prompt) for prompt in prompts]
        mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        config = GenerationConfig(
            do_sample=False, max_new_tokens=num_tokens, pad_token_id=padding, eos_token_id=end, use_cache=True
        )
        with torch.no_grad(), torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=bf16):
            found = model.generate(
                torch.tensor(rows, device=model.device),
                attention_mask=torch.tensor(mask, device=model.device),
                generation_config=config,
            )
        return found[:, width:].tolist()

    return generate
