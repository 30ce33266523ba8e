"""Writes a checkpoint as one GGUF file, for llama.cpp, programs built on it and ``from_pretrained(gguf_file=…)``.

Weights keep their type: nothing is lost. The tokenizer travels along; it is declared as ``qwen2``, so one that splits
text by another expression is refused instead of being split wrongly by every reader.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from codeft_assets.base.files import replacing_file
from codeft_training.data.tokenizer import QWEN2_SPLIT, TURN_END, plain_template

if TYPE_CHECKING:
    import torch
    from gguf import GGUFWriter
    from transformers import PretrainedConfig

ARCHITECTURES = ("qwen3", "qwen2")
"""Model types whose tensors are stored as they are: their rotary halves need no reordering."""
_CONTROL, _USER_DEFINED, _NORMAL, _UNUSED = 3, 4, 1, 5  # gguf.TokenType


def write_gguf(checkpoint: Path, output: Path, *, name: str) -> None:
    """Write ``output`` from a ``save_pretrained`` folder with one ``model.safetensors``.

    Raises:
        ValueError: the package ``gguf`` is not installed, the architecture is not among ``ARCHITECTURES``, a tensor has
            no name in the format, positions are stretched, or the tokenizer does not split as Qwen 2's.
    """
    try:
        from gguf import GGUFWriter
    except ImportError as error:
        raise ValueError("writing GGUF needs the package gguf; install it, or export with --no-gguf") from error
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(checkpoint)
    if config.model_type not in ARCHITECTURES:
        raise ValueError(f"model type {config.model_type!r} is none of {ARCHITECTURES}; export with --no-gguf")
    if config.rope_parameters["rope_type"] != "default":
        raise ValueError(f"rope_parameters {config.rope_parameters} must be 'default' ones; export with --no-gguf")
    with replacing_file(output) as temporary:
        writer = GGUFWriter(temporary, config.model_type)
        writer.add_name(name)
        _add_shape(writer, config)
        _add_tokenizer(writer, checkpoint, config.vocab_size)
        _add_tensors(writer, config, checkpoint / "model.safetensors")
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def _add_shape(writer: GGUFWriter, config: PretrainedConfig) -> None:
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)


def _add_tokenizer(writer: GGUFWriter, checkpoint: Path, vocab_size: int) -> None:
    record = json.loads((checkpoint / "tokenizer.json").read_text())
    steps = (record["pre_tokenizer"] or {}).get("pretokenizers", [])
    if [step["pattern"].get("Regex") for step in steps if step["type"] == "Split"] != [QWEN2_SPLIT]:
        raise ValueError(
            f"the tokenizer of {str(checkpoint)!r} does not split text by Qwen 2's expression, and no reader of "
            f"GGUF would know how it does; export with --no-gguf"
        )
    names = {token_id: token for token, token_id in record["model"]["vocab"].items()}
    kinds = dict.fromkeys(names, _NORMAL)
    for token in record["added_tokens"]:
        names[token["id"]] = token["content"]
        kinds[token["id"]] = _CONTROL if token["special"] else _USER_DEFINED
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in record["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    # a model may have more embeddings than its tokenizer has tokens: the rest is padding
    writer.add_token_list([names.get(i, f"[PAD{i}]") for i in range(vocab_size)])
    writer.add_token_types([kinds.get(i, _UNUSED) for i in range(vocab_size)])
    writer.add_token_merges(merges)
    writer.add_add_bos_token(False)
    ids = {name: token_id for token_id, name in names.items()}
    settings = json.loads((checkpoint / "tokenizer_config.json").read_text())
    for key in ("bos", "eos", "pad"):
        if settings.get(f"{key}_token"):
            getattr(writer, f"add_{key}_token_id")(ids[settings[f"{key}_token"]])
    writer.add_eot_token_id(ids[TURN_END])
    template = checkpoint / "chat_template.jinja"
    if template.is_file():
        writer.add_chat_template(plain_template(template.read_text()))


def _add_tensors(writer: GGUFWriter, config: PretrainedConfig, weights: Path) -> None:
    import gguf
    from safetensors.torch import load_file

    architecture = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == config.model_type)
    names = gguf.get_tensor_name_map(architecture, config.num_hidden_layers)
    for name, tensor in load_file(weights).items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        stored = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if stored is None:
            raise ValueError(f"tensor {name!r} has no name in GGUF's {config.model_type!r}; export with --no-gguf")
        array, kind = _as_array(tensor)
        writer.add_tensor(stored, array, raw_dtype=kind)


def _as_array(tensor: torch.Tensor) -> tuple[Any, Any]:
    """Return a tensor's bytes and their GGUF type; vectors are stored in 32 bits, as readers expect."""
    import gguf
    import torch

    if tensor.dtype == torch.bfloat16 and tensor.dim() > 1:
        return tensor.view(torch.int16).numpy().view(np.uint8), gguf.GGMLQuantizationType.BF16
    return tensor.float().numpy(), gguf.GGMLQuantizationType.F32
