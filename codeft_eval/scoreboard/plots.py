"""The scoreboard's plots, as transparent SVG that reads on light and dark."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from codeft_eval.scoreboard.formatting import show_tokens
from codeft_eval.scoreboard.history import HistoryEntry, significant_changes
from codeft_eval.scoreboard.rows import Row, Scoreboard
from codeft_eval.scoring.scores import BITS_PER_BYTE, PASS_AT_1
from codeft_eval.statistics.intervals import Estimate

# Middle tones: at least 3:1 contrast on white and on near-black alike.
INK, OURS, MEASURED, PUBLISHED = "#7d8590", "#2f81f7", "#2da44e", "#bf8700"
_WIDTH_INCHES = 4.4
"""Of every plot: a phone shows it without shrinking the letters much."""
_COLOR_OF = {"measured": MEASURED, "published": PUBLISHED}


def plot_svg(board: Scoreboard) -> str:
    """Return pass rates as bars, their intervals as whiskers, the reference models below; narrow enough for a phone."""
    groups = [rows for rows in _groups(board) if rows]

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        num_bars = _bars(axes, groups)
        axes.set_yticks([])
        axes.set_ylim(num_bars - 0.4, -0.9)
        axes.set_xlim(0, 100)
        axes.set_xlabel("pass@1, % of items (whisker: 95 % interval)", fontsize=8)
        _color(axes, "x")

    num_lines = sum(len(rows) + 1 for rows in groups) or 1
    return _svg((_WIDTH_INCHES, 0.6 + 0.4 * num_lines), draw)


def progress_svgs(entries: Sequence[HistoryEntry], board: Scoreboard) -> list[str]:
    """Return a panel for each metric and benchmark over the tokens trained on.

    A panel needs scores at two numbers of tokens: one point is no curve. Bits per byte comes first: it moves while
    pass@1 is still 0. A filled marker is a checkpoint that differs from the one before (p < 0.05 after Holm); dashed
    lines are reference models.
    """
    known = [entry for entry in entries if entry.num_tokens]
    names = dict.fromkeys(name for entry in known for name in entry.scores)
    panels = []
    for metric in (BITS_PER_BYTE, PASS_AT_1):
        for name in names:
            measured = [entry for entry in known if name in entry.scores and metric in entry.scores[name].score.metrics]
            rows = [row for row in board.rows if (row.score_name, row.metric) == (name, metric)]
            if len({entry.num_tokens for entry in measured}) > 1:
                panels.append(
                    _svg((_WIDTH_INCHES, 2.5), partial(_panel, measured=measured, rows=rows, name=name, metric=metric))
                )
    return panels


def markdown_images(svgs: Iterable[str]) -> str:
    """Return plots as Markdown images that hold their data."""
    encoded = [base64.b64encode(svg.encode()).decode() for svg in svgs]
    return "\n\n".join(f"![plot](data:image/svg+xml;base64,{code})" for code in encoded)


def _panel(figure: Any, *, measured: Sequence[HistoryEntry], rows: Sequence[Row], name: str, metric: str) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes = figure.subplots()
    _curve(axes, measured, name, metric)
    _reference_lines(axes, rows)
    title = measured[-1].scores[name].score.title
    axes.set_title(f"{title}: {'bits per byte' if metric == BITS_PER_BYTE else 'pass@1, %'}", color=INK, fontsize=9)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda tokens, _: show_tokens(round(tokens)).removesuffix(" tokens")))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("tokens trained on", fontsize=8)
    if metric == PASS_AT_1:
        axes.set_ylim(bottom=0)
    _color(axes, "y")


def _curve(axes: Any, measured: Sequence[HistoryEntry], name: str, metric: str) -> None:
    points = [(entry.num_tokens or 0, entry.scores[name].score.metrics[metric]) for entry in measured]
    scale = 1 if metric == BITS_PER_BYTE else 100
    for run in _rising(points):
        tokens, bounds = [x for x, _ in run], [(scale * e.low, scale * e.high) for _, e in run]
        axes.plot(tokens, [scale * e.value for _, e in run], color=OURS, linewidth=1.5)
        axes.fill_between(tokens, *zip(*bounds, strict=True), color=OURS, alpha=0.2, linewidth=0)
    filled = significant_changes(measured, name, metric)
    for (tokens, estimate), is_step in zip(points, filled, strict=True):
        face = OURS if is_step else "none"
        reach = [[scale * (estimate.value - estimate.low)], [scale * (estimate.high - estimate.value)]]
        style = {"color": OURS, "marker": "o", "markerfacecolor": face, "markersize": 6, "clip_on": False}
        axes.errorbar([tokens], [scale * estimate.value], yerr=reach, **style)


def _rising(points: Sequence[tuple[int, Estimate]]) -> list[list[tuple[int, Estimate]]]:
    """Return the points in stretches of growing tokens: a training that began again is another line."""
    runs: list[list[tuple[int, Estimate]]] = []
    for point in points:
        if runs and point[0] > runs[-1][-1][0]:
            runs[-1].append(point)
        else:
            runs.append([point])
    return runs


def _reference_lines(axes: Any, rows: Sequence[Row]) -> None:
    """Draw dashed lines, named in turn below on the left and above on the right: lines can lie close together."""
    scale = 1 if rows and rows[0].metric == BITS_PER_BYTE else 100
    lines = [(scale * row.reference, row) for row in rows if row.reference is not None]
    for number, (height, row) in enumerate(sorted(lines, key=lambda line: line[0])):
        color, side = _COLOR_OF[str(row.provenance)], number % 2
        axes.axhline(height, color=color, linestyle="--", linewidth=1)
        axes.annotate(
            f"{row.reference_model} ({row.provenance})",
            (side, height),
            xytext=(0, 1.5 if side else -1.5),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="right" if side else "left",
            va="bottom" if side else "top",
            color=color,
            fontsize=6,
        )


def _groups(board: Scoreboard) -> list[list[Row]]:
    names = dict.fromkeys(row.score_name for row in board.rows)
    shown = [row for row in board.rows if row.metric == PASS_AT_1]
    return [[row for row in shown if row.score_name == name] for name in names]


def _bars(axes: Any, groups: Sequence[Sequence[Row]]) -> int:
    """Draw the bars with their names above them and return how many there are."""
    position = 0
    for rows in groups:
        ours = rows[0].ours
        values = (100 * ours.value, 100 * ours.low, 100 * ours.high) if ours else None
        _bar(axes, position, f"{rows[0].title}: ours", values, OURS)
        position += 1
        for row in rows:
            if row.reference is None:
                continue
            low, high = row.reference_interval or (row.reference, row.reference)
            values = 100 * row.reference, 100 * low, 100 * high
            _bar(axes, position, f"{row.reference_model} ({row.provenance})", values, _COLOR_OF[str(row.provenance)])
            position += 1
    return position


def _bar(axes: Any, position: int, name: str, values: tuple[float, float, float] | None, color: str) -> None:
    value, low, high = values or (0.0, 0.0, 0.0)
    axes.barh(position, value, color=color, height=0.34)
    if high > low:
        reach = [[value - low], [high - value]]
        axes.errorbar([value], [position], xerr=reach, fmt="none", ecolor=INK, elinewidth=1.5, capsize=4, capthick=1.5)
    if values:
        axes.plot([value], [position], marker="|", color=color, markersize=13, markeredgewidth=3, clip_on=False)
    label = f"{name}, {value:.1f} %" if values else f"{name} (no score)"
    axes.text(0, position - 0.24, label, va="bottom", color=INK, fontsize=8)


def _color(axes: Any, grid: str) -> None:
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(colors=INK, which="both", length=0, labelsize=8)
    axes.xaxis.label.set_color(INK)
    axes.grid(axis=grid, color=INK, alpha=0.25, linewidth=0.8)
    axes.set_axisbelow(True)


def _svg(size: tuple[float, float], draw: Callable[[Any], object]) -> str:
    import matplotlib
    from matplotlib.figure import Figure

    # text stays text, ids stay the same, and a name with a $ is a name
    style: Any = {"svg.hashsalt": "codeft", "svg.fonttype": "none", "text.color": INK, "text.parse_math": False}
    with matplotlib.rc_context(style):
        figure, text = Figure(figsize=size), io.StringIO()
        draw(figure)
        figure.savefig(text, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None})
    return text.getvalue()
