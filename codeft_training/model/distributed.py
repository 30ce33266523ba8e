"""The processes that share a run: one unless ``torchrun`` started several. Only rank 0 writes and reports."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class World:
    """This process among all of the run."""

    rank: int
    size: int
    device: torch.device

    @property
    def writes(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0

    def share(self, rows: Any) -> Any:
        """Return this process's part of a step's rows."""
        return rows[self.rank :: self.size]

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes, in one exchange."""
        if self.size == 1:
            return
        flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
        dist.all_reduce(flat)
        parts = flat.split([tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.detach().copy_(part.view_as(tensor))

    def wait(self) -> None:
        """Return when every process is here."""
        if self.size > 1:
            dist.barrier()


def join() -> World:
    """Return this process's place, joining the others when ``torchrun`` started several."""
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(local)
    device = torch.device("cuda", local) if cuda else torch.device("cpu")
    if size > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if cuda else "gloo", device_id=device if cuda else None)
    return World(rank, size, device)


def leave() -> None:
    """End the exchange with the other processes."""
    if dist.is_initialized():
        dist.destroy_process_group()


def shard(model: nn.Module, layers: Sequence[nn.Module], world: World, dtype: torch.dtype) -> None:
    """Spread parameters, gradients and optimizer state over the processes (FSDP2), layer by layer."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

    mesh = init_device_mesh(world.device.type, (world.size,))
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32, cast_forward_inputs=False)
    for layer in layers:
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    # the Hub model reaches the layers' parameters by another way: they are spread already
    spread = {parameter for layer in layers for parameter in layer.parameters()}
    fully_shard(model, mesh=mesh, mp_policy=policy, ignored_params=spread)
    register_fsdp_forward_method(model, "token_nats")


def whole(tensor: Tensor) -> Tensor:
    """Return all of a tensor that may be spread over processes; every process has to ask."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor  # type: ignore[attr-defined]


def fill(target: Tensor, value: Tensor) -> None:
    """Copy a whole tensor into one that may be spread over processes."""
    if hasattr(target, "device_mesh"):
        from torch.distributed.tensor import distribute_tensor

        spread: Any = target
        value = distribute_tensor(value.to(target.device), spread.device_mesh, spread.placements)
    with torch.no_grad():
        target.copy_(value)
