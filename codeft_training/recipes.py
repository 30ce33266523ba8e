"""Recipes: everything that decides what a training run computes, as frozen values.

Invariant: equal recipes on an equal packed corpus give equal weights on the same CPU; the recipe's hash names the run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace

CHOICES = {
    "optimizer": ("muon", "adamw"),
    "attention": ("causal", "documents"),
    "compile": ("off", "layers", "model"),
    "parallel": ("replicate", "shard"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A model's shape, its schedule and how its run is watched."""

    name: str
    about: str
    base_model: str = ""
    """A Hub id or folder to fine-tune; empty trains from scratch in the shape below (Qwen3's architecture)."""
    lora_rank: int = 0
    """Fine-tuning only: rank of the additions that are trained (LoRA, arXiv 2106.09685); 0 trains all weights."""
    vocab_size: int = 4096
    context_tokens: int = 512
    hidden_size: int = 128
    num_layers: int = 4
    num_heads: int = 4
    num_kv_heads: int = 2
    intermediate_size: int = 384
    batch_rows: int = 8
    """Rows of ``context_tokens`` a micro-batch."""
    accumulation_steps: int = 1
    """Micro-batches a step; with the rows above they are the global batch, however it is divided."""
    max_steps: int = 120
    budget_seconds: float = 0.0
    """Time after which a run from scratch has ended, its rate decayed; 0 lets ``max_steps`` alone decide."""
    optimizer: str = "muon"
    learning_rate: float = 3e-3
    warmup_fraction: float = 0.05
    decay_fraction: float = 0.4
    """Share of the steps in which the rate falls to a tenth (WSD; long decays suit short runs)."""
    weight_decay: float = 0.05
    max_grad_norm: float = 1.0
    adam_beta_2: float = 0.95
    z_loss: float = 1e-4
    """Weight of the squared log-denominator of the softmax (PaLM, arXiv 2204.02311)."""
    attention: str = "causal"
    """``documents`` keeps a token from seeing other documents of its row; nanochat found no gain from it."""
    compile: str = "off"
    """What ``torch.compile`` takes at a time: ``layers`` (fast to compile), ``model`` or nothing (``off``)."""
    parallel: str = "replicate"
    """What several GPUs hold: the whole model each (``replicate``) or a part of every tensor (``shard``, FSDP2)."""
    bf16: bool = False
    log_every_steps: int = 5
    validate_every_steps: int = 40
    save_every_steps: int = 40
    validation_rows: int = 48
    """Rows of held-out text a validation reads at most."""
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("vocab_size", "context_tokens", "batch_rows", "accumulation_steps", "max_steps", "num_layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"recipe {self.name!r}: {name} = {getattr(self, name)} must be at least 1")
        if self.hidden_size % self.num_heads or self.num_heads % self.num_kv_heads:
            raise ValueError(
                f"recipe {self.name!r}: hidden_size {self.hidden_size} must divide by num_heads {self.num_heads}, and "
                f"num_heads by num_kv_heads {self.num_kv_heads}"
            )
        if not (self.warmup_fraction >= 0 and 0 <= self.decay_fraction <= 1 - self.warmup_fraction):
            raise ValueError(
                f"recipe {self.name!r}: warmup_fraction {self.warmup_fraction} and decay_fraction "
                f"{self.decay_fraction} must be at least 0 and together at most 1"
            )
        if self.learning_rate <= 0:
            raise ValueError(f"recipe {self.name!r}: learning_rate {self.learning_rate} must be positive")
        for name in ("budget_seconds", "z_loss", "lora_rank"):
            if getattr(self, name) < 0:
                raise ValueError(f"recipe {self.name!r}: {name} = {getattr(self, name)} must be at least 0")
        self._check_choices()

    def _check_choices(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"recipe {self.name!r}: {name} = {getattr(self, name)!r} must be one of {choices}")
        if self.lora_rank and not self.base_model:
            raise ValueError(
                f"recipe {self.name!r}: lora_rank = {self.lora_rank} adds to a model that exists; set base_model, or "
                f"lora_rank = 0 to train from scratch"
            )
        if self.parallel == "shard" and (self.optimizer, self.compile) != ("adamw", "off"):
            raise ValueError(
                f"recipe {self.name!r}: parallel = 'shard' needs optimizer = 'adamw' and compile = 'off': Muon wants "
                f"whole matrices; set both, or parallel = 'replicate', which fits a billion parameters"
            )

    @property
    def tokens_per_step(self) -> int:
        """Tokens between two updates of the weights."""
        return self.batch_rows * self.accumulation_steps * self.context_tokens

    @property
    def hash(self) -> str:
        """16 hex digits over every field that changes the result; the name and the words about it do not."""
        values = {name: value for name, value in asdict(self).items() if name not in {"name", "about"}}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


QWEN_SFT = Recipe(
    name="qwen2.5-0.5b-sft",
    about="Fine-tunes Qwen2.5-0.5B with its own tokenizer; needs the Hub and a GPU",
    base_model="Qwen/Qwen2.5-0.5B",
    optimizer="adamw",
    context_tokens=1024,
    batch_rows=16,
    accumulation_steps=4,
    max_steps=1000,
    learning_rate=2e-5,
    weight_decay=0.01,
    bf16=True,
    validate_every_steps=100,
    save_every_steps=100,
    validation_rows=128,
)

SMOKE = Recipe(
    name="smoke", about="1.3M parameters from scratch on a CPU in about two minutes: shows that the path works"
)

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        SMOKE,
        replace(
            SMOKE,
            name="smoke-long",
            about="The smoke model with room for MBPP's prompts of three examples: 499 of 500, one has 4,490 tokens",
            context_tokens=2048,
            batch_rows=2,
            validation_rows=12,
        ),
        Recipe(
            name="laptop",
            about="8M parameters from scratch on a CPU in about an hour",
            vocab_size=8192,
            hidden_size=256,
            num_layers=6,
            num_heads=4,
            num_kv_heads=2,
            intermediate_size=768,
            batch_rows=8,
            accumulation_steps=2,
            max_steps=1200,
            validate_every_steps=200,
            save_every_steps=100,
        ),
        Recipe(
            name="h200-10min",
            about="46M parameters from scratch on one H200 in ten minutes, context 1024",
            vocab_size=16384,
            context_tokens=1024,
            hidden_size=512,
            num_layers=12,
            num_heads=8,
            num_kv_heads=4,
            intermediate_size=1536,
            batch_rows=64,
            accumulation_steps=4,
            max_steps=4000,
            budget_seconds=600,
            warmup_fraction=0.02,
            learning_rate=3e-3,
            bf16=True,
            compile="model",
            log_every_steps=20,
            validate_every_steps=250,
            save_every_steps=250,
            validation_rows=256,
        ),
        Recipe(
            name="h200-30min",
            about="103M parameters from scratch on one H200 in half an hour, context 1024",
            vocab_size=32768,
            context_tokens=1024,
            hidden_size=768,
            num_layers=12,
            num_heads=12,
            num_kv_heads=6,
            intermediate_size=2048,
            batch_rows=64,
            accumulation_steps=8,
            max_steps=4000,
            budget_seconds=1800,
            warmup_fraction=0.02,
            learning_rate=2e-3,
            bf16=True,
            compile="model",
            log_every_steps=20,
            validate_every_steps=250,
            save_every_steps=250,
            validation_rows=256,
        ),
        QWEN_SFT,
        replace(
            QWEN_SFT,
            name="qwen2.5-coder-0.5b-sft",
            about="Fine-tunes Qwen2.5-Coder-0.5B with its own tokenizer; needs the Hub and a GPU",
            base_model="Qwen/Qwen2.5-Coder-0.5B",
        ),
        replace(
            QWEN_SFT,
            name="qwen2.5-coder-0.5b-lora",
            about="Fine-tunes low-rank additions to Qwen2.5-Coder-0.5B; needs the Hub, a GPU of 8 GB and peft",
            base_model="Qwen/Qwen2.5-Coder-0.5B",
            lora_rank=32,
            learning_rate=2e-4,
            batch_rows=4,
            accumulation_steps=16,
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
    recipe = RECIPES[name]
    changes = {field: _parse(recipe, field, text) for field, text in (overrides or {}).items()}
    return replace(recipe, **changes)


def _parse(recipe: Recipe, field: str, text: str) -> object:
    known = {entry.name for entry in fields(Recipe)} - {"name", "about"}
    if field not in known:
        raise ValueError(f"recipe has no field {field!r}; it has {sorted(known)}")
    kind = type(getattr(recipe, field))
    if kind is bool:
        if text.lower() not in {"true", "false"}:
            raise ValueError(f"recipe field {field} = {text!r} must be true or false")
        return text.lower() == "true"
    try:
        return kind(text)
    except ValueError as error:
        raise ValueError(f"recipe field {field} = {text!r} must be of type {kind.__name__}") from error
