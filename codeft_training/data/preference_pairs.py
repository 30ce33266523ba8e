"""Preference pairs as a trainer reads them: token ids of a prompt and of two completions.

Prompt and completion are encoded apart, as a model meets them when it is asked: the end of a prompt never joins the
completion's first token.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

COLUMNS = ("item", "prompt", "chosen", "rejected")
HELD_OUT_SHARE = 0.1
EncodedPair = dict[str, list[int]]
"""``prompt_ids``, ``chosen_ids``, ``rejected_ids``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedPairs:
    """The pairs to train on, those to measure on, and the pairs that do not fit."""

    train: Sequence[EncodedPair]
    held_out: Sequence[EncodedPair]
    """Of other items than those of ``train``."""
    num_too_long: int

    @property
    def num_tokens(self) -> int:
        """Tokens of the pairs to train on, a prompt counted with each of its completions."""
        return sum(2 * len(p["prompt_ids"]) + len(p["chosen_ids"]) + len(p["rejected_ids"]) for p in self.train)


def read_pairs(path: Path) -> list[dict[str, str]]:
    """Return the pairs of a file.

    Raises:
        ValueError: a line is no pair, or there is none.
    """
    pairs = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        row = json.loads(line)
        wrong = [name for name in COLUMNS if not isinstance(row.get(name), str) or not row[name].strip()]
        if wrong or row["chosen"] == row["rejected"]:
            problem = f"has no text for {wrong}" if wrong else "prefers a completion to itself"
            raise ValueError(f"line {number} of {str(path)!r} {problem}; make it by python -m codeft_eval pairs")
        pairs.append(row)
    if not pairs:
        raise ValueError(f"{str(path)!r} holds no pairs; make some by python -m codeft_eval pairs")
    return pairs


def encode_pairs(
    pairs: Iterable[Mapping[str, str]], tokenizer: PreTrainedTokenizerBase, *, context_tokens: int, seed: int
) -> EncodedPairs:
    """Return the pairs as token ids, each completion with the end of a text; a tenth of the items is held out.

    Raises:
        ValueError: no pair fits, or all are of one item.
    """
    encoded: dict[str, list[EncodedPair]] = {}
    num_too_long = 0
    for pair in pairs:
        found = _encode(pair, tokenizer)
        longest = len(found["prompt_ids"]) + max(len(found["chosen_ids"]), len(found["rejected_ids"]))
        if longest > context_tokens:
            num_too_long += 1
        else:
            encoded.setdefault(pair["item"], []).append(found)
    if len(encoded) < 2:
        raise ValueError(
            f"pairs of {len(encoded)} items fit {context_tokens} tokens ({num_too_long} pairs are longer); two are the "
            "least, for some are held out: raise context_tokens, or make more pairs"
        )
    items = sorted(encoded)
    held_out = set(np.random.default_rng(seed).permutation(items)[: max(1, round(HELD_OUT_SHARE * len(items)))])
    return EncodedPairs(
        train=[pair for item in items if item not in held_out for pair in encoded[item]],
        held_out=[pair for item in items if item in held_out for pair in encoded[item]],
        num_too_long=num_too_long,
    )


def _encode(pair: Mapping[str, str], tokenizer: Any) -> EncodedPair:
    def ids(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    end = [tokenizer.eos_token_id]
    return {"prompt_ids": ids(pair["prompt"])} | {
        f"{side}_ids": ids(pair[side]) + end for side in ("chosen", "rejected")
    }
