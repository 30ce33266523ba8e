"""Plots for metadata: small SVG images in colors that are legible on light and dark grounds.

The web UI shows Markdown of fewer than ``INLINE_CHARS`` characters in place and hides longer text behind a click, so a
plot spends few characters: whole pixels, no spaces in its paths, numbers of three digits, the smallest bars summed up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape

import dagster as dg
import polars as pl

INLINE_CHARS = 1000
"""Dagster 1.13's web UI shows Markdown below this length in place."""
_INK = "#789"  # mid gray: see the contrast test
_COLORS = ("#38c", "#c71", "#295", "#b5c", "#d55", "#882", "#399", "#a74")
_WIDTH, _BAR_LEFT, _ROW = 380, 160, 16
_MAX_BARS, _MAX_PARTS = 11, 4
_MAX_POINTS = 56
_PLOT_HEIGHT, _PLOT_LEFT = 90, 34
_DOT = "h0' stroke-linecap='round' stroke-width='7"  # ends a path of one point
_BINS = 20
_SUFFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def bar_plot(values: Mapping[str, float], *, title: str, unit: str) -> dg.MarkdownMetadataValue:
    """Return horizontal bars, largest on top, with name and value beside each; the smallest are summed up."""
    ordered = sorted(values.items(), key=lambda item: -item[1])
    if len(ordered) > _MAX_BARS:
        rest = ordered[_MAX_BARS - 1 :]
        ordered = [*ordered[: _MAX_BARS - 1], (f"{len(rest)} others", sum(value for _, value in rest))]
    rows = {f"{name} {short(value)}": {"": value} for name, value in ordered}
    return _embed(_bars(rows, [""]), title=title, unit=unit, height=_ROW * len(rows))


def stacked_bars(rows: Mapping[str, Mapping[str, float]], *, title: str, unit: str) -> dg.MarkdownMetadataValue:
    """Return one horizontal bar per row, divided into its named parts; a long plot is without the smallest rows."""
    rows = _with_few_parts(rows)
    parts = sorted({part for row in rows.values() for part in row})
    largest = sorted(rows, key=lambda name: -sum(rows[name].values()))
    for num_shown in range(len(rows), 0, -1):
        shown = {name: rows[name] for name in rows if name in largest[:num_shown]}
        legend = _legend(parts, y=_ROW * num_shown + 12)
        height = _ROW * num_shown + _legend_height(parts)
        left_out = f"; {len(rows) - num_shown} smaller not shown" if num_shown < len(rows) else ""
        plot = _embed(_bars(shown, parts) + legend, title=title, unit=f"{unit}{left_out}", height=height)
        if len(plot.md_str or "") < INLINE_CHARS:
            return plot
    return plot if rows else _embed("", title=title, unit=unit, height=0)


