"""Ingest on shards: one unit of work per upstream file; ids that only the whole source decides come last."""

from __future__ import annotations

import inspect
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple, replace
from typing import Any

import polars as pl
import pyarrow as pa

from codeft_assets.curation.documents import repeated_id
from codeft_assets.curation.ingest.drafts import Reject, Row
from codeft_assets.curation.ingest.rows import adapt_rows
from codeft_assets.origins import Origin, Upstream
from codeft_assets.source import Source
from codeft_assets.stages.code_version import code_version_of
from codeft_assets.stages.doctests import LIMITS, WithDoctests
from codeft_assets.store.engine import ShardResult, Stage, Unit
from codeft_assets.store.manifest import Manifest, Shard, combined_hash
from codeft_assets.store.tables import Table
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
    """Return one unit per upstream file: an unchanged file is read again only when the code that reads it changed.

    A limit on the rows is one unit of all files: how many are read of one depends on the others.
    """
    reader = code_version_of(type(origin))
    groups = [upstream.files] if max_rows is not None else [(file,) for file in upstream.files]
    return [
        Unit(
            name=f"{source.name}/{files[0].path if max_rows is None else 'limited'}",
            fingerprint=" ".join([*(f"{file.path} {file.fingerprint}" for file in files), reader]),
            args=(source, origin, replace(upstream, files=files), max_rows),
        )
        for files in groups
    ]


def read_documents(source: Source, origin: Origin, upstream: Upstream, max_rows: int | None) -> Iterator[ShardResult]:
    """Read the rows of the files of ``upstream``, at most ``max_rows``, and turn them into documents and rejects."""
    shards = adapt_rows(_rows(origin, upstream, max_rows), source.adapter, source.provenance(upstream.revision))
    start = time.monotonic()
    for accepted, rejected, report in shards:
        seconds, start = time.monotonic() - start, time.monotonic()
        result = ShardResult(rows=accepted, rejects=rejected, report=replace(report, seconds=seconds))
        del accepted, rejected
        yield result
        del result  # memory holds one shard, not the one before it, too


def read_with_doctests(
    source: Source, origin: Origin, upstream: Upstream, max_rows: int | None
) -> Iterator[ShardResult]:
    """Read as ``read_documents``; a document whose doctests fail in the sandbox is a reject."""
    with Sandbox(limits=LIMITS) as sandbox:
        checked = replace(source, adapter=WithDoctests(source.adapter, sandbox))
        yield from read_documents(checked, origin, upstream, max_rows)


def _rows(origin: Origin, upstream: Upstream, max_rows: int | None) -> Iterator[tuple[str, Row | Reject]]:
    """Yield ``max_rows`` rows spread evenly over the files; the smallest come first, what they lack the others give."""
    if max_rows is None:
        yield from itertools.chain.from_iterable(origin.read(upstream, file) for file in upstream.files)
        return
    files = sorted(upstream.files, key=lambda file: (file.size_bytes or 0, file.path))
    for number, file in enumerate(files):
        for row in itertools.islice(origin.read(upstream, file), -(-max_rows // (len(files) - number))):
            max_rows -= 1
            yield row


def number_repeats(table: Table, manifest: Manifest) -> Manifest:
    """Return the manifest with an id for each document that comes again in its source.

    The n-th repetition gets the n-th id, in whichever file it stands: ids do not depend on how upstream divides its
    rows. Only shards with such a document are written again; memory is that of the source's ids.
    """
    shards = enumerate(manifest.shards)
    ids = [table.scan_shard(shard).select("document_id", shard=pl.lit(i)).collect() for i, shard in shards]
    if not ids:
        return manifest
    numbered = pl.concat(ids).with_columns(number=pl.int_range(pl.len()).over("document_id"))
    affected = numbered.filter(pl.col("shard").is_in(numbered.filter(pl.col("number") > 0)["shard"].unique().implode()))
    settled = {
        int(number): _with_ids(table, manifest.shards[int(number)], rows["document_id", "number"].iter_rows())
        for (number,), rows in affected.partition_by("shard", as_dict=True).items()
    }
    return replace(
        manifest,
        shards=tuple(settled.get(i, shard) for i, shard in enumerate(manifest.shards)),
        originals=tuple(manifest.shards[i].path for i in sorted(settled)),
    )


def _with_ids(table: Table, shard: Shard, numbered: Iterable[tuple[str, int]]) -> Shard:
    ids = [repeated_id(first, number) if number else first for first, number in numbered]
    rows = table.read_shard(shard)
    place = rows.schema.get_field_index("document_id")
    rows = rows.set_column(place, rows.schema.field(place), pa.array(ids, pa.string()))
    name = f"{shard.path.removesuffix('.parquet')}-{combined_hash(ids)[:8]}.parquet"
    return table.write_shard(name, rows, unit=shard.unit)
