"""What every materialization says of itself; all metadata keys come from here."""

from __future__ import annotations

import re
import resource
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg
import polars as pl

from codeft_assets.curation.report import StageReport
from codeft_assets.defs.web_ui.plots import INLINE_CHARS
from codeft_assets.store.engine import Outcome, Progress
from codeft_assets.store.tables import Table

_PREVIEW_CHARS = 390
"""Two previews of this length with their captions are shown in place: see plots.INLINE_CHARS."""
_PREVIEW_DOCUMENTS = 2
_EXAMPLE_CHARS = 150
_MARKUP = (
    *(("&", "&amp;"), ("\\", "&#92;"), ("<", "&lt;"), ("|", "&#124;"), ("[", "&#91;"), ("]", "&#93;"), ("`", "'")),
    *(("*", "\\*"), ("__", "\\_\\_")),
)
"""Entities, as a backslash would not do: one in the text before it takes its effect away."""
_LOG_EVERY_SECONDS = 5.0
_LINE_CHARS = 64
"""What fits beside keys and timestamps on a laptop's screen; code in metadata does not wrap by itself."""

_DROPPED = ("dropped", "num_dropped", "reject", "one_of_each_reason", "accounts", "num_unscored", "num_rejected")
_LINEAGE = ("revision", "license", "homepage", "note", "sql", "lineage", "model_card", "protocol", "benchmark_version")
_COST = ("seconds", "rows_per_second", "peak_memory_mb", "units_run", "units_reused", "sandbox_tier", "tainted")
_SAMPLE = ("preview", "sample", "strongest", "worst", "kept", "rejected_examples")
_WHOLE = "_whole"
"""Ends the key of a table of which another key shows the first rows."""
_WHAT, _MUCH, _WHY, _SEEN, _PLOT, _FROM, _WHERE, _EFFORT, _BELOW, _SCHEMA = range(10)