def _with_few_parts(rows: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Return the rows with all but their largest parts, in total, summed up as others."""
    totals: dict[str, float] = {}
    for row in rows.values():
        for part, value in row.items():
            totals[part] = totals.get(part, 0) + value
    kept = sorted(totals, key=lambda part: -totals[part])[: _MAX_PARTS if len(totals) <= _MAX_PARTS else _MAX_PARTS - 1]
    found = {}
    for name, row in rows.items():
        others = sum(value for part, value in row.items() if part not in kept)
        found[name] = {part: row[part] for part in row if part in kept} | ({"others": others} if others else {})
    return found


def histogram(
    parts: Iterable[pl.Series], *, title: str, unit: str, mark: float | None = None
) -> dg.MarkdownMetadataValue:
    """Return a histogram over 0..1 in twenty bins of values in parts, with a dashed line at ``mark``."""
    counts = [0] * _BINS
    for part in parts:
        place = (part.cast(pl.Float64) * _BINS).cast(pl.Int64, strict=False).clip(0, _BINS - 1).drop_nulls()
        for bin_number, count in place.value_counts().iter_rows():
            counts[bin_number] += count
    most, width = max(*counts, 1), (_WIDTH - _PLOT_LEFT) // _BINS
    heights = [math.ceil(count / most * (_PLOT_HEIGHT - 12)) for count in counts]
    boxes = (
        f"M{_PLOT_LEFT + i * width},{_PLOT_HEIGHT}h{width - 2}v-{tall}h{2 - width}z"
        for i, tall in enumerate(heights)
        if tall
    )
    line = ""
    if mark is not None:
        x = _PLOT_LEFT + round(mark * width * _BINS)
        line = f"<path d='M{x},0V{_PLOT_HEIGHT}' stroke='{_COLORS[1]}' stroke-dasharray='4'/>"
    body = f"<path d='{''.join(boxes)}' fill='{_COLORS[0]}'/>{line}"
    axes = _axes(("0", "1"), ("", short(most)), x_right=_PLOT_LEFT + width * _BINS)
    return _embed(body + axes, title=title, unit=f"documents by {unit}", height=_PLOT_HEIGHT + 16)


def line_plot(
    lines: Mapping[str, Sequence[tuple[float, float]]], *, title: str, x_label: str, y_label: str
) -> dg.MarkdownMetadataValue:
    """Return one line per name through its ``(x, y)`` points, a dot for a single one; long lines are thinned evenly."""
    drawn = {name: _thinned(points, _MAX_POINTS // len(lines)) for name, points in lines.items() if points}
    if not drawn:
        return dg.MetadataValue.md(f"**{title}**: no points")
    xs, ys = zip(*(point for points in drawn.values() for point in points), strict=True)
    to_x = _scale(min(xs), max(xs), _PLOT_LEFT, _WIDTH - 10)
    to_y = _scale(min(ys), max(ys), _PLOT_HEIGHT, 6)
    body = "".join(
        f"<path d='M{'L'.join(f'{to_x(x)},{to_y(y)}' for x, y in points)}{_DOT if len(points) == 1 else ''}'"
        f" fill='none' stroke='{color}'/>"
        for points, color in zip(drawn.values(), _cycle(len(drawn)), strict=True)
    )
    axes = _axes(_ends(xs), _ends(ys), x_right=_WIDTH - 10)
    names = list(drawn) if len(drawn) > 1 else []
    legend = _legend(names, y=_PLOT_HEIGHT + 30)
    height = _PLOT_HEIGHT + 16 + _legend_height(names)
    return _embed(body + axes + legend, title=title, unit=f"{y_label} by {x_label}", height=height)


def short(value: float) -> str:
    """Return ``value`` with three significant digits: ``1.31M``, ``0.083``."""
    for size, suffix in _SUFFIXES:
        if abs(value) >= size:
            return f"{value / size:.3g}{suffix}"
    return f"{value:.3g}"


def _ends(values: Sequence[float]) -> tuple[str, str]:
    """Return what stands at the ends of an axis, a single value once."""
    first, last = short(min(values)), short(max(values))
    return first, last if last != first else ""


def _thinned(points: Sequence[tuple[float, float]], limit: int) -> list[tuple[float, float]]:
    step = max(math.ceil(len(points) / max(limit, 2)), 1)
    kept = list(points[::step])
    return kept if kept[-1] == points[-1] else [*kept, points[-1]]


def _scale(low: float, high: float, start: int, end: int) -> Callable[[float], int]:
    return lambda value: round(start + (value - low) / ((high - low) or 1) * (end - start))


def _cycle(count: int) -> list[str]:
    return [_COLORS[i % len(_COLORS)] for i in range(count)]


def _bars(rows: Mapping[str, Mapping[str, float]], parts: Sequence[str]) -> str:
    widest = max((sum(row.values()) for row in rows.values()), default=0) or 1
    names = "".join(f"<text y='{_ROW * i + 11}'>{escape(name[:27])}</text>" for i, name in enumerate(rows))
    paths = []
    for k, color in enumerate(_cycle(len(parts))):
        boxes = []
        for i, row in enumerate(rows.values()):
            edges = [sum(row.get(part, 0) for part in parts[:end]) for end in (k, k + 1)]
            left, right = (round(_BAR_LEFT + edge / widest * (_WIDTH - _BAR_LEFT)) for edge in edges)
            if row.get(parts[k], 0) > 0:
                boxes.append(f"M{left},{_ROW * i + 8}h{max(right - left, 1)}")  # a thick line: half a box's characters
        paths.append(f"<path d='{''.join(boxes)}' stroke='{color}'/>")
    return f"{names}<g stroke-width='11'>{''.join(paths)}</g>"


def _legend_rows(names: Sequence[str]) -> list[list[int]]:
    rows, end = [[]], 0
    for i, name in enumerate(names):
        width = 7 * len(name) + 8
        if rows[-1] and end + width > _WIDTH:
            rows, end = [*rows, []], 0
        rows[-1].append(i)
        end += width
    return rows


def _legend(names: Sequence[str], *, y: int) -> str:
    colors = _cycle(len(names))
    lines = (
        " ".join(f"<tspan fill='{colors[i]}'>{escape(names[i])}</tspan>" for i in row) for row in _legend_rows(names)
    )
    return "".join(f"<text y='{y + 14 * i}'>{line}</text>" for i, line in enumerate(lines)) if names else ""


def _legend_height(names: Sequence[str]) -> int:
    return 14 * len(_legend_rows(names)) + 4 if names else 0


def _axes(x_ends: tuple[str, str], y_ends: tuple[str, str], *, x_right: int) -> str:
    bottom = _PLOT_HEIGHT
    return (
        f"<path d='M{_PLOT_LEFT},0V{bottom}H{x_right}' fill='none' stroke='{_INK}'/>"
        f"<text y='{bottom}'>{y_ends[0]}</text><text y='10'>{y_ends[1]}</text>"
        f"<text x='{_PLOT_LEFT}' y='{bottom + 13}'>{x_ends[0]}</text>"
        f"<text x='{x_right}' y='{bottom + 13}' text-anchor='end'>{x_ends[1]}</text>"
    )


def _embed(body: str, *, title: str, unit: str, height: int) -> dg.MarkdownMetadataValue:
    head = f"xmlns='http://www.w3.org/2000/svg' width='{_WIDTH}' height='{height}'"
    svg = f"<svg {head} fill='{_INK}' style='font:11px sans-serif'>{body}</svg>"
    # only what a Markdown destination or a URL cannot hold is encoded: base64 would cost a third more
    for mark, code in (
        ("%", "%25"),
        ("\n", "%0A"),
        ("#", "%23"),
        (" ", "%20"),
        ("(", "%28"),
        (")", "%29"),
        ("\\", "%5C"),
    ):
        svg = svg.replace(mark, code)
    name, caption = (
        "".join(" " if mark in "[]\\`*_<>|\n" else mark for mark in text) for text in (title, f"{title}, {unit}")
    )
    return dg.MetadataValue.md(f"{caption}\n\n![{name}](data:image/svg+xml,{svg})")
