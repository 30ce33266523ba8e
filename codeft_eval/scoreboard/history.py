"""The scores of every checkpoint that was ever on the scoreboard, so that progress is a curve and a change has a name.

Invariant: recording the checkpoint that was recorded last changes nothing.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path

from codeft_assets.base.files import replacing_folder
from codeft_eval.scoring.samples import SAMPLES_FILE
from codeft_eval.scoring.scores import PASS_AT_1, SCORES_FILE, Measurement, read_measurement
from codeft_eval.statistics.comparison import holm, paired, paired_bits

FORMAT = 2
_ENTRY_FILE = "entry.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """A checkpoint and its scores."""

    model_hash: str
    num_tokens: int | None
    order: int
    """The number of checkpoints recorded before it."""
    scores: Mapping[str, Measurement]
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The items that one benchmark gained and lost between two checkpoints."""

    benchmark: str
    title: str
    before_hash: str
    before_tokens: int | None
    n: int
    gained: tuple[str, ...]
    """Items that pass now and did not before, or pass more often."""
    lost: tuple[str, ...]
    difference: float
    p_value: float
    """Exact McNemar, adjusted for the number of benchmarks (Holm)."""


def record(history: Path, folders: Sequence[Path], num_tokens: int | None) -> list[HistoryEntry]:
    """Add a checkpoint's scores as the newest entry and return all entries, oldest first.

    Raises:
        ValueError: the folders hold scores of several models, or the history is of another format.
    """
    measured = {folder: read_measurement(folder) for folder in folders}
    hashes = {own.score.model_hash for own in measured.values()}
    if len(hashes) != 1:
        raise ValueError(
            f"scores of {len(hashes)} models; an entry of the history is one: give one checkpoint's scores"
        )
    model_hash = hashes.pop()
    earlier = [entry for entry in read_history(history) if entry.model_hash != model_hash]
    facts = {
        "model_hash": model_hash,
        "num_tokens": num_tokens,
        "order": max((e.order for e in earlier), default=-1) + 1,
    }
    with replacing_folder(history / _folder_name(model_hash)) as temporary:
        for folder, own in measured.items():
            (temporary / own.score.name).mkdir()
            for file in (SCORES_FILE, SAMPLES_FILE):
                shutil.copyfile(folder / file, temporary / own.score.name / file)
        document = json.dumps({"format": FORMAT, **facts}, indent=2) + "\n"
        (temporary / _ENTRY_FILE).write_text(document, encoding="utf-8")
    return read_history(history)


def read_history(history: Path) -> list[HistoryEntry]:
    """Return all recorded checkpoints, oldest first.

    Raises:
        ValueError: an entry is of another format.
    """
    folders = [path.parent for path in history.glob(f"*/{_ENTRY_FILE}") if not path.parent.name.startswith(".")]
    return sorted(map(_read_entry, folders), key=lambda entry: entry.order)


def find_changes(entries: Sequence[HistoryEntry]) -> list[Change]:
    """Return gains and losses of the newest checkpoint against the one before, where the protocol is the same."""
    if len(entries) < 2:
        return []
    before, now = entries[-2:]
    common = [name for name in now.scores if name in before.scores and _alike(before.scores[name], now.scores[name])]
    found = [_change(before, now, name) for name in common]
    adjusted = holm([change.p_value for change in found])
    return [replace(change, p_value=p_value) for change, p_value in zip(found, adjusted, strict=True)]


def significant_changes(entries: Sequence[HistoryEntry], benchmark: str, metric: str = PASS_AT_1) -> list[bool]:
    """Return, for each entry with the benchmark, whether it differs from the one before (p < 0.05 after Holm)."""
    measured = [entry.scores[benchmark] for entry in entries if benchmark in entry.scores]
    p_values = [_p_value(before, now, metric) for before, now in pairwise(measured)]
    return [False, *(p_value < 0.05 for p_value in holm(p_values))][: len(measured)]


def _p_value(before: Measurement, now: Measurement, metric: str) -> float:
    if not _alike(before, now):
        return 1.0
    if metric == PASS_AT_1:
        found = paired(now.pass_rates, before.pass_rates).p_value
    else:
        found = paired_bits(now.bits, before.bits).p_value if now.bits.keys() & before.bits.keys() else None
    return 1.0 if found is None else found


def _change(before: HistoryEntry, now: HistoryEntry, name: str) -> Change:
    found = paired(now.scores[name].pass_rates, before.scores[name].pass_rates)
    assert found.p_value is not None, "paired comparisons have one"
    return Change(
        benchmark=name,
        title=now.scores[name].score.title,
        before_hash=before.model_hash,
        before_tokens=before.num_tokens,
        n=found.n,
        gained=found.gained,
        lost=found.lost,
        difference=found.difference.value,
        p_value=found.p_value,
    )


def _alike(before: Measurement, now: Measurement) -> bool:
    names = ("version", "protocol_name", "protocol", "data_sha256")
    same = all(getattr(before.score, name) == getattr(now.score, name) for name in names)
    return same and PASS_AT_1 in before.score.metrics and bool(before.pass_rates.keys() & now.pass_rates.keys())


def _read_entry(folder: Path) -> HistoryEntry:
    document = json.loads((folder / _ENTRY_FILE).read_text(encoding="utf-8"))
    if document.pop("format", None) != FORMAT:
        raise ValueError(f"{str(folder)!r} is not of format {FORMAT}; delete it: its checkpoint can be scored again")
    names = sorted(path.parent.name for path in folder.glob(f"*/{SCORES_FILE}"))
    return HistoryEntry(**document, folder=folder, scores={name: read_measurement(folder / name) for name in names})


def _folder_name(model_hash: str) -> str:
    return "".join(letter for letter in model_hash if letter.isalnum())[:24]


def as_points(entries: Sequence[HistoryEntry]) -> list[dict[str, object]]:
    """Return the history as plain data: checkpoint, tokens, and each benchmark's metrics."""
    return [
        {
            "model_hash": entry.model_hash,
            "num_tokens": entry.num_tokens,
            "metrics": {
                name: {metric: asdict(estimate) for metric, estimate in own.score.metrics.items()}
                for name, own in entry.scores.items()
            },
        }
        for entry in entries
    ]
