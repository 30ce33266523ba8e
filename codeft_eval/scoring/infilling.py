"""Prompts for filling a gap, made with the tokens that a checkpoint's own tokenizer has for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from codeft_eval.benchmarks.benchmark import Item

_TOKENS = (
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),  # Qwen2.5-Coder, CodeGemma, codeft_training
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),  # StarCoder
    ("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),  # SantaCoder
    ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),  # DeepSeek-Coder
)
"""Before the prefix, before the suffix and before the middle, which the model writes."""


def with_infilling_tokens(items: Sequence[Item], checkpoint: Path) -> list[Item]:
    """Return the items; the prompt of one with a gap has prefix and suffix in the order prefix, suffix, middle.

    Raises:
        ValueError: there are gaps, and the tokenizer has no tokens for infilling.
    """
    if not any(item.suffix for item in items):
        return list(items)
    from transformers import AutoTokenizer

    known = AutoTokenizer.from_pretrained(checkpoint, local_files_only=True).get_vocab()
    tokens = next((tokens for tokens in _TOKENS if set(tokens) <= known.keys()), None)
    if tokens is None:
        raise ValueError(
            f"checkpoint {str(checkpoint)!r} has none of the infilling tokens {[group[0] for group in _TOKENS]}; score "
            "a model that was trained to fill gaps, or another benchmark"
        )
    return [_with_tokens(item, tokens) for item in items]


def _with_tokens(item: Item, tokens: tuple[str, str, str]) -> Item:
    before, after, middle = tokens
    return replace(item, prompt=f"{before}{item.prompt}{after}{item.suffix}{middle}") if item.suffix else item
