"""Checkpoints of a running training; only valid ones, complete and unchanged, are resumed from.

TRL's trainer writes its files one by one, and resumes silently with a fresh optimizer when ``optimizer.pt`` is
missing. So a marker with the hash of every file is written last, and a checkpoint without a matching marker does not
exist. Our own loop's checkpoints appear under their name only when they are complete and on disk.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeft_assets.base.files import TEMPORARY_PREFIX, file_hash, replacing_folder, write_atomically

if TYPE_CHECKING:
    from torch import Tensor

MARKER = "COMPLETE.json"
NUM_KEPT = 2
WEIGHTS, OPTIMIZER, STATE = "model.safetensors", "optimizer.safetensors", "state.json"
OWN = (WEIGHTS, OPTIMIZER, STATE)
TRAINER = ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json")
ADAPTER = ("adapter_model.safetensors", "adapter_config.json", *TRAINER[1:])
"""With LoRA the trainer saves only the additions."""
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
    write_atomically(folder / MARKER, json.dumps(hashes, indent=1))


def is_valid(folder: Path) -> bool:
    """Return whether every file of the checkpoint is there and unchanged."""
    marker = folder / MARKER
    if not marker.is_file():
        return False
    hashes = json.loads(marker.read_text())
    if not any(set(required) <= set(hashes) for required in (TRAINER, ADAPTER, OWN)):
        return False
    return all((folder / name).is_file() and file_hash(folder / name) == digest for name, digest in hashes.items())


def latest_valid(folder: Path) -> Path | None:
    """Return the latest valid checkpoint and delete every later or incomplete one."""
    for incomplete in folder.glob(f"{TEMPORARY_PREFIX}*checkpoint-*"):
        shutil.rmtree(incomplete)
    for path in reversed(_checkpoints(folder)):
        if is_valid(path):
            return path
        shutil.rmtree(path)
    return None


def save_checkpoint(
    folder: Path, step: int, weights: Mapping[str, Tensor], optimizer: Mapping[str, Tensor], state: Mapping[str, Any]
) -> Path:
    """Write ``checkpoint-<step>`` and remove all but the latest two and that of the state's ``best_step``.

    It is on disk complete, or it is not there.

    Raises:
        OSError: it cannot be written; the checkpoints before it are untouched.
    """
    from safetensors.torch import save

    final = checkpoint_path(folder, step)
    with replacing_folder(final) as temporary:
        (temporary / WEIGHTS).write_bytes(save(_on_cpu(weights), metadata={"format": "pt"}))
        (temporary / OPTIMIZER).write_bytes(save(_on_cpu(optimizer)))
        (temporary / STATE).write_text(json.dumps(dict(state), indent=1, sort_keys=True))
        mark_complete(temporary, OWN)
    for path in _checkpoints(folder)[:-NUM_KEPT]:
        if step_from_path(path) != state.get("best_step"):
            shutil.rmtree(path)
    return final


def load_checkpoint(folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Any]]:
    """Return weights, optimizer state and run state of a valid checkpoint of our own loop."""
    from safetensors.torch import load_file

    return (
        load_file(folder / WEIGHTS),
        load_file(folder / OPTIMIZER),
        json.loads((folder / STATE).read_text()),
    )


def checkpoint_path(folder: Path, step: int) -> Path:
    """Return the folder of the checkpoint after a step."""
    return folder / f"checkpoint-{step}"


def step_from_path(folder: Path) -> int:
    """Return the step after which a checkpoint was written."""
    return int(folder.name.rsplit("-", 1)[1])


def library_write_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions by which ``torch.save`` and safetensors report a failure to write."""
    from safetensors import SafetensorError

    return (RuntimeError, SafetensorError)


def _checkpoints(folder: Path) -> list[Path]:
    return sorted((path for path in folder.glob("checkpoint-*") if _NAME.match(path.name)), key=step_from_path)


def _on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
