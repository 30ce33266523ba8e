"""Writes the scoreboard of a checkpoint: Markdown, pages, JSON and plots, and its entry in the history."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codeft_assets.base.files import write_atomically
from codeft_eval.scoreboard.history import Change, HistoryEntry, as_points, find_changes, record
from codeft_eval.scoreboard.pages import SAMPLES_PAGE, ChangedSamples, samples_html, scoreboard_html
from codeft_eval.scoreboard.plots import plot_svg, progress_svgs
from codeft_eval.scoreboard.rows import Scoreboard, to_json
from codeft_eval.scoreboard.summaries import make_scoreboard
from codeft_eval.scoreboard.tables import to_markdown
from codeft_eval.scoring.samples import read_samples
from codeft_eval.scoring.scores import BESIDE, REPLAY_PREFIX, SCORES_FILE, Measurement, read_measurement, read_score

MAX_SHOWN = 40
"""Changed items of a benchmark that are shown in full; the others are on the samples' page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The scoreboard as it was written."""

    board: Scoreboard
    markdown: str
    json: str
    bars: str
    progress: tuple[str, ...]
    """A panel a benchmark and metric with scores at two numbers of tokens or more."""
    page: Path
    samples_page: Path


def publish(
    folders: Sequence[Path],
    output: Path,
    *,
    references: Sequence[tuple[str, Path]] = (),
    leaked: Path | None = None,
    num_tokens: int | None = None,
) -> Published:
    """Write everything under ``output``, where ``output/history`` keeps every checkpoint's scores and samples.

    Args:
        folders: One model's scores, a folder each; replays of other models after it are references measured here.
        output: Where the files go.
        references: Model name and folder of its scores by this harness.
        leaked: JSON {benchmark: [task ids that a source document holds]}; None when nobody looked.
        num_tokens: Tokens the checkpoint was trained on.

    Raises:
        ValueError: a folder holds no finished score, or several models are mixed.
    """
    own_folders, replays = _split_replays(folders)
    history = record(output / "history", own_folders, num_tokens)
    found = find_changes(history)
    scores = [read_measurement(folder) for folder in own_folders]
    board = make_scoreboard(
        scores,
        _read_references([*references, *replays, *_beside(own_folders)]),
        leaked=read_leaked(leaked) if leaked else None,
        num_tokens=num_tokens,
        changes=found,
    )
    done = _render(board, history, output)
    named = {own.score.title: read_samples(folder) for own, folder in zip(scores, own_folders, strict=True)}
    changed = _changed_samples(found, history)
    write_atomically(output / "scoreboard.json", done.json)
    write_atomically(output / "scoreboard.md", done.markdown)
    write_atomically(output / "scoreboard.svg", done.bars)
    write_atomically(done.page, scoreboard_html(board, done.bars, done.progress, changed))
    write_atomically(done.samples_page, samples_html(board.model_hash, named))
    return done


def _render(board: Scoreboard, history: Sequence[HistoryEntry], output: Path) -> Published:
    document = to_json(board) | {"history": as_points(history)}
    return Published(
        board=board,
        markdown=to_markdown(board),
        json=json.dumps(document, indent=2, allow_nan=False) + "\n",
        bars=plot_svg(board),
        progress=tuple(progress_svgs(history, board)),
        page=output / "scoreboard.html",
        samples_page=output / SAMPLES_PAGE,
    )


def _split_replays(folders: Sequence[Path]) -> tuple[list[Path], list[tuple[str, Path]]]:
    """Return the first model's folders, and names and folders of other models' replays.

    Another checkpoint stays among the first model's: there it is refused, since it may be one that was forgotten.
    """
    scores = {folder: read_score(folder) for folder in folders}
    first = scores[folders[0]].model_hash
    others = [
        (score.model, folder)
        for folder, score in scores.items()
        if score.model_hash != first and score.model_hash.startswith(REPLAY_PREFIX)
    ]
    named = {folder for _, folder in others}
    return [folder for folder in folders if folder not in named], others


def _beside(folders: Sequence[Path]) -> list[tuple[str, Path]]:
    """Return the scores that a strategy is read beside, by their models' names: its control, and the first attempt."""
    found = sorted(path.parent for folder in folders for path in folder.glob(f"{BESIDE}/*/{SCORES_FILE}"))
    return [(read_score(folder).model, folder) for folder in found]


def _read_references(references: Sequence[tuple[str, Path]]) -> dict[str, list[Measurement]]:
    measured: dict[str, list[Measurement]] = {}
    for name, folder in references:
        measured.setdefault(name, []).append(read_measurement(folder))
    return measured


def read_leaked(path: Path) -> dict[str, list[str]]:
    """Return the leaked items in a file.

    Raises:
        ValueError: it is not JSON {benchmark: [task ids]}.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return {str(benchmark): [str(item) for item in items] for benchmark, items in document.items()}
    except (json.JSONDecodeError, AttributeError, TypeError) as error:
        raise ValueError(f"{str(path)!r} is not JSON {{benchmark: [task ids]}}: {error}; write it again") from error


def _changed_samples(found: Sequence[Change], history: Sequence[HistoryEntry]) -> ChangedSamples:
    shown = {}
    for change in found:
        items = (*change.gained[:MAX_SHOWN], *change.lost[:MAX_SHOWN])
        before, now = (_first_samples(entry.folder / change.benchmark, items) for entry in history[-2:])
        shown[change.benchmark] = {item: (now[item], before.get(item)) for item in items if item in now}
    return shown


def _first_samples(folder: Path, items: Collection[str]) -> dict[str, Mapping[str, Any]]:
    """Return the first sample of each of ``items``."""
    wanted = set(items)
    return {row["task_id"]: row for row in read_samples(folder) if row["sample"] == 0 and row["task_id"] in wanted}
