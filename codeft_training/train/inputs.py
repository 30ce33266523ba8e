"""Checks before the first step: recipe, packed rows, tokenizer, base model and folder belong together."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from codeft_training.data.vocabulary import Vocabulary, read_vocabulary
from codeft_training.model.base_model import base_folder
from codeft_training.recipe import FinetuneRecipe, PretrainRecipe
from codeft_training.run_spec import TrainingRun
from codeft_training.train.disk_space import check_space


def check_inputs(run: TrainingRun) -> None:
    """Check that a run can begin, and make its folder.

    Raises:
        ValueError: the inputs do not belong together, or are damaged; names both.
        OSError: the disk is too small for the run.
    """
    _check_processes(run)
    run.packed.verify()
    vocabulary = read_vocabulary(run.tokenizer)
    _check_rows(run, vocabulary)
    run.packed.order(run.recipe.data.seed, run.recipe.schedule.stages)  # each stage has rows
    run.output.mkdir(parents=True, exist_ok=True)
    if isinstance(run.recipe, FinetuneRecipe):
        _check_base(run, run.recipe, vocabulary)
    elif isinstance(run.recipe, PretrainRecipe):
        _check_shape(run.recipe, vocabulary)
    check_space(run)


def _check_processes(run: TrainingRun) -> None:
    if isinstance(run.recipe, FinetuneRecipe) and "RANK" in os.environ:
        raise ValueError("a base model is fine-tuned by one process; leave --processes and --nodes at 1")
    is_alone = os.environ.get("WORLD_SIZE", "1") == "1"
    if isinstance(run.recipe, PretrainRecipe) and run.recipe.pretraining.parallel == "shard" and is_alone:
        raise ValueError(
            "parallel = 'shard' needs several processes to share the weights; set --processes, or parallel=replicate"
        )


def _check_rows(run: TrainingRun, vocabulary: Vocabulary) -> None:
    manifest, wanted = run.packed.manifest(), run.recipe.data.context_tokens
    if manifest["context_tokens"] != wanted:
        raise ValueError(
            f"rows were packed at {manifest['context_tokens']} tokens, recipe {run.recipe.name!r} wants {wanted}; "
            f"materialize corpus/packed with this recipe"
        )
    packed_with = manifest.get("vocabulary_hash")
    if packed_with != vocabulary.hash:
        known = f"{manifest['vocab_size']:,} tokens (vocabulary {packed_with or 'not recorded'})"
        raise ValueError(
            f"the rows in {str(run.packed.folder)!r} were packed with a tokenizer of {known}, {str(run.tokenizer)!r} "
            f"has {vocabulary.describe()}; materialize corpus/packed again"
        )


def _check_shape(recipe: PretrainRecipe, vocabulary: Vocabulary) -> None:
    size = len(vocabulary.ids)
    if size > recipe.model.vocab_size:  # fewer are what a small corpus gives: the model has rows for more
        raise ValueError(
            f"the tokenizer has {size} tokens, recipe {recipe.name!r} has vocab_size = {recipe.model.vocab_size}; "
            f"materialize model/tokenizer and corpus/packed with this recipe, or set vocab_size={size}"
        )


def _check_base(run: TrainingRun, recipe: FinetuneRecipe, vocabulary: Vocabulary) -> None:
    base_model = recipe.finetuning.base_model
    folder, checkpoint = base_folder(base_model).resolve(), (run.output / "checkpoint").resolve()
    if folder.is_relative_to(checkpoint) or checkpoint.is_relative_to(folder):
        raise ValueError(
            f"base_model {base_model!r} would be replaced by the result, {str(checkpoint)!r}; copy it to another "
            f"folder and name that (the asset keeps earlier checkpoints below history/), or choose another --output"
        )
    if token := vocabulary.first_difference(_base_vocabulary(folder)):
        raise ValueError(
            f"base_model {base_model!r} knows the token {token!r} by another id than the tokenizer in "
            f"{str(run.tokenizer)!r}, which has {vocabulary.describe()}; materialize model/tokenizer and corpus/packed "
            f"with a recipe of this base model"
        )
    _check_base_size(base_model, folder, vocabulary, recipe.data.context_tokens)


def _base_vocabulary(folder: Path) -> Vocabulary:
    # AutoTokenizer would make an empty tokenizer of the model's type where there is none
    if not (folder / "tokenizer.json").is_file():
        raise ValueError(
            f"the base model in {str(folder)!r} has no tokenizer.json, so rows cannot be checked against it; save its "
            f"tokenizer beside it"
        )
    return read_vocabulary(folder)


def _check_base_size(base_model: str, folder: Path, vocabulary: Vocabulary, context_tokens: int) -> None:
    from transformers import AutoConfig

    config: Any = AutoConfig.from_pretrained(folder).get_text_config()
    num_tokens = max(vocabulary.ids.values()) + 1
    if num_tokens > config.vocab_size:
        raise ValueError(
            f"base_model {base_model!r} has an embedding of {config.vocab_size:,} rows, the tokenizer {num_tokens:,} "
            f"ids; materialize model/tokenizer and corpus/packed with a recipe of this base model"
        )
    if context_tokens > config.max_position_embeddings:
        raise ValueError(
            f"base_model {base_model!r} knows {config.max_position_embeddings:,} positions, the rows have "
            f"{context_tokens:,} tokens; set context_tokens, and materialize corpus/packed with it"
        )
