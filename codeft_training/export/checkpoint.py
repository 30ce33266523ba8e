"""Writes a model with its tokenizer as the programs that load it read them: transformers 4 and 5, vLLM, and others.

transformers 5 gave some settings new names and places. A reader that does not find one takes its own default without a
word, so each setting is written under both.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeft_training.data.tokenizer import END_OF_TEXT, TURN_END, plain_template

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Settings = dict[str, Any]
_OF_THIS_MACHINE = ("is_local", "local_files_only", "_from_model_config")
"""Settings of the process that saved; the last lets a reader put the model's ends of text in place of the stop list."""


def save_checkpoint(model: PreTrainedModel, tokenizer_folder: Path, folder: Path, *, dtype: torch.dtype | None) -> None:
    """Write weights, configuration, tokenizer and chat template.

    Generation stops where the base model stopped, at the end of a turn, and at the end of a text.

    Args:
        model: The trained model; its settings for generation are kept but for the stop list.
        tokenizer_folder: The tokenizer of the training.
        folder: The folder to fill.
        dtype: Type of the weights in the file; None keeps theirs.
    """
    import torch
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    if tokenizer.chat_template:  # a base model may have none
        tokenizer.chat_template = plain_template(tokenizer.chat_template)
    model.generation_config.eos_token_id = stop_ids(model.generation_config.eos_token_id, tokenizer)
    model.config.eos_token_id = tokenizer.eos_token_id
    model.config.use_cache = True  # trainers switch it off
    if dtype is not None:
        torch.nn.Module.to(model, dtype)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _rewrite(folder / "config.json", _model_settings)
    _rewrite(folder / "generation_config.json", _portable)
    _rewrite(folder / "tokenizer_config.json", _tokenizer_settings)


def stop_ids(known: int | list[int] | None, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the ids in ``known``, the base model's, and those of our own ends of a turn and of a text."""
    known = [known] if isinstance(known, int) else known or []
    vocabulary = tokenizer.get_vocab()
    return list(dict.fromkeys([*known, vocabulary[TURN_END], vocabulary[END_OF_TEXT]]))


def _rewrite(path: Path, change: Callable[[Settings], Settings]) -> None:
    path.write_text(json.dumps(change(json.loads(path.read_text())), indent=2, sort_keys=True) + "\n")


def _portable(settings: Settings) -> Settings:
    return {name: value for name, value in settings.items() if name not in _OF_THIS_MACHINE}


def _model_settings(config: Settings) -> Settings:
    rope = config.get("rope_parameters") or {}
    older = {"torch_dtype": config["dtype"]}
    if "rope_theta" in rope:
        older["rope_theta"] = rope["rope_theta"]
    if rope.get("rope_type", "default") != "default":
        older["rope_scaling"] = {name: value for name, value in rope.items() if name != "rope_theta"}
    return config | older


def _tokenizer_settings(config: Settings) -> Settings:
    """Name the class that reads ``tokenizer.json`` as it is, in both majors, and the special tokens as a list."""
    special = config.get("extra_special_tokens") or []
    renamed = {name: value for name, value in _portable(config).items() if name != "extra_special_tokens"}
    return renamed | {"tokenizer_class": "PreTrainedTokenizerFast", "additional_special_tokens": special}
