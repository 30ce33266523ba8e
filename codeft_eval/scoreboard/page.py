"""The scoreboard as a page to send to a friend: one file, no script, for phone and desktop, light and dark."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codeft_eval.scoreboard.history import Change
from codeft_eval.scoreboard.html import anchor, page, shown
from codeft_eval.scoreboard.reference import REFERENCE_MODELS
from codeft_eval.scoreboard.rows import Scoreboard
from codeft_eval.scoreboard.sample_page import SAMPLES_PAGE, sample_anchor, sample_html
from codeft_eval.scoreboard.tables import (
    ABOUT,
    CHANGE_COLUMNS,
    COLUMNS,
    SUMMARY_COLUMNS,
    cells,
    change_cells,
    show_ratio,
    show_tokens,
    since,
    summary_cells,
)

Samples = Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any] | None]]
"""Item -> its sample now, and its sample in the checkpoint before."""
MAX_SHOWN = 40
"""Changed items of a benchmark that are shown in full; the others are on the samples' page."""
_STYLE = """
figure { margin: 0; } figure svg { width: 100%; max-width: 30rem; height: auto; }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(21rem, 100%), 1fr)); gap: 1rem; }
.warning { border-left: .3rem solid #bf8700; padding-left: .7rem; font-weight: 600; }
.overall { font-size: 2rem; font-weight: 700; margin: .2rem 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .86rem; }
th, td { text-align: left; vertical-align: top; padding: .4rem .55rem; border-bottom: 1px solid var(--line); }
td:nth-child(n+3) { min-width: 4.5rem; }
.published { font-style: italic; }
@media (max-width: 60rem) {
  thead { display: none; } tr { display: block; padding: .6rem 0; border-bottom: 2px solid var(--line); }
  td { display: grid; grid-template-columns: 8.5rem minmax(0, 1fr); gap: .5rem; border: 0; padding: .15rem 0;
    overflow-wrap: anywhere; }
  td:nth-child(n) { min-width: 0; } td:first-child { font-weight: 700; }
  td::before { content: attr(data-name); color: var(--faint); font-weight: 400; }
}
"""


def to_html(
    board: Scoreboard, bars: str, progress: Sequence[str] = (), samples: Mapping[str, Samples] | None = None
) -> str:
    """The page; `bars` and `progress` are SVG, `samples` those of the changed items by benchmark."""
    warnings = "".join(f'<p class="warning">{shown(warning)}</p>' for warning in board.warnings)
    parts = [
        f"<h1>Scoreboard</h1><p>{shown(board.model)}<br><small>checkpoint {shown(board.model_hash[:16])}, "
        f"{show_tokens(board.num_tokens)}</small></p>{warnings}",
        f'<p>Relative to {REFERENCE_MODELS[0]}, overall</p><p class="overall">{show_ratio(board.overall.ratio)}</p>'
        f'<p class="faint">{shown(board.overall.note)}</p>',
        "<h2>By language</h2>" + _table(SUMMARY_COLUMNS, [(summary_cells(row), "") for row in board.by_language]),
        _progress(progress),
        _changes(board.changes, samples or {}),
        f"<h2>Beside the reference models</h2>{_figure(bars)}",
        f"<h2>Comparisons</h2>{_comparisons(board)}"
        f'<p><small>{shown(ABOUT).replace("*", "")}</small></p><p><a href="{SAMPLES_PAGE}">All samples</a></p>',
    ]
    return page("Scoreboard", _STYLE, "".join(parts))


def write_page(folder: Path, name: str, content: str) -> Path:
    """Writes one file of the scoreboard and returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


def _comparisons(board: Scoreboard) -> str:
    """The headline reference and what was measured here in sight, the other published figures folded."""
    notes = list(dict.fromkeys(row.note for row in board.rows))
    near, far = [], []
    for row in board.rows:
        is_near = row.provenance != "published" or row.reference_model == REFERENCE_MODELS[0]
        numbered = [*cells(row)[:-1], f"({notes.index(row.note) + 1})"]
        (near if is_near else far).append((numbered, row.provenance or "none"))
    listed = "".join(f"<li>{shown(note)}</li>" for note in notes)
    others = f"<details><summary>{len(far)} more, with other models</summary>{_table(COLUMNS, far)}</details>"
    return f"{_table(COLUMNS, near)}{others if far else ''}<ol><small>{listed}</small></ol>"


def _progress(svgs: Sequence[str]) -> str:
    if not svgs:
        return ""
    about = "A filled marker differs from the checkpoint before (p < 0.05 after Holm); bars are 95 % intervals."
    panels = "".join(map(_figure, svgs))
    return f'<h2>Progress</h2><div class="panels">{panels}</div><p><small>{shown(about)}</small></p>'


def _changes(changes: Sequence[Change], samples: Mapping[str, Samples]) -> str:
    if not changes:
        return ""
    table = _table(CHANGE_COLUMNS, [(change_cells(change), "") for change in changes])
    lists = "".join(_changed_items(change, samples.get(change.benchmark, {})) for change in changes)
    return f"<h2>Since checkpoint {shown(since(changes))}</h2>{table}{lists}"


def _changed_items(change: Change, samples: Samples) -> str:
    blocks = []
    for name, items in (("gained", change.gained), ("lost", change.lost)):
        if not items:
            continue
        links = ", ".join(_link(change, item, samples) for item in items)
        inner = "".join(
            sample_html(change.title, now, before)
            for item in items[:MAX_SHOWN]
            if item in samples
            for now, before in [samples[item]]
        )
        blocks.append(f"<h3>{shown(change.title)}: {name}</h3><p>{links}</p>{inner}")
    return "".join(blocks)


def _link(change: Change, item: str, samples: Samples) -> str:
    on_page = item in samples and item in (*change.gained[:MAX_SHOWN], *change.lost[:MAX_SHOWN])
    target = sample_anchor(change.title, {"task_id": item, "sample": 0})
    return f'<a href="{"" if on_page else SAMPLES_PAGE}#{target}">{shown(item)}</a>'


def _figure(svg: str) -> str:
    return f"<figure>{svg[svg.index('<svg') :]}</figure>"


def _table(columns: Sequence[str], rows: Sequence[tuple[Sequence[str], str]]) -> str:
    head = "".join(f"<th>{shown(name)}</th>" for name in columns)
    body = "".join(
        f'<tr class="{anchor(kind)}">'
        + "".join(f'<td data-name="{shown(name)}">{shown(text)}</td>' for name, text in zip(columns, row, strict=True))
        + "</tr>"
        for row, kind in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
