"""Plans which old tables and checkpoints may be deleted, and deletes them.

Invariant: a table and its newest earlier manifests stay; so does every table and every checkpoint that the lineage of a
kept checkpoint names. Nothing else under the data root is touched.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash

from codeft_assets.base.files import TEMPORARY_PREFIX, replacing_folder
from codeft_assets.store.data_root import Store

CHECKPOINT = "model/checkpoint"
KEEP_LAST = 3
_SMALL_FILES = ("result.json", "metrics.jsonl", "lineage.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPlan:
    """Versions and folders that would be deleted."""

    snapshots: tuple[tuple[str, str], ...]
    """Keys of tables, each with the content hash of an earlier manifest."""
    folders: tuple[Path, ...]
    """Earlier checkpoints and the states of finished trainings."""
    num_bytes: int
    """Freed by the folders; shards are shared among manifests."""

    @property
    def is_empty(self) -> bool:
        """True if there is nothing to delete."""
        return not (self.snapshots or self.folders)

    @property
    def digest(self) -> str:
        """Names the plan: the same plan again is the same run."""
        return xxhash.xxh3_64_hexdigest(repr((self.snapshots, [str(folder) for folder in self.folders])))


def keep_checkpoint(folder: Path) -> Path | None:
    """Keep the finished checkpoint of ``folder`` in its history, weights by hard link; None if it is there already.

    The next training replaces the checkpoint; the kept one stays until retention deletes it.
    """
    result = json.loads((folder / "result.json").read_text())
    earlier = _history(folder)
    if earlier and _read(earlier[-1] / "result.json") == result:
        return None
    number = int(earlier[-1].name.split("-")[0]) + 1 if earlier else 1
    target = folder / "history" / f"{number:06d}-{result['weights_hash'][:16]}"
    with replacing_folder(target) as temporary:
        shutil.copytree(folder / "checkpoint", temporary / "checkpoint", copy_function=os.link)
        for name in _SMALL_FILES:
            if (folder / name).is_file():
                shutil.copyfile(folder / name, temporary / name)
    return target


def plan_retention(store: Store, keep_last: int = KEEP_LAST) -> RetentionPlan:
    """Return the plan that keeps the last ``keep_last`` versions of every table and checkpoint.

    Raises:
        ValueError: ``keep_last`` is below 1.
    """
    if keep_last < 1:
        raise ValueError(f"keep_last={keep_last} would keep nothing; use 1 or more")
    folder = store.folder(CHECKPOINT)
    kept = _kept_checkpoints(folder, keep_last)
    pinned = {pair for checkpoint in (folder, *kept) for pair in _named_tables(checkpoint)}
    snapshots = tuple(
        (table.key, content_hash)
        for table in store.tables()
        for content_hash in table.snapshots()[:-keep_last]
        if (table.key, content_hash) not in pinned and content_hash != table.manifest().content_hash
    )
    folders = tuple(sorted({*_history(folder)} - set(kept))) + tuple(_finished_states(folder, kept))
    return RetentionPlan(snapshots=snapshots, folders=folders, num_bytes=sum(map(_num_bytes, folders)))


def apply_retention(store: Store, plan: RetentionPlan) -> None:
    """Delete the plan's versions and folders, waiting for runs that are writing there."""
    for key in sorted({key for key, _ in plan.snapshots}):
        table = store.table(key)
        with table.lock():
            table.forget({content_hash for name, content_hash in plan.snapshots if name == key})
    with store.lock(CHECKPOINT):
        for folder in plan.folders:
            shutil.rmtree(folder, ignore_errors=True)


def _history(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "history").glob("*") if not path.name.startswith(TEMPORARY_PREFIX))


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.is_file() else {}


def _kept_checkpoints(folder: Path, keep_last: int) -> list[Path]:
    """Return the newest checkpoints and those on which a kept one, or the current one, was fine-tuned."""
    every = _history(folder)
    kept = every[-keep_last:]
    waiting = [folder, *kept]
    while waiting:
        base = (_read(waiting.pop() / "result.json").get("recipe") or {}).get("base_model") or ""
        named = [path for path in every if path not in kept and Path(base).is_relative_to(path)]
        kept += named
        waiting += named
    return kept


def _named_tables(checkpoint: Path) -> Iterator[tuple[str, str]]:
    trained_on = _read(checkpoint / "result.json").get("corpus_content_hash")
    if trained_on:
        yield "corpus/mixture", trained_on
    yield from _read(checkpoint / "lineage.json").get("tables", {}).items()


def _finished_states(folder: Path, kept: list[Path]) -> Iterator[Path]:
    """Yield the optimizer states of trainings that are neither kept nor the newest, which may be resumed."""
    names = {_read(checkpoint / "result.json").get("identity") for checkpoint in (folder, *kept)}
    states = sorted((path for path in (folder / "runs").glob("*") if path.is_dir()), key=lambda p: p.stat().st_mtime)
    yield from (path for path in states[:-1] if path.name not in names)


def _num_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
