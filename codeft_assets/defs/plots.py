"""Plots for metadata: SVG images, transparent and drawn in colors that are legible on light and dark grounds."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK = "#7c8594"  # mid gray: 4.0:1 on white and 4.4:1 on the dark theme's ground
_COLORS = ("#3b82c4", "#d9822b", "#2f9e6e", "#b35fc4", "#c94f4f", "#8a8f2a", "#4fa3a5", "#a0714f")
_WIDTH_INCHES = 7.2


def bar_plot(values: Mapping[str, float], *, title: str, unit: str) -> dg.MarkdownMetadataValue:
    """Return horizontal bars, largest on top, with each value written at its bar's end."""
    ordered = sorted(values.items(), key=lambda item: item[1])
    figure, axes = _figure(title, height_inches=0.6 + 0.28 * max(len(ordered), 1))
    bars = axes.barh([name for name, _ in ordered], [value for _, value in ordered], color=_COLORS[0])
    axes.bar_label(bars, labels=[f"{value:,.4g}" for _, value in ordered], padding=4, color=_INK, fontsize=8)
    axes.set_xlabel(unit, color=_INK)
    axes.margins(x=0.12)
    return _embed(figure, title)


def stacked_bars(rows: Mapping[str, Mapping[str, float]], *, title: str, unit: str) -> dg.MarkdownMetadataValue:
    """Return one horizontal bar per row, divided into its named parts."""
    figure, axes = _figure(title, height_inches=1.1 + 0.28 * max(len(rows), 1))
    parts = sorted({part for row in rows.values() for part in row})
    names: list[str] = list(rows)[::-1]
    left = [0.0] * len(names)
    for i, part in enumerate(parts):
        widths = [float(rows[name].get(part, 0)) for name in names]
        axes.barh(names, widths, left=left, label=part, color=_COLORS[i % len(_COLORS)])
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axes.set_xlabel(unit, color=_INK)
    _legend(axes, len(parts))
    return _embed(figure, title)


def histogram(values: Sequence[float], *, title: str, unit: str, mark: float | None = None) -> dg.MarkdownMetadataValue:
    """Return a histogram over 0..1 in twenty bins, with a line at ``mark``."""
    figure, axes = _figure(title, height_inches=2.4)
    axes.hist(values, bins=20, range=(0, 1), color=_COLORS[0])
    if mark is not None:
        axes.axvline(mark, color=_COLORS[1], linestyle="--")
    axes.set_xlabel(unit, color=_INK)
    axes.set_ylabel("documents", color=_INK)
    return _embed(figure, title)


def line_plot(
    lines: Mapping[str, Sequence[tuple[float, float]]], *, title: str, x_label: str, y_label: str
) -> dg.MarkdownMetadataValue:
    """Return one line per name through its ``(x, y)`` points."""
    figure, axes = _figure(title, height_inches=2.8)
    for i, (name, points) in enumerate(lines.items()):
        axes.plot([x for x, _ in points], [y for _, y in points], label=name, color=_COLORS[i % len(_COLORS)])
    axes.set_xlabel(x_label, color=_INK)
    axes.set_ylabel(y_label, color=_INK)
    _legend(axes, len(lines))
    return _embed(figure, title)


def _figure(title: str, *, height_inches: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH_INCHES, height_inches), layout="constrained")
    axes: Any = figure.subplots()
    axes.set_title(title, color=_INK, fontsize=10, loc="left")
    axes.tick_params(colors=_INK, labelsize=8)
    for side, spine in axes.spines.items():
        spine.set_color(_INK)
        spine.set_visible(side in {"left", "bottom"})
    return figure, axes


def _legend(axes: Axes, num_entries: int) -> None:
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=min(num_entries, 4), frameon=False, fontsize=8,
        labelcolor=_INK,
    )  # fmt: skip


def _embed(figure: Figure, title: str) -> dg.MarkdownMetadataValue:
    import matplotlib

    buffer = io.BytesIO()
    # text stays text and ids stay the same: a small file, and equal data gives equal metadata
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "codeft"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    encoded = base64.b64encode(buffer.getvalue()).decode()
    return dg.MetadataValue.md(f"![{title}](data:image/svg+xml;base64,{encoded})")
