"""What a model writes while it trains: completions of a few fixed prompts, for somebody else to judge.

Invariant: like a probe, it changes no weight and draws no random number. It is asked for only where what it is expected
to take keeps all that is measured within its share of the run so far, so a short run has few and a long one many.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from codeft_training.data.encoding import load_tokenizer
from codeft_training.measure.eval_texts import ProbeText

COMPLETIONS = "completions"
"""Of a metrics entry: item -> what the model wrote behind its prompt."""
_TRIED_TOKENS = 8
"""Generated to find out what the first completions will take."""
Write = Callable[[Sequence[Sequence[int]], int], list[list[int]]]
"""From prompts and a number of tokens to what follows each prompt."""


class Completions:
    """Prompts that are tokenized once and continued again and again."""

    def __init__(self, texts: Sequence[ProbeText], tokenizer_folder: Path, context_tokens: int) -> None:
        self._tokenizer = load_tokenizer(tokenizer_folder)
        chosen = [text for text in texts if text.item]
        prompts = {text.item: self._encode(text.context) for text in chosen}
        # twice what the longest solution takes: room for a longer way, and no more than is needed
        self.max_new_tokens = 2 * max((len(self._encode(text.text)) for text in chosen), default=0)
        most_tokens = context_tokens - self.max_new_tokens
        self.prompts = {item: ids for item, ids in prompts.items() if 0 < len(ids) <= most_tokens}
        self._num_given = len(chosen)
        self._expected_seconds: float | None = None

    def told(self) -> str:
        """Return the log line of what is written."""
        return f"probe: {len(self.prompts)} of {self._num_given} prompts are continued by {self.max_new_tokens} tokens"

    def measure(self, write: Write, affordable_seconds: float) -> dict[str, Any]:
        """Return ``completions`` and ``probe_completion_seconds``; {} where they are expected to take longer."""
        if not self.prompts:
            return {}
        start = time.monotonic()
        if self._expected_seconds is None:
            self._expected_seconds = self._tried(write)
        if self._expected_seconds > affordable_seconds:
            return {}
        found = write(list(self.prompts.values()), self.max_new_tokens)
        self._expected_seconds = time.monotonic() - start
        texts = [self._tokenizer.decode(ids, skip_special_tokens=True) for ids in found]
        return {
            COMPLETIONS: dict(zip(self.prompts, texts, strict=True)),
            "probe_completion_seconds": round(self._expected_seconds, 4),
        }

    def _tried(self, write: Write) -> float:
        """Return what all tokens are expected to take; the first one, with the prompts before it, is another matter."""
        starts = [time.monotonic()]
        for num_tokens in (1, 1, 1 + _TRIED_TOKENS):  # the very first call also imports and allocates
            write(list(self.prompts.values()), num_tokens)
            starts.append(time.monotonic())
        _, first, more = (end - start for start, end in itertools.pairwise(starts))
        return first + max(more - first, 0.0) * (self.max_new_tokens - 1) / _TRIED_TOKENS

    def _encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids


def greedy(model: Any, *, bf16: bool) -> Write:
    """Return the Hub model as it stands, as a writer of its likeliest tokens."""
    import torch
    from transformers import GenerationConfig

    def write(prompts: Sequence[Sequence[int]], num_tokens: int) -> list[list[int]]:
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

    return write
