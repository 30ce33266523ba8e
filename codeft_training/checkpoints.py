"""Checkpoints of a running trainer that are used only when they are whole.

The trainer writes its files one by one, and resumes silently with a fresh optimizer when ``optimizer.pt`` is missing.
So a marker with the hash of every file is written last, and a checkpoint without a matching marker does not exist.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from codeft_training.corpus import file_hash, write_atomically

MARKER = "COMPLETE.json"
REQUIRED = ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json")
_NAME = re.compile(r"^checkpoint-(\d+)$")


def mark_complete(folder: Path) -> None:
    """Record the hash of every file of a checkpoint that was just written.

    Raises:
        ValueError: a file that resuming needs is not there.
    """
    missing = [name for name in REQUIRED if not (folder / name).is_file()]
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
    whole = all((folder / name).is_file() and file_hash(folder / name) == digest for name, digest in hashes.items())
    return whole and set(REQUIRED) <= set(hashes)


def newest_complete(folder: Path) -> Path | None:
    """Return the newest whole checkpoint and delete every newer or torn one."""
    found = [(int(match[1]), path) for path in folder.glob("checkpoint-*") if (match := _NAME.match(path.name))]
    for _, path in sorted(found, reverse=True):
        if is_complete(path):
            return path
        shutil.rmtree(path)
    return None
