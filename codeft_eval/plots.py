"""The scoreboard's plots, as transparent SVG that reads on light and dark."""

import io
from collections.abc import Callable, Sequence
from typing import Any

from codeft_eval.history import Recorded, steps_that_count
from codeft_eval.intervals import Estimate
from codeft_eval.reference import REFERENCE_MODELS
from codeft_eval.scoreboard import Row, Scoreboard
from codeft_eval.scores import BITS_PER_BYTE, PASS_AT_1

# Middle tones: at least 3:1 contrast on white and on near-black alike.
INK, OURS, MEASURED, PUBLISHED = "#7d8590", "#2f81f7", "#2da44e", "#bf8700"
_REFERENCES_SHOWN = REFERENCE_MODELS[:4]
"""Base models: what a base model of ours is measured against."""
_PANELS_A_ROW = 2
_COLOR_OF = {"measured": MEASURED, "published": PUBLISHED}


def plot_svg(board: Scoreboard) -> str:
    """Pass rates with their intervals, and the reference models' beside them."""
    groups = [rows for rows in _groups(board) if rows]

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        labels = _bars(axes, groups)
        axes.set_yticks(range(len(labels)), labels)
        axes.set_ylim(len(labels) - 0.4, -0.6)
        axes.set_xlim(0, 100)
        axes.set_xlabel("pass@1, % of items (line: 95 % interval)")
        _color(axes, "x")

    num_lines = sum(len(rows) + 1 for rows in groups) or 1
    return _svg((8, 0.8 + 0.36 * num_lines), draw)


def progress_svg(entries: Sequence[Recorded], board: Scoreboard) -> str:
    """A panel a benchmark and metric over the tokens trained on; empty when no entry knows its tokens.

    Bits per byte comes first: it moves while pass@1 is still 0. A filled marker is a checkpoint that differs from the
    one before (McNemar, p < 0.05 after Holm); dashed lines are reference models.
    """
    known = [entry for entry in entries if entry.num_tokens]
    metrics = (BITS_PER_BYTE, PASS_AT_1)
    names = dict.fromkeys(name for entry in known for name in entry.scores)
    panels = [
        (name, metric)
        for metric in metrics
        for name in names
        if any(metric in entry.scores[name].score.metrics for entry in known if name in entry.scores)
    ]
    if not panels:
        return ""
    num_rows = -(-len(panels) // _PANELS_A_ROW)

    def draw(figure: Any) -> None:
        grid = figure.subplots(num_rows, _PANELS_A_ROW, squeeze=False).flat
        for axes, (name, metric) in zip(grid, panels, strict=False):
            _panel(axes, known, name, metric)
            _reference_lines(axes, [row for row in board.rows if (row.benchmark, row.metric) == (name, metric)])
        for axes in list(grid)[len(panels) :]:
            axes.set_visible(False)
        figure.tight_layout()

    return _svg((8, 2.6 * num_rows), draw)


def _panel(axes: Any, entries: Sequence[Recorded], name: str, metric: str) -> None:
    having = [entry for entry in entries if name in entry.scores and metric in entry.scores[name].score.metrics]
    points = [(entry.num_tokens or 0, entry.scores[name].score.metrics[metric]) for entry in having]
    scale = 1 if metric == BITS_PER_BYTE else 100
    for run in _rising(points):
        tokens = [x for x, _ in run]
        axes.plot(tokens, [scale * e.value for _, e in run], color=OURS, linewidth=1.5)
        axes.fill_between(
            tokens,
            [scale * e.low for _, e in run],
            [scale * e.high for _, e in run],
            color=OURS,
            alpha=0.2,
            linewidth=0,
        )
    filled = steps_that_count(having, name) if metric == PASS_AT_1 else [True] * len(having)
    for (tokens, estimate), is_step in zip(points, filled, strict=True):
        face = OURS if is_step else "none"
        bounds = [[scale * (estimate.value - estimate.low)], [scale * (estimate.high - estimate.value)]]
        axes.errorbar(
            [tokens], [scale * estimate.value], yerr=bounds, color=OURS, marker="o", markerfacecolor=face, markersize=6
        )
    title = having[-1].scores[name].score.title
    axes.set_title(f"{title}: {'bits per byte ↓' if metric == BITS_PER_BYTE else 'pass@1, % ↑'}", color=INK, fontsize=9)
    axes.set_xscale("log")
    axes.set_xlabel("tokens trained on", fontsize=8)
    if metric == PASS_AT_1:
        axes.set_ylim(bottom=0)
    _color(axes, "y")


def _rising(points: Sequence[tuple[int, Estimate]]) -> list[list[tuple[int, Estimate]]]:
    """The points in stretches of growing tokens: a training that began anew is another line."""
    runs: list[list[tuple[int, Estimate]]] = []
    for point in points:
        if runs and point[0] > runs[-1][-1][0]:
            runs[-1].append(point)
        else:
            runs.append([point])
    return runs


def _reference_lines(axes: Any, rows: Sequence[Row]) -> None:
    for row in rows:
        if row.reference is None or (row.provenance == "published" and row.reference_model not in _REFERENCES_SHOWN):
            continue
        height = row.reference if row.metric == BITS_PER_BYTE else 100 * row.reference
        color = _COLOR_OF[str(row.provenance)]
        axes.axhline(height, color=color, linestyle="--", linewidth=1)
        label = f"{row.reference_model} ({row.provenance})"
        axes.annotate(
            label, (1, height), xycoords=("axes fraction", "data"), ha="right", va="bottom", color=color, fontsize=6
        )


def _groups(board: Scoreboard) -> list[list[Row]]:
    names = dict.fromkeys(row.benchmark for row in board.rows)
    return [[row for row in board.rows if row.benchmark == name and row.metric == PASS_AT_1] for name in names]


def _bars(axes: Any, groups: Sequence[Sequence[Row]]) -> list[str]:
    labels: list[str] = []
    for rows in groups:
        ours = rows[0].ours
        if ours:
            _bar(axes, len(labels), (100 * ours.value, 100 * ours.low, 100 * ours.high), OURS)
        labels.append(f"{rows[0].title}: ours" + ("" if ours else " (no score)"))
        for row in rows:
            if row.reference is None:
                continue
            low, high = row.reference_interval or (row.reference, row.reference)
            _bar(axes, len(labels), (100 * row.reference, 100 * low, 100 * high), _COLOR_OF[str(row.provenance)])
            labels.append(f"{row.reference_model} ({row.provenance})")
    return labels


def _bar(axes: Any, position: int, values: tuple[float, float, float], color: str) -> None:
    value, low, high = values
    axes.barh(position, value, color=color, height=0.62)
    if high > low:
        axes.plot([low, high], [position, position], color=INK, linewidth=2, solid_capstyle="butt")
    axes.text(high + 1, position, f"{value:.1f}", va="center", color=INK, fontsize=9)


def _color(axes: Any, grid: str) -> None:
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(colors=INK, which="both", length=0, labelsize=8)
    axes.xaxis.label.set_color(INK)
    axes.grid(axis=grid, color=INK, alpha=0.25, linewidth=0.8)
    axes.set_axisbelow(True)


def _svg(size: tuple[float, float], draw: Callable[[Any], None]) -> str:
    import matplotlib
    from matplotlib.figure import Figure

    # text stays text, ids stay the same, and a name with a $ is a name
    style: Any = {"svg.hashsalt": "codeft", "svg.fonttype": "none", "text.color": INK, "text.parse_math": False}
    with matplotlib.rc_context(style):
        figure, text = Figure(figsize=size), io.StringIO()
        draw(figure)
        figure.savefig(text, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None})
    return text.getvalue()
