"""Writes the scoreboard of a checkpoint: Markdown, pages, JSON and plots, and its entry in the history."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from codeft_eval.scoreboard.history import Change, Recorded, as_points, changes, record
from codeft_eval.scoreboard.page import MAX_SHOWN, Samples, to_html, write_page
from codeft_eval.scoreboard.plots import plot_svg, progress_svgs
from codeft_eval.scoreboard.rows import Scoreboard, to_json
from codeft_eval.scoreboard.sample_page import SAMPLES_PAGE, first_samples, samples_html
from codeft_eval.scoreboard.summaries import make_scoreboard
from codeft_eval.scoreboard.tables import to_markdown
from codeft_eval.scoring.scores import read_measurement, read_samples


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What was written."""

    board: Scoreboard
    markdown: str
    json: str
    bars: str
    progress: tuple[str, ...]
    "a panel a benchmark and metric; none while no checkpoint knows its tokens"
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
    """Writes everything under `output`, where `output/history` keeps every checkpoint's scores and samples.

    Args:
        folders: One checkpoint's scores, a folder a benchmark.
        output: Where the files go.
        references: Model name and folder of its scores by this harness.
        leaked: JSON {benchmark: [task ids that a source document holds]}; None when nobody looked.
        num_tokens: Tokens the checkpoint was trained on.

    Raises:
        ValueError: a folder holds no finished score, or several models are mixed.
    """
    measured: dict[str, list] = {}
    for name, folder in references:
        measured.setdefault(name, []).append(read_measurement(folder))
    history = record(output / "history", folders, num_tokens)
    found = changes(history)
    scores = [read_measurement(folder) for folder in folders]
    board = make_scoreboard(
        scores, measured, leaked=read_leaked(leaked) if leaked else None, num_tokens=num_tokens, changes=found
    )
    bars, progress, text = plot_svg(board), tuple(progress_svgs(history, board)), to_markdown(board)
    document = json.dumps(to_json(board) | {"history": as_points(history)}, indent=2, allow_nan=False) + "\n"
    named = {own.score.title: read_samples(folder) for own, folder in zip(scores, folders, strict=True)}
    write_page(output, "scoreboard.json", document)
    write_page(output, "scoreboard.md", text)
    write_page(output, "scoreboard.svg", bars)
    return Published(
        board=board,
        markdown=text,
        json=document,
        bars=bars,
        progress=progress,
        page=write_page(output, "scoreboard.html", to_html(board, bars, progress, _changed_samples(found, history))),
        samples_page=write_page(output, SAMPLES_PAGE, samples_html(board.model_hash, named)),
    )


def read_leaked(path: Path) -> dict[str, list[str]]:
    """The leaked items in a file.

    Raises:
        ValueError: it is not JSON {benchmark: [task ids]}.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return {str(benchmark): [str(item) for item in items] for benchmark, items in document.items()}
    except (json.JSONDecodeError, AttributeError, TypeError) as error:
        raise ValueError(f"{str(path)!r} is not JSON {{benchmark: [task ids]}}: {error}; write it anew") from error


def _changed_samples(found: Sequence[Change], history: Sequence[Recorded]) -> Mapping[str, Samples]:
    shown: dict[str, Samples] = {}
    for change in found:
        items = (*change.gained[:MAX_SHOWN], *change.lost[:MAX_SHOWN])
        before, now = (first_samples(read_samples(entry.folder / change.benchmark), items) for entry in history[-2:])
        shown[change.benchmark] = {item: (now[item], before.get(item)) for item in items if item in now}
    return shown
