"""Tokenizers of base models: small ones with the added tokens of a family, and real ones where they are."""

import functools
import json
import os
from pathlib import Path

import pytest

QWEN_SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|vision_pad|>",
    "<|video_pad|>",
)
QWEN_OTHER = (
    "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>",
    "<|repo_name|>", "<|file_sep|>", "<think>", "</think>",
)  # fmt: skip
"""Not special in Qwen's file: they are shown when a text is decoded."""
NORMALIZED = ("<issue_start>", "<|étape|>")
"""As ``add_tokens`` of transformers adds them: looked for in the text after its normalization."""


def real_base(name):
    """Return the folder of a real base model, named by ``CODEFT_TEST_MODELS``; skip where it is not."""
    folder = Path(os.environ.get("CODEFT_TEST_MODELS", "/nowhere")) / name
    if not (folder / "config.json").is_file():
        pytest.skip(f"no {name} here: CODEFT_TEST_MODELS names a folder that holds it")
    return folder


def save_small_base(folder):
    """Save a byte-level tokenizer without merges, with the added tokens of Qwen, others, and runs of spaces."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from codeft_training.data.tokenizer import QWEN2_SPLIT

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={byte: number for number, byte in enumerate(alphabet)}, merges=[]))
    tokenizer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(QWEN2_SPLIT), behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in QWEN_SPECIAL])
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in QWEN_OTHER])
    tokenizer.add_tokens([AddedToken(token, normalized=True) for token in (*NORMALIZED, "    ")])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>", pad_token="<|endoftext|>")
    fast.save_pretrained(folder)
    return folder


@functools.cache
def added_tokens(folder):
    record = json.loads((folder / "tokenizer.json").read_text())
    return [token["content"] for token in record["added_tokens"] if not token["content"].isspace()]
