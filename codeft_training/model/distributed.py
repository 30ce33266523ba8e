"""The processes that share a run: one, unless ``torchrun`` started several. Only rank 0 writes and reports."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DistributedContext:
    """The place of this process among all of the run."""

    rank: int
    size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0

    def local_rows(self, rows: Any) -> Any:
        """Return this process's part of a step's rows."""
        return rows[self.rank :: self.size]

    def all_reduce(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes, in one exchange."""
        if self.size == 1:
            return
        flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
        dist.all_reduce(flat)
        parts = flat.split([tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.detach().copy_(part.view_as(tensor))

    def any(self, flag: bool) -> bool:
        """Return whether ``flag`` is true in any process."""
        if self.size == 1:
            return flag
        count = torch.tensor([float(flag)], device=self.device)
        self.all_reduce([count])
        return bool(count.item())

    def broadcast(self, value: T) -> T:
        """Return rank 0's value in all processes; it must be picklable."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, device=self.device)
        return values[0]

    def broadcast_tensor(self, tensor: Tensor) -> Tensor:
        """Return rank 0's tensor in all processes, which give one of its shape and type."""
        if self.size == 1:
            return tensor
        tensor = tensor.to(self.device).contiguous()
        dist.broadcast(tensor, src=0)
        return tensor

    def barrier(self) -> None:
        """Return when every process is here."""
        if self.size > 1:
            dist.barrier()


def init() -> DistributedContext:
    """Return this process's context, joining the process group when ``torchrun`` started several."""
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(local)
    device = torch.device("cuda", local) if cuda else torch.device("cpu")
    if size > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if cuda else "gloo", device_id=device if cuda else None)
    return DistributedContext(rank, size, device)


def destroy() -> None:
    """Leave the process group."""
    if dist.is_initialized():
        dist.destroy_process_group()


def apply_fsdp(model: nn.Module, layers: Sequence[nn.Module], context: DistributedContext, dtype: torch.dtype) -> None:
    """Shard parameters, gradients and optimizer state over the processes (FSDP2), layer by layer."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

    mesh = init_device_mesh(context.device.type, (context.size,))
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32, cast_forward_inputs=False)
    for layer in layers:
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    # the Hub model reaches the layers' parameters by another way: they are sharded already
    sharded = {parameter for layer in layers for parameter in layer.parameters()}
    fully_shard(model, mesh=mesh, mp_policy=policy, ignored_params=sharded)
    register_fsdp_forward_method(model, "token_nats")


def full_tensor(tensor: Tensor) -> Tensor:
    """Return the full tensor of one that may be sharded; a collective: all processes call it or none."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor  # type: ignore[attr-defined]


def local_part(tensor: Tensor) -> Tensor:
    """Return the part of a tensor that this process holds: all of it where it is not sharded at the moment."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor  # type: ignore[attr-defined]


def copy_into_sharded(target: Tensor, value: Tensor) -> None:
    """Copy a full tensor into one that may be sharded over processes."""
    if hasattr(target, "device_mesh"):
        from torch.distributed.tensor import distribute_tensor

        sharded: Any = target
        value = distribute_tensor(value.to(target.device), sharded.device_mesh, sharded.placements)
    with torch.no_grad():
        target.copy_(value)