def in_reading_order(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``metadata`` in the order a person asks, numbers with the digits that mean something.

    What it is, how much, what was dropped and why, a sample, plots, lineage, where it lies, what it cost; of a table
    that the web UI would hide behind a click, the first rows, and the whole one below all else.
    """
    values = {key: _shown(dg.MetadataValue.float(value) if isinstance(value, float) else value)
              for key, value in _in_place(metadata).items()}  # fmt: skip
    return dict(sorted(values.items(), key=lambda item: _rank(*item)))


def _in_place(metadata: Mapping[str, Any]) -> dict[str, Any]:
    shown = {}
    for key, value in metadata.items():
        text = (value.md_str or "") if isinstance(value, dg.MarkdownMetadataValue) else ""
        shown[key] = value
        if len(text) >= INLINE_CHARS and text.startswith(("|", "#")) and not key.endswith(_WHOLE):
            more = f"\n\n… and more in `{key}{_WHOLE}`, below"
            shown[key] = dg.MetadataValue.md(_beginning(text, INLINE_CHARS - len(more) - 1) + more)
            shown[key + _WHOLE] = value
    return shown


def _beginning(text: str, limit_chars: int) -> str:
    """Return the first paragraphs of ``text`` that fit, and as many whole rows as do of a table after them."""
    kept, num_chars = [], 0
    for block in text.split("\n\n"):
        lines = []
        for line in block.split("\n"):
            num_chars += len(line) + 1
            if num_chars > limit_chars:
                return "\n\n".join([*kept, "\n".join(lines)] if len(lines) > 2 else kept)
            lines.append(line)
        kept.append(block)
        num_chars += 1
    return "\n\n".join(kept)


def _rank(key: str, value: Any) -> int:
    if key.startswith("dagster/"):
        return _SCHEMA
    for ends, rank in (((_WHOLE,), _BELOW), (("_hash", "_sha256"), _FROM)):
        if key.endswith(ends):
            return rank
    for prefixes, rank in ((_COST, _EFFORT), (_DROPPED, _WHY), (_LINEAGE, _FROM), (_SAMPLE, _SEEN)):
        if key.startswith(prefixes):
            return rank
    if isinstance(value, dg.PathMetadataValue):
        return _WHERE
    if isinstance(value, dg.MarkdownMetadataValue):
        return _PLOT if "](data:image" in (value.md_str or "") else _SEEN
    return _WHAT if isinstance(value, str | dg.TextMetadataValue) else _MUCH


def _shown(value: Any) -> Any:
    if isinstance(value, dg.FloatMetadataValue) and value.value is not None:
        return dg.MetadataValue.float(float(f"{value.value:.4g}"))
    text = value.text if isinstance(value, dg.TextMetadataValue) else value
    # a SHA-256 is wider than the page; its first half says as much to a person, the files hold all of it
    return f"{text[:32]}…" if isinstance(text, str) and re.fullmatch(r"[0-9a-f]{64}", text) else value


def table_metadata(table: Table, outcome: Outcome) -> dict[str, Any]:
    """Return the metadata every table carries: how much, what was dropped and why, how fast, where."""
    manifest, report = outcome.manifest, outcome.manifest.report
    seconds = max(outcome.seconds, 1e-9)
    return {
        "dagster/row_count": manifest.num_rows,
        "num_in": report.num_in,
        "num_out": report.num_out,
        "dropped_by_reason": dropped_table(report.dropped, report.num_in),
        "units_run": outcome.num_run,
        "units_reused": outcome.num_skipped,
        "seconds": round(outcome.seconds, 3),
        "rows_per_second": round(manifest.num_rows / seconds, 1),
        "peak_memory_mb": peak_memory_mb(),
        "content_hash": manifest.content_hash,
        "path": dg.MetadataValue.path(table.path()),
    }


def peak_memory_mb() -> float:
    """Return the largest resident size of this process or one of its children so far, in MB."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return round(max(own, children) / 1024, 1)


def column_schema(table: Table, descriptions: Mapping[str, str]) -> dg.TableSchema:
    """Return the table's columns with what each means, for the web UI's Columns tab."""
    schema = table.scan().collect_schema()
    return dg.TableSchema(
        columns=[dg.TableColumn(name, str(kind), description=descriptions.get(name)) for name, kind in schema.items()]
    )


def dropped_table(dropped: Mapping[str, int], num_in: int) -> dg.MarkdownMetadataValue:
    """Return drop reasons with their counts and shares, most frequent first."""
    if not dropped:
        return dg.MetadataValue.md("nothing was dropped")
    rows = [
        (reason, n, f"{n / max(num_in, 1):.2%}") for reason, n in sorted(dropped.items(), key=lambda item: -item[1])
    ]
    return markdown_table(("reason", "count", "share"), rows)


def markdown_table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> dg.MarkdownMetadataValue:
    """Return a Markdown table; cell text cannot break out of its cell or carry markup."""
    header = [cell(name) for name in header]
    lines = [" | ".join(header), " | ".join("---" for _ in header)]
    lines += [" | ".join(cell(value) for value in row) for row in rows]
    return dg.MetadataValue.md("\n".join(f"| {line} |" for line in lines))


def cell(value: object) -> str:
    """Return ``value`` as text that is safe inside a Markdown table."""
    text = "–" if value is None else str(value)
    if isinstance(value, int | float):
        text = f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
    for mark, shown in _MARKUP:
        text = text.replace(mark, shown)
    return re.sub(r"\s+", " ", text)


def fenced(text: str, limit_chars: int = _PREVIEW_CHARS) -> str:
    """Return ``text`` in a code fence it cannot close: documents are hostile until shown otherwise."""
    shown = (
        text if len(text) <= limit_chars else f"{text[:limit_chars]}\n[…{len(text) - limit_chars:,} characters more]"
    )
    shown = "\n".join(part for line in shown.split("\n") for part in _wrapped(line))
    longest = max((len(run) for run in re.findall(r"`+", shown)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{shown}\n{fence}"


def _wrapped(line: str) -> list[str]:
    kept = textwrap.wrap(line, _LINE_CHARS, drop_whitespace=False, replace_whitespace=False, expand_tabs=False)
    return kept or [""]


def document_preview(
    documents: pl.DataFrame, *, note: str = "", limit: int = _PREVIEW_DOCUMENTS
) -> dg.MarkdownMetadataValue:
    """Return the first documents of a frame; the column ``note`` says a word about each."""
    parts = []
    for row in documents.head(limit).iter_rows(named=True):
        remark = f": {cell(row[note])}" if note and row.get(note) is not None else ""
        parts.append(f"**{cell(row['source'])}** {cell(row['source_row'])}{remark}\n\n{fenced(row['text'])}")
    return dg.MetadataValue.md("\n\n".join(parts) or "none")


def examples_preview(report: StageReport) -> dg.MarkdownMetadataValue:
    """Return the examples that a stage kept of what it dropped, by reason."""
    parts = [
        f"**{cell(reason)}**\n\n" + "\n".join(f"- {_clipped(cell(example))}" for example in examples[:2])
        for reason, examples in report.examples.items()
    ]
    return dg.MetadataValue.md("\n\n".join(parts) or "none")


def _clipped(text: str) -> str:
    return text if len(text) <= _EXAMPLE_CHARS else f"{text[:_EXAMPLE_CHARS]}…"


class LoggedProgress:
    """Writes progress into the run's log, at most every few seconds: thousands of events freeze the web UI."""

    def __init__(self, log: dg.DagsterLogManager) -> None:
        self._log, self._last = log, 0.0

    def __call__(self, progress: Progress) -> None:
        """Log ``progress`` if it is due."""
        finished = progress.num_done == progress.num_units
        if not finished and progress.seconds - self._last < _LOG_EVERY_SECONDS:
            return
        self._last = progress.seconds
        self._log.info(
            f"{progress.stage}: {progress.num_done} of {progress.num_units} units "
            f"({progress.num_skipped} reused), {progress.num_rows:,} rows, {progress.seconds:.1f} s"
        )
