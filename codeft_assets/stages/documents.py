"""Ingest on shards: one unit of work per upstream file."""

from __future__ import annotations

import inspect
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import astuple, replace
from typing import Any

from codeft_assets.curation.ingest.rows import adapt_rows
from codeft_assets.origins import Origin, Upstream
from codeft_assets.source import Source
from codeft_assets.stages.code_version import code_version_of
from codeft_assets.stages.doctests import LIMITS, WithDoctests
from codeft_assets.store.engine import ShardResult, Stage, Unit
from codeft_eval.sandbox.pool import Sandbox


def documents_stage(source: Source, max_rows: int | None) -> Stage:
    """Identify the ingest of one source: the code of its own adapter, not of others'."""
    adapter = source.adapter
    return Stage(
        name="documents",
        code_version=code_version_of(reader(source), adapter_code(source)),
        parameters={
            "adapter": adapter.__qualname__ if inspect.isfunction(adapter) else repr(adapter),
            "provenance": list(astuple(source.provenance(""))),
            "max_rows": max_rows,
        },
    )


def reader(source: Source) -> Callable[..., Iterator[ShardResult]]:
    """Return the function that reads a unit of a source."""
    return read_with_doctests if source.runs_doctests else read_documents


def adapter_code(source: Source) -> Any:
    """Return the function or the class that adapts a source's rows."""
    return source.adapter if inspect.isfunction(source.adapter) else type(source.adapter)


def file_units(source: Source, origin: Origin, upstream: Upstream, max_rows: int | None) -> list[Unit]:
    """Return one unit per upstream file: an unchanged file is read again only when the code that reads it changed."""
    reader = code_version_of(type(origin))
    return [
        Unit(
            name=f"{source.name}/{file.path}",
            fingerprint=f"{file.path} {file.fingerprint} {reader}",
            args=(source, origin, replace(upstream, files=(file,)), max_rows),
        )
        for file in upstream.files
    ]


def read_documents(source: Source, origin: Origin, upstream: Upstream, max_rows: int | None) -> Iterator[ShardResult]:
    """Read the rows of the one file of ``upstream`` and turn them into documents and rejects."""
    rows = itertools.islice(origin.read(upstream, upstream.files[0]), max_rows)
    start = time.monotonic()
    for accepted, rejected, report in adapt_rows(rows, source.adapter, source.provenance(upstream.revision)):
        now = time.monotonic()
        yield ShardResult(rows=accepted, rejects=rejected, report=replace(report, seconds=now - start))
        start = now


def read_with_doctests(
    source: Source, origin: Origin, upstream: Upstream, max_rows: int | None
) -> Iterator[ShardResult]:
    """Read as ``read_documents``; a document whose doctests fail in the sandbox is a reject."""
    with Sandbox(limits=LIMITS) as sandbox:
        checked = replace(source, adapter=WithDoctests(source.adapter, sandbox))
        yield from read_documents(checked, origin, upstream, max_rows)
