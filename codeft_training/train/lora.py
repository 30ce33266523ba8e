"""Low-rank additions (LoRA, arXiv 2106.09685): which weights they change, and the rows of tokens trained beside them.

A base model's checkpoint often has tokens that its training never showed it, such as ``<|im_end|>`` in the base models
of Qwen 2.5. Their rows in the embedding and in the output layer stay what they were drawn as unless they are trained.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from codeft_training.data.packed_rows import PackedRows
from codeft_training.recipe import FinetuneRecipe

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LORA_SCALE = 2
"""``lora_alpha`` as a multiple of the rank: the usual choice (arXiv 2405.09673, section 6)."""
_ROWS_AT_A_TIME = 4096


def require_peft(recipe: FinetuneRecipe) -> None:
    """Refuse a recipe that wants LoRA where its library is not installed.

    Raises:
        ValueError: ``peft`` is not installed.
    """
    if recipe.finetuning.lora_rank and find_spec("peft") is None:
        raise ValueError(
            f"recipe {recipe.name!r}: lora_rank = {recipe.finetuning.lora_rank} needs peft, which is not installed; "
            f"in the folder of codeFT pip install -e '.[lora]', or set lora_rank=0 to train all weights"
        )


def lora_config(recipe: FinetuneRecipe, model: PreTrainedModel, token_ids: list[int]) -> Any:
    """Return peft's configuration.

    Args:
        recipe: Its ``lora_rank`` is the rank of the additions.
        model: The base, before it is wrapped.
        token_ids: Tokens whose rows are trained themselves, in the embedding and in the output layer.
    """
    from peft import LoraConfig

    rank = recipe.finetuning.lora_rank
    # every linear layer: with only some of them LoRA falls behind training all weights (QLoRA, arXiv 2305.14314)
    return LoraConfig(
        r=rank,
        lora_alpha=LORA_SCALE * rank,
        target_modules="all-linear",
        trainable_token_indices=dict.fromkeys(_token_layers(model), token_ids) if token_ids else None,
        task_type="CAUSAL_LM",
    )


def _token_layers(model: PreTrainedModel) -> list[str]:
    """Return the layers with a row for each token; of two that share their weights, the first."""
    embedding, output = model.get_input_embeddings(), model.get_output_embeddings()
    layers = [embedding] if output is None or output.weight is embedding.weight else [embedding, output]
    names = {id(module): name for name, module in model.named_modules()}
    return [names[id(layer)] for layer in layers]


def added_tokens_in(packed: PackedRows, tokenizer: Path) -> list[int]:
    """Return the tokens that were added to the vocabulary by name, of those that the training rows hold."""
    from tokenizers import Tokenizer

    added = Tokenizer.from_file(str(tokenizer / "tokenizer.json")).get_added_tokens_decoder()
    tokens, counts = packed.tokens("train"), np.zeros(packed.manifest()["vocab_size"], dtype=np.int64)
    for start in range(0, len(tokens), _ROWS_AT_A_TIME):
        counts += np.bincount(tokens[start : start + _ROWS_AT_A_TIME].reshape(-1), minlength=len(counts))
    return sorted(token_id for token_id in added if counts[token_id])
