"""The scoreboard and its samples as pages to send to a friend: no script, for phone and desktop, light and dark.

Completions are data, never markup: Jinja2 escapes every expression of the templates, and characters that move or
hide other text are shown by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from codeft_eval.scoreboard.formatting import show_since, show_tokens
from codeft_eval.scoreboard.headline import headline, show_checkpoint
from codeft_eval.scoreboard.reference import headline_model
from codeft_eval.scoreboard.rows import Scoreboard
from codeft_eval.scoreboard.tables import (
    ABOUT,
    CHANGE_COLUMNS,
    COLUMNS,
    cells,
    change_cells,
    summary_cells,
    summary_columns,
)

if TYPE_CHECKING:
    from jinja2 import Environment

ChangedSamples = Mapping[str, Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any] | None]]]
"""Benchmark -> item -> its sample now, and its sample in the checkpoint before."""
Table = tuple[Sequence[str], list[tuple[list[str], str]]]
"""Columns, and rows of cells with their CSS class."""
SAMPLES_PAGE = "samples.html"
_VERDICTS = ("passed", "failed", "unscored")
_MAX_CHARS = 6000
_MAX_REASON_CHARS = 160
# Controls, direction overrides (CVE-2021-42574), line and paragraph separators.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
_UNSAFE_IN_ID = re.compile(r"[^A-Za-z0-9_.-]")


def scoreboard_html(
    board: Scoreboard, bars: str, progress: Sequence[str] = (), samples: ChangedSamples | None = None
) -> str:
    """Return the scoreboard's page; ``bars`` and ``progress`` are SVG, ``samples`` those of the changed items."""
    notes = list(dict.fromkeys(row.note for row in board.rows))
    near, far = _comparisons(board, notes)
    return (
        template_environment()
        .get_template("scoreboard.html")
        .render(
            board=board,
            checkpoint=show_checkpoint(board),
            headline=headline(board),
            tokens=show_tokens(board.num_tokens),
            by_language=_table(summary_columns(board), map(summary_cells, board.by_language)),
            progress=[_figure(svg) for svg in progress],
            bars=_figure(bars),
            since=show_since(board.changes) if board.changes else "",
            changes=_table(CHANGE_COLUMNS, map(change_cells, board.changes)),
            changed_samples={change.benchmark: (samples or {}).get(change.benchmark, {}) for change in board.changes},
            near=near,
            far=far,
            notes=notes,
            about=ABOUT.replace("*", ""),
        )
    )


def samples_html(model_hash: str, benchmarks: Mapping[str, Iterable[Mapping[str, Any]]]) -> str:
    """Return the page of a checkpoint's samples; ``benchmarks`` maps a benchmark's title to its samples."""
    listed = {title: list(samples) for title, samples in benchmarks.items()}
    return template_environment().get_template(SAMPLES_PAGE).render(model_hash=model_hash, benchmarks=listed)


@cache
def template_environment() -> Environment:
    """Return the templates: all that they show is escaped, and unseen characters are named."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("codeft_eval", "scoreboard/templates"),
        autoescape=True,
        finalize=_name_unseen,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals |= {
        "anchor": _anchor,
        "max_chars": _MAX_CHARS,
        "reason": _reason,
        "samples_page": SAMPLES_PAGE,
        "verdicts": _VERDICTS,
    }
    return environment


def _name_unseen(value: Any) -> Any:
    """Return text with a visible name for each character that is not seen; markup and numbers as they are."""
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    return _UNSEEN.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", value)


def _reason(sample: Mapping[str, Any]) -> str:
    """Return why a sample has its verdict, in one line: the kind of failure and the first line of its detail."""
    if sample["reason"] == sample["verdict"]:
        return ""
    kind, detail = sample["reason"].replace("_", " "), (sample["detail"] or "").strip().partition("\n")[0]
    return f"{kind}: {detail[:_MAX_REASON_CHARS]}" if detail else kind


def _anchor(*parts: object) -> str:
    return _UNSAFE_IN_ID.sub("-", "-".join(map(str, parts)))


def _figure(svg: str) -> Any:
    from markupsafe import Markup

    return Markup(svg[svg.index("<svg") :])  # noqa: S704  ours: matplotlib drew it and escaped its texts


def _table(columns: Sequence[str], rows: Iterable[list[str]]) -> Table:
    return columns, [(row, "") for row in rows]


def _comparisons(board: Scoreboard, notes: Sequence[str]) -> tuple[Table, Table]:
    """Return rows of the headline reference and of measured ones, and apart from them all other published figures."""
    near: Table = (COLUMNS, [])
    far: Table = (COLUMNS, [])
    for row in board.rows:
        is_near = row.provenance != "published" or row.reference_model == headline_model(row.protocol_name)
        numbered = [*cells(row)[:-1], f"({notes.index(row.note) + 1})"]
        (near if is_near else far)[1].append((numbered, row.provenance or "none"))
    return near, far
