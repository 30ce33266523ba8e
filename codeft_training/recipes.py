"""The recipes: the one place to add one. Their fields are documented in ``recipe.py``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from codeft_training.recipe import FinetuneRecipe, PretrainRecipe, Recipe
from codeft_training.recipe_groups import (
    DataConfig,
    FinetuningConfig,
    ModelShape,
    MonitorConfig,
    OptimizationConfig,
    PrecisionConfig,
    PretrainingConfig,
    ScheduleConfig,
)
from codeft_training.recipe_stages import Stage

SMOKE = PretrainRecipe(
    name="smoke",
    about="0.9M parameters from scratch on a CPU in about five minutes: learns to write basic composed exercises",
    model=ModelShape(
        vocab_size=1024, hidden_size=128, num_layers=4, num_heads=4, num_kv_heads=2, intermediate_size=384
    ),
    # half of the usual tokens a step: at equal tokens, twice the updates
    data=DataConfig(context_tokens=512, batch_rows=4),
    # 63 of 100 held-out exercises solved after as many steps; at 3e-3 38 and 44, with two seeds
    optimization=OptimizationConfig(learning_rate=5e-3),
    schedule=ScheduleConfig(max_steps=1400),
    monitor=MonitorConfig(log_every_steps=20, validate_every_steps=200, save_every_steps=200),
)
LAPTOP = PretrainRecipe(
    name="laptop",
    about="8M parameters from scratch on a CPU in about an hour",
    model=ModelShape(
        vocab_size=8192, hidden_size=256, num_layers=6, num_heads=4, num_kv_heads=2, intermediate_size=768
    ),
    data=DataConfig(context_tokens=512, batch_rows=8, accumulation_steps=2),
    optimization=OptimizationConfig(learning_rate=3e-3),
    schedule=ScheduleConfig(max_steps=1200),
    monitor=MonitorConfig(validate_every_steps=200, save_every_steps=100),
)
H200_10MIN = PretrainRecipe(
    name="h200-10min",
    about="46M parameters from scratch on one H200 in ten minutes, context 1024",
    model=ModelShape(
        vocab_size=16384, hidden_size=512, num_layers=12, num_heads=8, num_kv_heads=4, intermediate_size=1536
    ),
    data=DataConfig(context_tokens=1024, batch_rows=64, accumulation_steps=4),
    optimization=OptimizationConfig(learning_rate=3e-3),
    schedule=ScheduleConfig(max_steps=4000, warmup_fraction=0.02),
    pretraining=PretrainingConfig(budget_seconds=600.0, compile="model"),
    precision=PrecisionConfig(bf16=True),
    monitor=MonitorConfig(log_every_steps=20, validate_every_steps=250, save_every_steps=250, validation_rows=256),
)
H200_30MIN = replace(
    H200_10MIN,
    name="h200-30min",
    about="103M parameters from scratch on one H200 in half an hour, context 1024",
    model=ModelShape(
        vocab_size=32768, hidden_size=768, num_layers=12, num_heads=12, num_kv_heads=6, intermediate_size=2048
    ),
    data=DataConfig(context_tokens=1024, batch_rows=64, accumulation_steps=8),
    optimization=OptimizationConfig(learning_rate=2e-3),
    pretraining=PretrainingConfig(budget_seconds=1800.0, compile="model"),
)
H200_STAGED = replace(
    H200_10MIN,
    name="h200-staged",
    about="46M parameters from scratch on one H200 in eight minutes: pretrained, annealed and fine-tuned in one run",
    schedule=ScheduleConfig(
        max_steps=4000,
        warmup_fraction=0.02,
        decay_fraction=0.0,
        stages=(
            Stage(name="pretrain", share=0.67),
            # the rate falls on text of the wanted shape: OpenCoder (arXiv 2411.04905), SmolLM2 (arXiv 2502.02737)
            Stage(name="anneal", share=0.28, end_rate=0.05, mixture={"format=textbook|instruct": 0.7, "*": 0.3}),
            Stage(
                name="finetune",
                share=0.05,
                start_rate=0.05,
                end_rate=0.01,
                mixture={"format=textbook|instruct,domain=code": 1.0},
            ),
        ),
    ),
    pretraining=PretrainingConfig(budget_seconds=480.0, compile="model"),
)
QWEN_SFT = FinetuneRecipe(
    name="qwen2.5-0.5b-sft",
    about="Fine-tunes Qwen2.5-0.5B with its own tokenizer; needs the Hub and a GPU",
    finetuning=FinetuningConfig(base_model="Qwen/Qwen2.5-0.5B"),
    data=DataConfig(context_tokens=1024, batch_rows=16, accumulation_steps=4),
    optimization=OptimizationConfig(learning_rate=2e-5, weight_decay=0.01),
    schedule=ScheduleConfig(max_steps=1000),
    precision=PrecisionConfig(bf16=True),
    monitor=MonitorConfig(validate_every_steps=100, save_every_steps=100, validation_rows=128),
)

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        SMOKE,
        replace(
            SMOKE.override(context_tokens=2048, batch_rows=1, validation_rows=12),
            name="smoke-long",
            about="The smoke model with room for MBPP's prompts of three examples: 498 of 500, one has 4,865 tokens",
        ),
        LAPTOP,
        H200_10MIN,
        H200_30MIN,
        H200_STAGED,
        QWEN_SFT,
        replace(
            QWEN_SFT.override(base_model="Qwen/Qwen2.5-Coder-0.5B"),
            name="qwen2.5-coder-0.5b-sft",
            about="Fine-tunes Qwen2.5-Coder-0.5B with its own tokenizer; needs the Hub and a GPU",
        ),
        replace(
            QWEN_SFT.override(
                base_model="Qwen/Qwen2.5-Coder-0.5B",
                lora_rank=32,
                learning_rate=2e-4,
                batch_rows=4,
                accumulation_steps=16,
            ),
            name="qwen2.5-coder-0.5b-lora",
            about="Fine-tunes low-rank additions to Qwen2.5-Coder-0.5B; needs the Hub, a GPU of 8 GB and peft",
        ),
    )
}


def find_recipe(name: str, overrides: Mapping[str, str] | None = None) -> Recipe:
    """Return the recipe ``name`` with fields replaced by ``overrides`` given as text.

    Raises:
        ValueError: there is no such recipe or field, or a value is not of the field's type.
    """
    if name not in RECIPES:
        raise ValueError(f"recipe {name!r} does not exist; choose one of {sorted(RECIPES)}")
    return RECIPES[name].parse(overrides or {})
