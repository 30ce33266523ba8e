"""The configuration of the model that a run begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codeft_training.model.base_model import base_folder
from codeft_training.recipe import FinetuneRecipe, PretrainRecipe, Recipe

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, Qwen3Config


def qwen3_config(recipe: PretrainRecipe) -> Qwen3Config:
    """Return the configuration of a model from scratch in the recipe's shape."""
    from transformers import Qwen3Config

    shape = recipe.model
    return Qwen3Config(
        vocab_size=shape.vocab_size,
        hidden_size=shape.hidden_size,
        num_hidden_layers=shape.num_layers,
        num_attention_heads=shape.num_heads,
        num_key_value_heads=shape.num_kv_heads,
        head_dim=shape.hidden_size // shape.num_heads,
        intermediate_size=shape.intermediate_size,
        max_position_embeddings=recipe.data.context_tokens,
        tie_word_embeddings=True,
        use_cache=True,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=0,
    )


def empty_model(recipe: Recipe) -> PreTrainedModel:
    """Return the model with every weight's shape and type, and no memory for any."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config: PretrainedConfig
    if isinstance(recipe, FinetuneRecipe):
        config = AutoConfig.from_pretrained(base_folder(recipe.finetuning.base_model))
    else:
        assert isinstance(recipe, PretrainRecipe), "a recipe is one of two kinds"
        config = qwen3_config(recipe)
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)
