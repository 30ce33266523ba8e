"""Documents of a whole source: ids that survive another division into files, and limits that are what they say."""

import functools
import json
import random
import tracemalloc

import polars as pl
import pyarrow as pa
import pytest

from codeft_assets.curation.ingest.row_shapes import AnyShape
from codeft_assets.curation.ingest.rows import adapt_rows
from codeft_assets.origins import FileOrigin
from codeft_assets.source import Source
from codeft_assets.stages.documents import documents_stage, file_units, number_repeats, read_documents
from codeft_assets.store.data_root import Store
from codeft_assets.store.engine import map_shards
from codeft_assets.trace import trace_document, trace_source


def write(folder, **files):
    """Write one JSON lines file for each list of texts."""
    folder.mkdir(exist_ok=True)
    for path in folder.glob("*.jsonl"):
        path.unlink()
    for name, texts in files.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))


def ingest(folder, home, *, max_rows=None):
    origin = FileOrigin(path=str(folder))
    source = Source(
        name="ours", about="Rows.", origin=origin, adapter=AnyShape(), domain="code", format="raw",
        license="MIT", homepage="https://example.org", has_sample=False,
    )  # fmt: skip
    table = Store(str(home)).table("documents/ours")
    run = map_shards(
        read_documents,
        file_units(source, origin, origin.resolve(), max_rows),
        table,
        stage=documents_stage(source, max_rows),
        settle=lambda manifest: number_repeats(table, manifest),
    )
    return table, run


def ids(table):
    return sorted(table.read(["document_id", "text"]).iter_rows())


def test_ids_are_the_same_however_upstream_divides_its_rows(tmp_path):
    rows = tmp_path / "rows"
    write(rows, a=["one", "two", "one", "three"], b=["two", "one"])
    before = ids(ingest(rows, tmp_path / "one")[0])
    write(rows, x=["new", "one"], y=["two", "three"], z=["one", "two", "one"])
    after = ids(ingest(rows, tmp_path / "two")[0])
    assert len({key for key, _ in before}) == 6
    assert set(after) - set(before) == {pair for pair in after if pair[1] == "new"}
    assert set(before) <= set(after)


def test_numbered_repeats_do_not_depend_on_what_ran_before(tmp_path):
    rows, home = tmp_path / "rows", tmp_path / "home"
    write(rows, a=["one", "two"], b=["one", "three"])
    first, run = ingest(rows, home)
    assert run.num_run == 2
    assert ingest(rows, home)[1].num_run == 0
    assert ingest(rows, home)[0].manifest().content_hash == first.manifest().content_hash
    write(rows, a=["two"], b=["one", "three"])
    changed, run = ingest(rows, home)
    assert run.num_run == 1  # the file that did not change is not read again, and its row is the first again
    assert ids(changed) == ids(ingest(rows, tmp_path / "fresh")[0])


def test_a_settled_shard_that_was_deleted_is_written_again(tmp_path):
    rows, home = tmp_path / "rows", tmp_path / "home"
    write(rows, a=["one"], b=["one"])
    table, _ = ingest(rows, home)
    before = ids(table)
    (settled,) = {shard.path for shard in table.manifest().shards if shard.path.count("-") == 2}
    (home / "tables/documents/ours" / settled).unlink()
    assert ids(ingest(rows, home)[0]) == before


@pytest.mark.parametrize(("limit", "by_file"), [(6, {"a": 2, "b": 2, "c": 2}), (7, None), (14, None), (99, None)])
def test_a_limit_on_rows_is_the_number_that_is_read(tmp_path, limit, by_file):
    rows = tmp_path / "rows"
    write(rows, a=[f"a{n}" for n in range(9)], b=["b0", "b1"], c=[f"c{n}" for n in range(9)])
    table, run = ingest(rows, tmp_path / "home", max_rows=limit)
    assert run.manifest.report.num_in == min(limit, 20)
    counts = dict(table.read(["text"]).group_by(pl.col("text").str.head(1)).len().iter_rows())
    assert by_file is None or counts == by_file
    assert max(counts["a"], counts["c"]) - min(counts["a"], counts["c"]) <= 1


def test_a_rejected_row_can_be_traced_by_its_id(tmp_path):
    rows, home = tmp_path / "rows", tmp_path / "home"
    write(rows, a=["fine", ""])
    table, _ = ingest(rows, home)
    (reject,) = table.scan(rejects=True).collect().iter_rows(named=True)
    said = "\n".join(trace_document(Store(str(home)), reject["document_id"]))
    assert f"rejected row {reject['document_id']}" in said
    assert "source_row: a.jsonl#1" in said
    assert "reason: empty_text" in said
    line, counts = trace_source(Store(str(home)), table.key)
    assert line.startswith("empty_text  a.jsonl#1  ")
    assert counts.startswith("2 rows, 1 documents; what later stages drop of them is in corpus/ledger")


@pytest.mark.parametrize("row_bytes", [2_000, 200_000])
def test_a_worker_holds_one_shard_however_long_its_rows(tmp_path, monkeypatch, row_bytes):
    limit, noise = 8_000_000, random.Random(1)
    monkeypatch.setattr(
        "codeft_assets.stages.documents.adapt_rows", functools.partial(adapt_rows, bytes_per_shard=limit)
    )
    write(tmp_path / "few", a=["one"])
    ingest(tmp_path / "few", tmp_path / "idle")  # imports what reading needs
    write(tmp_path / "rows", a=[noise.randbytes(row_bytes // 2).hex() for _ in range(20_000_000 // row_bytes)])
    pool, usual = pa.proxy_memory_pool(pa.default_memory_pool()), pa.default_memory_pool()
    pa.set_memory_pool(pool)
    tracemalloc.start()
    try:
        _, run = ingest(tmp_path / "rows", tmp_path / "home")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(usual)
    assert len(run.manifest.shards) == 3
    assert pool.max_memory() < 1.8 * limit  # what is being compressed beside it
    assert peak < 1.1 * limit  # its compressed bytes, and the strings of a part of it
