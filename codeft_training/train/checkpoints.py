"""Checkpoints of a running training that are used only when they are whole.

TRL's trainer writes its files one by one, and resumes silently with a fresh optimizer when ``optimizer.pt`` is
missing. So a marker with the hash of every file is written last, and a checkpoint without a matching marker does not
exist. Our own loop's checkpoints appear under their name only when they are whole and on disk.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeft_training.data.corpus import file_hash, write_atomically

if TYPE_CHECKING:
    from torch import Tensor

MARKER = "COMPLETE.json"
NUM_KEPT = 2
WEIGHTS, OPTIMIZER, STATE = "model.safetensors", "optimizer.safetensors", "state.json"
OWN = (WEIGHTS, OPTIMIZER, STATE)
TRAINER = ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json")
ADAPTER = ("adapter_model.safetensors", "adapter_config.json", *TRAINER[1:])
"""With LoRA the trainer saves what is trained only."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NAME = re.compile(r"^checkpoint-(\d+)$")


def mark_complete(folder: Path, required: Sequence[str] = TRAINER) -> None:
    """Record the hash of every file of a checkpoint that was just written.

    Raises:
        ValueError: a file that resuming needs is not there.
    """
    missing = [name for name in required if not (folder / name).is_file()]
    if missing:
        raise ValueError(f"checkpoint {folder} lacks {missing}; it cannot be resumed from: check the disk")
    hashes = {path.name: file_hash(path) for path in sorted(folder.iterdir()) if path.is_file()}
    write_atomically(folder / MARKER, json.dumps(hashes, indent=1).encode())


def is_complete(folder: Path) -> bool:
    """Return whether every file of the checkpoint is there and unchanged."""
    marker = folder / MARKER
    if not marker.is_file():
        return False
    hashes = json.loads(marker.read_text())
    if not any(set(required) <= set(hashes) for required in (TRAINER, ADAPTER, OWN)):
        return False
    return all((folder / name).is_file() and file_hash(folder / name) == digest for name, digest in hashes.items())


def newest_complete(folder: Path) -> Path | None:
    """Return the newest whole checkpoint and delete every newer or torn one."""
    found = [(int(match[1]), path) for path in folder.glob("checkpoint-*") if (match := _NAME.match(path.name))]
    for torn in folder.glob(".tmp-checkpoint-*"):
        shutil.rmtree(torn)
    for _, path in sorted(found, reverse=True):
        if is_complete(path):
            return path
        shutil.rmtree(path)
    return None


def save_checkpoint(
    folder: Path, step: int, weights: Mapping[str, Tensor], optimizer: Mapping[str, Tensor], state: Mapping[str, Any]
) -> Path:
    """Write ``checkpoint-<step>`` and forget all but the newest two; it is on disk whole, or it is not there.

    Raises:
        OSError: it cannot be written; the checkpoints before it are untouched.
    """
    from safetensors.torch import save

    final, temporary = folder / f"checkpoint-{step}", folder / f".tmp-checkpoint-{step}"
    shutil.rmtree(temporary, ignore_errors=True)
    with writing(final, temporary):
        temporary.mkdir(parents=True)
        _write(temporary / WEIGHTS, save(_on_cpu(weights), metadata={"format": "pt"}))
        _write(temporary / OPTIMIZER, save(_on_cpu(optimizer)))
        _write(temporary / STATE, json.dumps(dict(state), indent=1, sort_keys=True).encode())
        mark_complete(temporary, OWN)
        _sync(temporary)
        shutil.rmtree(final, ignore_errors=True)
        temporary.rename(final)
        _sync(folder)
    _prune(folder)
    return final


@contextmanager
def writing(final: Path, temporary: Path | None = None) -> Iterator[None]:
    """Turn any failure to write into one that says what to do; what was written by then, is removed.

    Args:
        final: what is to be written.
        temporary: where it is written first, if not in its own place.

    Raises:
        OSError: it cannot be written; the checkpoints before it are untouched.
    """
    from safetensors import SafetensorError

    try:
        yield
    # safetensors and torch.save do not say it by an OSError
    except (OSError, RuntimeError, SafetensorError) as error:
        shutil.rmtree(temporary or final, ignore_errors=True)
        raise OSError(getattr(error, "errno", None) or errno.EIO, _why(final, error)) from error


def load_checkpoint(folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Any]]:
    """Return weights, optimizer state and run state of a whole checkpoint of our own loop."""
    from safetensors.torch import load_file

    return (
        load_file(folder / WEIGHTS),
        load_file(folder / OPTIMIZER),
        json.loads((folder / STATE).read_text()),
    )


def step_of(folder: Path) -> int:
    """Return the step after which a checkpoint was written."""
    return int(folder.name.rsplit("-", 1)[1])


def _on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _why(final: Path, error: Exception) -> str:
    told = f"{getattr(error, 'strerror', None) or error}".splitlines()[0]
    full = getattr(error, "errno", None) in FULL or any(os.strerror(number) in str(error) for number in FULL)
    remedy = "the disk or the quota is full: free space" if full else "look whether the disk is full"
    return f"cannot write {final}: {told}; {remedy} and run again: it goes on from the last whole checkpoint"


def _prune(folder: Path) -> None:
    found = sorted((path for path in folder.glob("checkpoint-*") if _NAME.match(path.name)), key=step_of)
    for path in found[:-NUM_KEPT]:
        shutil.rmtree(path)
