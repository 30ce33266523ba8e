"""Metadata of materializations: the keys that every table has, previews, and the order on an asset's page."""

from __future__ import annotations

import re
import resource
from collections.abc import Iterable, Mapping
from enum import IntEnum, auto
from typing import Any

import dagster as dg
import polars as pl

from codeft_assets.base import markdown
from codeft_assets.base.markdown import cell
from codeft_assets.curation.documents import DOCUMENT_COLUMNS
from codeft_assets.curation.report import StageReport
from codeft_assets.defs.web_ui.narrow import COLUMN_CHARS, narrow, without_middle, wrapped
from codeft_assets.defs.web_ui.plots import INLINE_CHARS
from codeft_assets.store.engine import StageRun
from codeft_assets.store.progress import StageProgress
from codeft_assets.store.tables import Table

_PREVIEW_CHARS = 390
"""Two previews of this length with their captions are shown in place: see plots.INLINE_CHARS."""
_PREVIEW_DOCUMENTS = 2
_EXAMPLE_CHARS = 150
_LOG_EVERY_SECONDS = 5.0
_ROOM = re.compile(r".*/((?:tables|files)/.*)")
_LONG_KEYS = {
    "probe_bits_per_byte_": "bpb_",
    "probe_pass_at_1_": "shortest_",
    "probe_pass_at_1": "shortest_embedded",
}
"""Prefix of keys in ``metrics.jsonl`` -> one that the page has room for; pass@1 is the name of a whole score alone."""
_PATH_CHARS = 41
_WHOLE = "_all"
"""Ends the key of a table of which another key shows the first rows."""


class _Section(IntEnum):
    """Parts of an asset's page, top to bottom."""

    IDENTITY = auto()
    COUNTS = auto()
    DROPPED = auto()
    SAMPLE = auto()
    PLOT = auto()
    LINEAGE = auto()
    LOCATION = auto()
    COST = auto()
    WHOLE_TABLE = auto()
    SCHEMA = auto()


_SECTION_OF_PREFIX = (
    (
        ("seconds", "rows_per_second", "peak_memory_mb", "units_run", "units_reused", "sandbox_tier", "tainted"),
        _Section.COST,
    ),
    (
        ("dropped", "num_dropped", "reject", "one_per_reason", "accounts", "num_unscored", "num_rejected"),
        _Section.DROPPED,
    ),
    (
        (
            *("revision", "license", "homepage", "note", "sql", "lineage", "model_card"),
            *("protocol", "prompt_end", "tool_versions", "benchmark_version"),
        ),
        _Section.LINEAGE,
    ),
    (("preview", "sample", "strongest", "disagreements", "kept", "rejected_examples"), _Section.SAMPLE),
)


