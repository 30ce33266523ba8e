"""The scoreboard as text: the cells of its tables, and all of it as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from codeft_assets.base import markdown
from codeft_eval.scoreboard.formatting import show, show_p, show_ratio, show_since, show_tokens
from codeft_eval.scoreboard.headline import headline, show_checkpoint
from codeft_eval.scoreboard.history import Change
from codeft_eval.scoreboard.rows import Row, Scoreboard, Summary
from codeft_eval.scoring.scores import AS_WRITTEN, BITS_PER_BYTE
from codeft_eval.statistics.comparison import Comparison

COLUMNS = (
    "benchmark",
    "protocol",
    "metric",
    "ours ± s.e. (95 %)",
    "n",
    "without leaked items",
    "reference",
    "theirs",
    "whose figure",
    "ours ÷ theirs (95 %)",
    "difference (95 %)",
    "detectable",
    "p",
    "note",
)
_REFERENCE = COLUMNS.index("reference")
_FIRST = ("benchmark", "ours ± s.e. (95 %)", "ours ÷ theirs (95 %)", "reference", "theirs")
"""Columns of the Markdown that come first: a narrow page shows no more than three."""
CHANGE_COLUMNS = ("benchmark", "n", "gained", "lost", "difference", "p (Holm)")
ABOUT = (
    "*published*: the authors' figure, by their harness; *measured*: by this harness, under the same protocol. "
    "*paired*: the same items compared one by one (McNemar's exact test and a joint bootstrap for pass rates, a "
    "sign-flip test for bits); *unpaired*: a published rate taken as that many passes of n. *detectable*: the smallest "
    "true difference that such data show in four of five cases. *leaked*: items that a document of our sources holds; "
    "those documents are not trained on. A mean of several ratios takes less than 0.01 as 0.01. Pass rates have "
    "Wilson's interval, ratios of few passes Koopman's."
)


def summary_columns(board: Scoreboard) -> tuple[str, ...]:
    """Return the columns of the table by language."""
    return ("language", "ours ± s.e. (95 %)", "n", f"ours ÷ {board.headline} (95 %)", "over")


def cells(row: Row) -> list[str]:
    """Return a row as text, one entry a column."""
    n = str(row.ours.n if row.ours else 0)
    return [
        row.title,
        _show_protocol(row),
        row.metric,
        show(row.ours, row.metric),
        f"{n} of {row.num_items}" if n != str(row.num_items) else n,
        _show_clean(row),
        row.reference_model or "–",
        _show_reference(row),
        row.provenance or "–",
        show_ratio(row.ratio),
        *_show_comparison(row.comparison, row.metric),
        row.note,
    ]


def summary_cells(summary: Summary) -> list[str]:
    """Return a language, or all of them, as text."""
    ours = summary.ours
    return [
        summary.name,
        show(ours, "pass@1") if ours else "–",
        str(ours.n) if ours else "–",
        show_ratio(summary.ratio),
        summary.note,
    ]


def change_cells(change: Change) -> list[str]:
    """Return a change as text."""
    return [
        change.title,
        str(change.n),
        str(len(change.gained)),
        str(len(change.lost)),
        f"{100 * change.difference:+.1f} points",
        show_p(change.p_value),
    ]


def to_markdown(board: Scoreboard) -> str:
    """Return the scoreboard as Markdown; the basis of each comparison follows its table, numbered."""
    notes = list(dict.fromkeys(row.note for row in board.rows))
    rows = [[*cells(row)[:-1], f"({notes.index(row.note) + 1})"] for row in board.rows]
    for row, source in zip(rows, board.rows, strict=True):
        row[_REFERENCE] = f"{row[_REFERENCE]}, {source.provenance}" if source.reference_model else "none"
    columns = [*_FIRST, *(name for name in COLUMNS if name not in (*_FIRST, "whose figure"))]
    shown = [[row[COLUMNS.index(name)] for name in columns] for row in rows]
    parts = ["# Scoreboard", f"{markdown.escape(show_checkpoint(board))}, {show_tokens(board.num_tokens)}"]
    parts += [f"> **{markdown.escape(warning)}**" for warning in board.warnings]
    top = headline(board)
    parts += [f"**{markdown.escape(top.ability)}**", markdown.escape(top.relative)]
    parts += [f"Next: {markdown.escape(top.next_step)}"]
    parts += [markdown.table(summary_columns(board), [summary_cells(summary) for summary in board.by_language])]
    parts += _changes(board.changes)
    parts += ["## Every comparison", markdown.table(columns, shown)]
    parts += ["\n".join(f"{number}. {note}" for number, note in enumerate(notes, 1)), ABOUT]
    return "\n\n".join(parts) + "\n"


def _changes(changes: Sequence[Change]) -> list[str]:
    if not changes:
        return []
    lists = [
        f"- {change.title}: {name} " + ", ".join(f"`{item}`" for item in items)
        for change in changes
        for name, items in (("gained", change.gained), ("lost", change.lost))
        if items
    ]
    table = markdown.table(CHANGE_COLUMNS, [change_cells(change) for change in changes])
    return [f"## Since checkpoint `{show_since(changes)}`", table, *(["\n".join(lists)] if lists else [])]


def _show_protocol(row: Row) -> str:
    return row.protocol_name if row.prompt_end == AS_WRITTEN else f"{row.protocol_name}, prompts {row.prompt_end}"


def _show_clean(row: Row) -> str:
    if row.num_leaked is None:
        return "–"
    if row.num_leaked == 0:
        return "none leaked"
    return f"{show(row.clean, row.metric)}, {row.num_leaked} left out" + (
        f"; ÷ theirs {show_ratio(row.clean_ratio)}" if row.clean_ratio else ""
    )


def _show_comparison(comparison: Comparison | None, metric: str) -> list[str]:
    if comparison is None:
        return ["–", "–", "–"]
    scale, digits, unit = (1, 3, "bits") if metric == BITS_PER_BYTE else (100, 1, "points")
    gap = comparison.difference
    value, low, high = (f"{scale * bound:+.{digits}f}" for bound in (gap.value, gap.low, gap.high))
    p_value = comparison.kind if comparison.p_value is None else show_p(comparison.p_value)
    return [f"{value} ({low} to {high})", f"{scale * comparison.detectable:.{digits}f} {unit}", p_value]


def _show_reference(row: Row) -> str:
    if row.reference is None:
        return "–"
    low, high = row.reference_interval or (None, None)
    if row.metric == BITS_PER_BYTE:
        return f"{row.reference:.3f} ({low:.3f}–{high:.3f})"
    interval = "" if low is None or high is None else f" ({100 * low:.1f}–{100 * high:.1f})"
    return f"{100 * row.reference:.1f} %{interval}"
