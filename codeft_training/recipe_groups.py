"""The groups of a recipe's fields, each with the rules of its values; every group has one owner that reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from codeft_training.recipe_fields import (
    AT_LEAST_0,
    AT_LEAST_1,
    BELOW_1,
    POSITIVE,
    SEED,
    SHARE,
    Rule,
    check_fields,
    one_of,
)
from codeft_training.recipe_stages import Stage, make_stages


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """The batches of a step (``data.batches``)."""

    context_tokens: int = 512
    batch_rows: int = 8
    """Rows of ``context_tokens`` a micro-batch."""
    accumulation_steps: int = 1
    """Micro-batches a step; with the rows above they are the global batch, however it is divided."""
    seed: int = 1
    """Of the order of rows, and of the first weights."""

    RULES: ClassVar[Mapping[str, Rule]] = {
        "context_tokens": AT_LEAST_1,
        "batch_rows": AT_LEAST_1,
        "accumulation_steps": AT_LEAST_1,
        "seed": SEED,
    }

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def rows_per_step(self) -> int:
        """Rows between two updates of the weights."""
        return self.batch_rows * self.accumulation_steps

    @property
    def tokens_per_step(self) -> int:
        """Tokens between two updates of the weights."""
        return self.rows_per_step * self.context_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizationConfig:
    """The update of the weights by a gradient (``model.optimizer``)."""

    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    max_grad_norm: float = 1.0
    adam_beta_2: float = 0.95

    RULES: ClassVar[Mapping[str, Rule]] = {
        "learning_rate": POSITIVE,
        "weight_decay": AT_LEAST_0,
        "max_grad_norm": POSITIVE,
        "adam_beta_2": BELOW_1,
    }

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleConfig:
    """The length of a run and its learning rate (``model.schedule``)."""

    max_steps: int = 120
    warmup_fraction: float = 0.05
    decay_fraction: float = 0.4
    """Share of the steps in which the rate falls to a twentieth (WSD; long decays suit short runs)."""
    stages: tuple[Stage, ...] = ()
    """Parts of the run with a mixture and a rate each; without any, one mixture as it was packed, by the WSD above."""

    RULES: ClassVar[Mapping[str, Rule]] = {
        "max_steps": AT_LEAST_1,
        "warmup_fraction": SHARE,
        "decay_fraction": SHARE,
    }

    def __post_init__(self) -> None:
        check_fields(self)
        object.__setattr__(self, "stages", make_stages(self.stages))
        self._check_stages()
        if self.decay_fraction > 1 - self.warmup_fraction:
            raise ValueError(
                f"warmup_fraction {self.warmup_fraction} and decay_fraction {self.decay_fraction} must be together at "
                f"most 1"
            )

    def _check_stages(self) -> None:
        if self.stages and self.decay_fraction:
            raise ValueError(
                f"decay_fraction {self.decay_fraction} must be 0 in a recipe of stages: each has rates of its own"
            )
        for stage in self.stages:
            if stage.share * self.max_steps < 1:
                raise ValueError(
                    f"stage {stage.name!r} has a share of {stage.share:g} of {self.max_steps} steps, less than one; "
                    f"raise max_steps or its share"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorConfig:
    """Logging, validation and checkpoints of a run (``train.callbacks``)."""

    log_every_steps: int = 5
    validate_every_steps: int = 40
    save_every_steps: int = 40
    validation_rows: int = 48
    """Rows of held-out text a validation reads at most."""

    RULES: ClassVar[Mapping[str, Rule]] = {
        "log_every_steps": AT_LEAST_1,
        "validate_every_steps": AT_LEAST_1,
        "save_every_steps": AT_LEAST_1,
        "validation_rows": AT_LEAST_0,
    }

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionConfig:
    """The type that a device computes in."""

    bf16: bool = False
    """Compute in bfloat16 instead of float32."""

    RULES: ClassVar[Mapping[str, Rule]] = {}

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """Size of a model trained from scratch, in Qwen3's architecture (``model.forward``)."""

    vocab_size: int = 4096
    hidden_size: int = 128
    num_layers: int = 4
    num_heads: int = 4
    num_kv_heads: int = 2
    intermediate_size: int = 384

    RULES: ClassVar[Mapping[str, Rule]] = {
        "vocab_size": AT_LEAST_1,
        "hidden_size": AT_LEAST_1,
        "num_layers": AT_LEAST_1,
        "num_heads": AT_LEAST_1,
        "num_kv_heads": AT_LEAST_1,
        "intermediate_size": AT_LEAST_1,
    }

    def __post_init__(self) -> None:
        check_fields(self)
        if self.hidden_size % self.num_heads or self.num_heads % self.num_kv_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} must be divisible by num_heads {self.num_heads}, and num_heads by "
                f"num_kv_heads {self.num_kv_heads}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainingConfig:
    """Options of our own step loop (``train.pretrain``); TRL's trainer has none of them."""

    optimizer: str = "muon"
    z_loss: float = 1e-4
    """Weight of the squared log-denominator of the softmax (PaLM, arXiv 2204.02311)."""
    attention: str = "causal"
    """``documents`` keeps a token from seeing other documents of its row; nanochat found no gain from it."""
    budget_seconds: float = 0.0
    """Time after which the run has ended, its rate decayed; 0 lets ``max_steps`` alone decide."""
    compile: str = "off"
    """The unit of ``torch.compile``: ``layers`` (fast to compile), ``model`` or nothing (``off``)."""
    parallel: str = "replicate"
    """Weights on several GPUs: the whole model on each (``replicate``) or a part of every tensor (``shard``, FSDP2)."""

    RULES: ClassVar[Mapping[str, Rule]] = {
        "optimizer": one_of("muon", "adamw"),
        "z_loss": AT_LEAST_0,
        "attention": one_of("causal", "documents"),
        "budget_seconds": AT_LEAST_0,
        "compile": one_of("off", "layers", "model"),
        "parallel": one_of("replicate", "shard"),
    }

    def __post_init__(self) -> None:
        check_fields(self)
        if self.parallel == "shard" and (self.optimizer, self.compile) != ("adamw", "off"):
            raise ValueError(
                "parallel = 'shard' needs optimizer = 'adamw' and compile = 'off': Muon wants whole matrices; set "
                "both, or parallel = 'replicate', which fits a billion parameters"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class RepetitionConfig:
    """Options of our own step loop for little data that is read many times; all are off at first."""

    weight_decay_schedule: str = "coupled"
    """The share of a matrix that a step takes: ``weight_decay`` times the step's rate (``coupled``, as AdamW), times
    ``learning_rate`` all the time (``constant``), or times the rate and its factor, the most before it falls
    (``falling``). For repeated data 10 to 30 times the usual decay was best (arXiv 2509.14786)."""
    dropout: float = 0.0
    """Share of the embedding and of what each half of a layer adds that a training step leaves out."""
    document_order: str = "packed"
    """``shuffled``: in each pass over the rows, pieces of documents change places with others of the same length, and
    follow each other in a new order; ``packed``: only the rows are in a new order."""
    ema_decay: float = 0.0
    """Of an exponential moving average of the weights, which is kept where its held-out loss is the lower one."""
    masked_inputs: float = 0.0
    """Share of input tokens that a step hides; 0.1 to 0.15 helped on repeated data (arXiv 2510.04071)."""
    procedural_fraction: float = 0.0
    """Share of ``max_steps``, rounded up, that read a process of a program before the first row; 0.001 to 0.003 saved
    a third of the code tokens (arXiv 2601.21725)."""

    RULES: ClassVar[Mapping[str, Rule]] = {
        "weight_decay_schedule": one_of("coupled", "constant", "falling"),
        "dropout": BELOW_1,
        "document_order": one_of("packed", "shuffled"),
        "ema_decay": BELOW_1,
        "masked_inputs": BELOW_1,
        "procedural_fraction": BELOW_1,
    }

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuningConfig:
    """The model that TRL's trainer starts from and the weights it trains (``train.finetune``)."""

    base_model: str
    """A Hub id or folder."""
    lora_rank: int = 0
    """Rank of the additions that are trained (LoRA, arXiv 2106.09685); 0 trains all weights."""
    compile: str = "off"
    """The unit of ``torch.compile``: ``layers`` (the first step takes longer) or nothing (``off``)."""

    RULES: ClassVar[Mapping[str, Rule]] = {
        "base_model": Rule("a Hub id or a folder", bool),
        "lora_rank": AT_LEAST_0,
        "compile": one_of("off", "layers"),
    }

    def __post_init__(self) -> None:
        check_fields(self)
