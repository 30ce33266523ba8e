"""A recipe of the adaptation of an autoregressive checkpoint to diffusion (DiffuLLaMA, arXiv 2410.17891)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar

from codeft_training.recipe import values_hash
from codeft_training.recipe_fields import (
    AT_LEAST_0,
    AT_LEAST_1,
    BELOW_1,
    POSITIVE,
    SEED,
    SHARE,
    Rule,
    check_fields,
    parse_values,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffusionRecipe:
    """Flat fields; the last ones decide no weight."""

    mask_token: str = "<|fim_pad|>"  # noqa: S105  of a vocabulary
    """Stands where a token is hidden: one of the tokenizer that no text has."""
    annealing_fraction: float = 0.1
    """Share of the steps in which attention opens from causal to full, at random places."""
    learning_rate: float = 3e-4
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    warmup_fraction: float = 0.05
    """Share of the steps in which the rate rises; over the others it falls to a twentieth."""
    max_steps: int = 1000
    rows_per_step: int = 32
    seed: int = 1
    bf16: bool = False
    batch_rows: int = 16
    """Of a step, that are in memory at once."""
    log_every_steps: int = 20
    save_every_steps: int = 250

    MONITORING: ClassVar[tuple[str, ...]] = ("batch_rows", "log_every_steps", "save_every_steps")
    RULES: ClassVar[Mapping[str, Rule]] = {
        "mask_token": Rule("a token", bool),
        "annealing_fraction": SHARE,
        "learning_rate": POSITIVE,
        "weight_decay": AT_LEAST_0,
        "max_grad_norm": POSITIVE,
        "warmup_fraction": BELOW_1,
        "max_steps": AT_LEAST_1,
        "rows_per_step": AT_LEAST_1,
        "seed": SEED,
        "batch_rows": AT_LEAST_1,
        "log_every_steps": AT_LEAST_1,
        "save_every_steps": AT_LEAST_1,
    }

    def __post_init__(self) -> None:
        check_fields(self)

    def record(self) -> dict[str, Any]:
        """Return the fields, as result files hold them."""
        return asdict(self)

    @property
    def hash(self) -> str:
        """16 hex digits over the fields that decide the weights."""
        return values_hash({name: value for name, value in self.record().items() if name not in self.MONITORING})

    def openness(self, step: int) -> float:
        """Return the share of later places that a token sees in ``step``, counted from 0."""
        length = self.annealing_fraction * self.max_steps
        return 1.0 if length < 1 else min((step + 1) / length, 1.0)

    def parse(self, overrides: Mapping[str, str]) -> DiffusionRecipe:
        """Return the recipe with fields replaced by values given as text.

        Raises:
            ValueError: there is no such field, or a value is not of its type or breaks its rule.
        """
        kinds = {entry.name: str(entry.type) for entry in fields(self)}
        for name in overrides:
            if name not in kinds:
                raise ValueError(f"a recipe of diffusion has no field {name!r}; it has {[*kinds]}")
        return replace(self, **parse_values(kinds, overrides))
