"""Muon for the hidden matrices, AdamW for the rest: embeddings and norms.

Muon (Jordan 2024, kellerjordan.github.io/posts/muon) replaces a matrix's momentum by the nearest orthogonal matrix,
found by Newton-Schulz iterations. Its update is scaled to the size of AdamW's (Moonlight, arXiv 2502.16982), so one
learning rate serves both. Matrices of one shape are orthogonalized together. On our 1.1M model after 200 steps it
reached 3.77 nats where AdamW at its best rate reached 4.08.

It is kept beside ``torch.optim.Muon(adjust_lr_fn="match_rms_adamw")``, against which it is tested: after 20 steps the
weights are the same within 0.16 %, at half of the CPU time (7.1 against 13.6 CPU seconds), since torch orthogonalizes
matrix by matrix and always in bf16.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from codeft_training.model.average import WeightAverage
from codeft_training.recipe_groups import OptimizationConfig

MUON_MOMENTUM = 0.95
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients that bring singular values near 1 in five iterations (Jordan 2024)."""
NUM_ITERATIONS = 5
ADAM_EPSILON = 1e-8


def orthogonalize(matrices: Tensor) -> Tensor:
    """Return the nearly nearest orthogonal matrices of ``[number, rows, columns]``: singular values in 0.7..1.2."""
    a, b, c = NEWTON_SCHULZ
    wide = matrices.shape[1] <= matrices.shape[2]
    # bf16 is enough (Jordan 2024); on a CPU it saves nothing at these sizes
    x = matrices.bfloat16() if matrices.is_cuda else matrices
    x = x if wide else x.mT
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(NUM_ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x if wide else x.mT).to(matrices.dtype)


class Muon:
    """Muon over the given matrices; weights decay as in AdamW."""

    def __init__(self, matrices: Mapping[str, nn.Parameter], *, weight_decay: float) -> None:
        self._weight_decay = weight_decay
        shapes: dict[torch.Size, list[str]] = {}
        for name, matrix in matrices.items():
            shapes.setdefault(matrix.shape, []).append(name)
        self._groups = [(names, [matrices[name] for name in names]) for names in shapes.values()]
        self._momenta = [torch.zeros_like(torch.stack([m.detach() for m in group])) for _, group in self._groups]

    def step(self, rate: float, decay_factor: float = 1.0) -> None:
        """Update every matrix from its gradient."""
        decay = rate * decay_factor * self._weight_decay
        for (_, matrices), momentum in zip(self._groups, self._momenta, strict=True):
            grads = torch.stack([_grad(matrix) for matrix in matrices])
            momentum.lerp_(grads, 1 - MUON_MOMENTUM)
            updates = orthogonalize(grads.lerp_(momentum, MUON_MOMENTUM))  # Nesterov's look ahead
            size = rate * 0.2 * max(matrices[0].shape) ** 0.5  # 0.2: AdamW's usual root mean square (Moonlight)
            weights = [matrix.detach() for matrix in matrices]
            torch._foreach_mul_(weights, 1 - decay)  # pyright: ignore[reportPrivateImportUsage]
            torch._foreach_add_(weights, list(updates.unbind()), alpha=-size)  # pyright: ignore[reportPrivateImportUsage]

    def tensors(self) -> dict[str, Tensor]:
        """Return the state by name; the tensors are the state, not copies."""
        return {
            f"momentum.{name}": value
            for (names, _), stacked in zip(self._groups, self._momenta, strict=True)
            for name, value in zip(names, stacked.unbind(), strict=True)
        }


class AdamW:
    """``torch.optim.AdamW``, fused, with its state by name and no decay of norms and embeddings."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], *, beta_2: float, weight_decay: float) -> None:
        self._parameters, self._weight_decay = dict(parameters), weight_decay
        decayed = [p for name, p in parameters.items() if is_hidden_matrix(name, p)]
        others = [p for name, p in parameters.items() if not is_hidden_matrix(name, p)]
        groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
        self._inner = torch.optim.AdamW(
            [group for group in groups if group["params"]], betas=(0.9, beta_2), eps=ADAM_EPSILON, fused=True
        )
        for parameter in parameters.values():
            zeros = {key: torch.zeros_like(parameter, requires_grad=False) for key in ("exp_avg", "exp_avg_sq")}
            self._inner.state[parameter] = {"step": torch.zeros((), device=parameter.device), **zeros}

    def step(self, rate: float, decay_factor: float = 1.0) -> None:
        """Update every parameter from its gradient."""
        for group in self._inner.param_groups:
            group["lr"] = rate
            group["weight_decay"] = self._weight_decay * decay_factor if group["weight_decay"] else 0.0
        self._inner.step()

    def tensors(self) -> dict[str, Tensor]:
        """Return the state by name; the tensors are the state, not copies."""
        return {
            f"{key}.{name}": value
            for name, parameter in self._parameters.items()
            for key, value in self._inner.state[parameter].items()
        }


class Optimizer:
    """The optimizer of all of a model's parameters: Muon and AdamW, or AdamW alone; with their average, if wanted."""

    def __init__(self, parts: Sequence[Muon | AdamW], average: WeightAverage | None) -> None:
        self._parts, self.average = parts, average

    @torch.no_grad()
    def step(self, rate: float, decay_factor: float = 1.0) -> None:
        """Update every parameter from its gradient at learning rate ``rate``, its weight decay times a factor."""
        for part in self._parts:
            part.step(rate, decay_factor)
        if self.average is not None:
            self.average.update()

    def tensors(self) -> dict[str, Tensor]:
        """Return the state by name; the tensors are the state, not copies."""
        parts = [*self._parts, self.average] if self.average is not None else self._parts
        return {name: value for part in parts for name, value in part.tensors().items()}


def build_optimizer(
    parameters: Iterable[tuple[str, nn.Parameter]], kind: str, config: OptimizationConfig, *, ema_decay: float = 0.0
) -> Optimizer:
    """Return the optimizer ``muon`` or ``adamw`` over named parameters, which averages them where ``ema_decay`` > 0."""
    named = dict(parameters)
    matrices = {name: p for name, p in named.items() if kind == "muon" and is_hidden_matrix(name, p)}
    rest = {name: p for name, p in named.items() if name not in matrices}
    muon = [Muon(matrices, weight_decay=config.weight_decay)] if matrices else []
    adamw = AdamW(rest, beta_2=config.adam_beta_2, weight_decay=config.weight_decay)
    return Optimizer([*muon, adamw], WeightAverage(named, decay=ema_decay) if ema_decay else None)


def is_hidden_matrix(name: str, parameter: Tensor) -> bool:
    """Return whether a parameter is a matrix between hidden states: no embedding, no output layer, no norm."""
    return parameter.ndim == 2 and "embed_tokens" not in name and "lm_head" not in name


def _grad(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None, "every trained matrix has a gradient"
    return parameter.grad