def in_reading_order(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``metadata`` in the order of ``_Section``, numbers with their significant digits.

    Of a text that is too long or too wide for its place the beginning is shown, and the whole one below all else.
    """
    values = {
        short_key(key): _abbreviated(dg.MetadataValue.float(value) if isinstance(value, float) else value)
        for key, value in _with_beginnings(metadata).items()
    }
    return dict(sorted(values.items(), key=lambda item: _section(*item)))


def short_key(key: str) -> str:
    """Return a key of measurements as it is shown."""
    for prefix, short in _LONG_KEYS.items():
        key = short + key.removeprefix(prefix) if key.startswith(prefix) else key
    return key


def _with_beginnings(metadata: Mapping[str, Any]) -> dict[str, Any]:
    shown = dict(metadata)
    for key, value in metadata.items():
        text = (value.md_str or "") if isinstance(value, dg.MarkdownMetadataValue) else ""
        if "](data:image" in text or key.endswith(_WHOLE):
            continue
        fitting = narrow(text)
        is_cut = _num_cells(fitting) < _num_cells(text) or fitting.count("…") > text.count("…")
        if len(fitting) >= INLINE_CHARS or is_cut:
            more = f"\n\n… and more in `{key}{_WHOLE}`, below"
            shown[key] = dg.MetadataValue.md(_beginning(fitting, INLINE_CHARS - len(more) - 1) + more)
            shown[key + _WHOLE] = dg.MetadataValue.md(text.ljust(INLINE_CHARS))  # behind a click, however short
        elif text:
            shown[key] = dg.MetadataValue.md(fitting)
    return shown


def _num_cells(text: str) -> int:
    return sum(line.count("|") for line in text.split("\n") if line.startswith("|"))


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


def _section(key: str, value: Any) -> _Section:
    if key.startswith("dagster/"):
        return _Section.SCHEMA
    key = key.removeprefix("chat_")  # the same of a benchmark's second protocol
    for endings, section in (((_WHOLE,), _Section.WHOLE_TABLE), (("_hash", "_sha256"), _Section.LINEAGE)):
        if key.endswith(endings):
            return section
    for prefixes, section in _SECTION_OF_PREFIX:
        if key.startswith(prefixes):
            return section
    if isinstance(value, dg.PathMetadataValue):
        return _Section.LOCATION
    if isinstance(value, dg.MarkdownMetadataValue):
        return _Section.PLOT if "](data:image" in (value.md_str or "") else _Section.SAMPLE
    return _Section.IDENTITY if isinstance(value, str | dg.TextMetadataValue) else _Section.COUNTS


def _abbreviated(value: Any) -> Any:
    if isinstance(value, dg.FloatMetadataValue) and value.value is not None:
        return dg.MetadataValue.float(float(f"{value.value:.4g}"))
    if isinstance(value, dg.PathMetadataValue) and len(value.path or "") > _PATH_CHARS:
        return dg.MetadataValue.path(_ROOM.sub(r"\1", value.path or ""))  # a path is not broken; below the data root
    if isinstance(value, dg.UrlMetadataValue) and len(value.url or "") > COLUMN_CHARS:
        name = without_middle((value.url or "").removeprefix("https://"), _PATH_CHARS)
        return dg.MetadataValue.md(f"[{name}]({value.url})")
    text = value.text if isinstance(value, dg.TextMetadataValue) else value
    # a SHA-256 is wider than the page; its first half says as much to a person, the files hold all of it
    return f"{text[:32]}…" if isinstance(text, str) and re.fullmatch(r"[0-9a-f]{64}", text) else value


def table_metadata(table: Table, outcome: StageRun) -> dict[str, Any]:
    """Return the metadata of every table: counts, drops by reason, cost and location."""
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
    """Return the table's columns with their descriptions, for the web UI's Columns tab.

    A column that is named as one of a document's has that one's meaning, unless ``descriptions`` has another.
    """
    descriptions = {**DOCUMENT_COLUMNS, **descriptions}
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
    """Return a table as a metadata value; text cannot break out of its cell or carry markup."""
    return dg.MetadataValue.md(markdown.table(header, rows))


def excerpt(text: str, limit_chars: int = _PREVIEW_CHARS) -> str:
    """Return the beginning of ``text`` as a code block that it cannot close, long lines wrapped."""
    shown = (
        text if len(text) <= limit_chars else f"{text[:limit_chars]}\n[…{len(text) - limit_chars:,} characters more]"
    )
    return markdown.fence("\n".join(part for line in shown.split("\n") for part in wrapped(line)))


def document_preview(
    documents: pl.DataFrame, *, note: str = "", limit: int = _PREVIEW_DOCUMENTS
) -> dg.MarkdownMetadataValue:
    """Return the first documents of a frame; the column ``note`` is a remark on each."""
    parts = []
    for row in documents.head(limit).iter_rows(named=True):
        remark = f": {cell(row[note])}" if note and row.get(note) is not None else ""
        parts.append(f"**{cell(row['source'])}** {cell(row['source_row'])}{remark}\n\n{excerpt(row['text'])}")
    return dg.MetadataValue.md("\n\n".join(parts) or "none")


def examples_preview(report: StageReport) -> dg.MarkdownMetadataValue:
    """Return a stage's examples of dropped rows, by reason."""
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

    def __call__(self, progress: StageProgress) -> None:
        """Log ``progress`` if it is due."""
        finished = progress.num_done == progress.num_units
        if not finished and progress.seconds - self._last < _LOG_EVERY_SECONDS:
            return
        self._last = progress.seconds
        self._log.info(
            f"{progress.stage}: {progress.num_done} of {progress.num_units} units "
            f"({progress.num_skipped} reused), {progress.num_rows:,} rows, {progress.seconds:.1f} s"
        )
