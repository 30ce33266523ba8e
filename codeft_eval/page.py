"""The scoreboard as files for people: a bar plot that reads on light and dark, and a page to send to a friend."""

import html
import io
from collections.abc import Sequence
from pathlib import Path

from codeft_eval.reference import REFERENCE_MODELS
from codeft_eval.scoreboard import Row, Scoreboard, cells
from codeft_eval.scores import PASS_AT_1

# Middle tones: at least 3:1 contrast on white and on near-black alike.
INK, OURS, MEASURED, PUBLISHED = "#7d8590", "#2f81f7", "#2da44e", "#bf8700"
_COLUMNS = (
    "benchmark",
    "metric",
    "ours (95 %)",
    "n",
    "reference",
    "theirs",
    "whose figure",
    "ours ÷ theirs (95 %)",
    "note",
)
_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 0 auto; padding: 1rem; }
figure { margin: 1rem 0; } figure svg { max-width: 100%; height: auto; }
.warning { border-left: .3rem solid #bf8700; padding-left: .7rem; font-weight: 600; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .4rem .6rem; border-bottom: 1px solid #7d859066; }
.published { font-style: italic; } small { color: #7d8590; }
@media (max-width: 50rem) {
  thead { display: none; } tr { display: block; padding: .6rem 0; border-bottom: 2px solid #7d8590; }
  td { display: grid; grid-template-columns: 8.5rem 1fr; gap: .5rem; border: 0; padding: .15rem 0; }
  td::before { content: attr(data-name); color: #7d8590; }
}
"""


def plot_svg(board: Scoreboard) -> str:
    """Pass rates with their intervals, and the reference models' beside them, as a transparent SVG."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    groups = _groups(board)
    with pyplot.rc_context({"svg.hashsalt": "codeft", "svg.fonttype": "none", "text.color": INK}):
        num_lines = sum(len(rows) + 1 for rows in groups) or 1
        figure, axes = pyplot.subplots(figsize=(8, 0.8 + 0.42 * num_lines))
        labels = _draw(axes, groups)
        axes.set_yticks(range(len(labels)), labels)
        axes.set_ylim(len(labels) - 0.4, -0.6)
        axes.set_xlim(0, 100)
        axes.set_xlabel("pass@1, % of items (line: 95 % interval)")
        _color(axes)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None})
        pyplot.close(figure)
    return text.getvalue()


def to_html(board: Scoreboard, svg: str) -> str:
    """One self-contained page."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in _COLUMNS)
    body = "".join(_html_row(row) for row in board.rows)
    warnings = "".join(f'<p class="warning">{html.escape(warning)}</p>' for warning in board.warnings)
    overall = f"{board.overall.value:.3f}" if board.overall else "n/a"
    picture = svg[svg.index("<svg") :]
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Scoreboard</title><style>{_STYLE}</style>"
        f"<h1>Scoreboard</h1><p>{html.escape(board.model)}<br><small>{board.model_hash[:16]}</small></p>{warnings}"
        f"<p>Overall, relative to {REFERENCE_MODELS[0]}: <b>{overall}</b><br>"
        f"<small>{html.escape(board.overall_note)}</small></p>"
        f'<figure>{picture}</figure><div class="scroll">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        "<p><small><i>published</i>: the authors' figure, by their harness; <b>measured</b>: by this harness. "
        "Ratios have Koopman's score interval, pass rates Wilson's.</small></p></html>\n"
    )


def write_page(folder: Path, name: str, content: str) -> Path:
    """Writes one file of the scoreboard and returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


def _html_row(row: Row) -> str:
    columns = zip(_COLUMNS, cells(row), strict=True)
    tds = "".join(f'<td data-name="{html.escape(name)}">{html.escape(text)}</td>' for name, text in columns)
    return f'<tr class="{row.provenance or "none"}">{tds}</tr>'


def _groups(board: Scoreboard) -> list[list[Row]]:
    names = dict.fromkeys(row.benchmark for row in board.rows)
    return [[row for row in board.rows if row.benchmark == name and row.metric == PASS_AT_1] for name in names]


def _draw(axes, groups: Sequence[Sequence[Row]]) -> list[str]:  # noqa: ANN001 - matplotlib is imported late
    labels: list[str] = []
    for rows in groups:
        ours = rows[0].ours
        if ours:
            values = 100 * ours.value, 100 * ours.low, 100 * ours.high
            _bar(axes, len(labels), values, OURS)
        labels.append(f"{rows[0].title}: ours" + ("" if ours else " (no score)"))
        for row in rows:
            if row.reference is None:
                continue
            low, high = row.reference_interval or (row.reference, row.reference)
            values = 100 * row.reference, 100 * low, 100 * high
            _bar(axes, len(labels), values, MEASURED if row.provenance == "measured" else PUBLISHED)
            labels.append(f"{row.reference_model} ({row.provenance})")
    return labels


def _bar(axes, position: int, values: tuple[float, float, float], color: str) -> None:  # noqa: ANN001
    value, low, high = values
    axes.barh(position, value, color=color, height=0.62)
    if high > low:
        axes.plot([low, high], [position, position], color=INK, linewidth=2, solid_capstyle="butt")
    axes.text(high + 1, position, f"{value:.1f}", va="center", color=INK, fontsize=9)


def _color(axes) -> None:  # noqa: ANN001
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(colors=INK, length=0)
    axes.xaxis.label.set_color(INK)
    axes.grid(axis="x", color=INK, alpha=0.25, linewidth=0.8)
    axes.set_axisbelow(True)
