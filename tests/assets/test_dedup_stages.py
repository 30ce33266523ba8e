"""Deduplication on tables: shards in any order, any number of workers, one more shard, and what an earlier run left."""

import random
import shutil
from functools import partial

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from codeft_assets.curation.dedup.deduplicate import DedupParams, deduplicate
from codeft_assets.curation.documents import content_hash
from codeft_assets.curation.report import StageReport
from codeft_assets.stages.dedup import DedupTables, SimilarityCache, clustering_steps, sign_documents, signatures_stage
from codeft_assets.stages.participants import ClusterInputs
from codeft_assets.stages.texts import TextsByPlace, read_texts
from codeft_assets.store.data_root import Store
from codeft_assets.store.engine import ShardResult, Stage, Unit, map_shards, table_units
from codeft_assets.store.executors import process_pool
from codeft_assets.store.tables import CorruptShardError

PARAMS = DedupParams()
SOURCES = {"one": 1, "two": 2, "three": 3}


def text_of(seed):
    return " ".join(random.Random(seed).choices([f"word{i}" for i in range(2000)], k=60))


def texts_by_shard():
    """Three sources of two shards each; a third of each shard is nearly, a sixth exactly, in another source."""
    shards = {}
    for number, source in enumerate(SOURCES):
        for part in range(2):
            own = [text_of(1000 * number + 100 * part + i) for i in range(12)]
            near = [text_of(1000 * ((number + 1) % 3) + 100 * part + i) + f" and {source}" for i in range(8)]
            same = [text_of(1000 * ((number + 2) % 3) + i) for i in range(4)]
            shards[source, part] = own + near + same
    return shards


def write(texts, source, part):
    rows = pl.DataFrame(
        {
            "document_id": [content_hash(f"{source} {part} {text}").hex() for text in texts],
            "source": [source] * len(texts),
            "source_row": [str(row) for row in range(len(texts))],
            **dict.fromkeys(("revision", "license"), ["1"] * len(texts)),
            "messages": pl.Series(
                [None] * len(texts), dtype=pl.List(pl.Struct({"role": pl.String, "content": pl.String}))
            ),
            "domain": ["code"] * len(texts),
            "format": ["textbook" if source == "one" else "raw"] * len(texts),
            "language": ["text"] * len(texts),
            "num_chars": [len(text) for text in texts],
            "content_hash": [content_hash(text) for text in texts],
            "text": texts,
        }
    )
    yield ShardResult(rows=rows.to_arrow(), report=StageReport(num_in=rows.height, num_out=rows.height))


def score(table, shard):
    rows = pl.DataFrame(table.read_shard(shard, ["document_id", "num_chars"])).select(
        "document_id",
        drop_reason=pl.when(pl.col("num_chars") < 10).then(pl.lit("too_short")),
        drop_detail=pl.lit(""),
        educational_value=pl.lit(0.5, pl.Float32),
    )
    yield ShardResult(rows=rows.to_arrow(), report=StageReport(num_in=rows.height, num_out=rows.height))


def match(table, shard, ids):
    rows = table.read_shard(shard, ["document_id"])
    rows = rows.filter(pc.is_in(rows["document_id"], pa.array(ids, pa.string())))
    item = {name: pa.array(["item"] * rows.num_rows, pa.string()) for name in ("benchmark", "task_id", "field")}
    rows = pa.table(
        {"document_id": rows["document_id"], **item, "overlap": pa.array([1.0] * rows.num_rows, pa.float32())}
    )
    yield ShardResult(rows=rows, report=StageReport(num_in=rows.num_rows, num_out=rows.num_rows))


def units_of(shards, source, order):
    parts = sorted((part for name, part in shards if name == source), key=order)
    return [
        Unit(name=f"{source}/{part}", fingerprint=content_hash("".join(shards[source, part])).hex(),
             args=(shards[source, part], source, part))
        for part in parts
    ]  # fmt: skip


class Home:
    """Tables in a folder."""

    def __init__(self, folder):
        self.store = Store(str(folder))

    def documents(self):
        return [self.store.table(f"documents/{source}") for source in sorted(SOURCES)]

    def fill(self, shards, *, order=lambda part: part, matched=()):
        for source in SOURCES:
            table = self.store.table(f"documents/{source}")
            map_shards(write, units_of(shards, source, order), table, stage=Stage(name="d", code_version="1"))
        map_shards(
            score,
            table_units(self.documents()),
            self.store.table("quality/scores"),
            stage=Stage(name="s", code_version="1"),
        )
        found = Stage(name="m", code_version="1", parameters={"ids": list(matched)})
        units = table_units(self.documents(), list(matched))
        map_shards(match, units, self.store.table("decontamination/matches"), stage=found)

    def sign(self, workers=1):
        units = table_units(self.documents(), PARAMS.minhash)
        stage = signatures_stage(PARAMS.minhash)
        output, pool = self.store.table("dedup/signatures"), partial(process_pool, workers)
        return map_shards(sign_documents, units, output, stage=stage, executor=pool)

    def inputs(self):
        keys = ("dedup/signatures", "quality/scores", "decontamination/matches")
        signatures, scores, matches = (self.store.table(key) for key in keys)
        return ClusterInputs(documents=self.documents(), signatures=signatures, scores=scores, matches=matches)

    def cluster(self, params=PARAMS, workers=1):
        inputs = self.inputs()
        pool = partial(process_pool, workers)
        return [
            map_shards(step.function, step.units, step.output, stage=step.stage, executor=pool)
            for step in clustering_steps(inputs, DedupTables.of(self.store), params, SOURCES)
        ]

    def cache(self):
        return SimilarityCache.of(self.store.table("dedup/clusters"), PARAMS.minhash, "0-of-1")

    def clusters(self):
        return self.store.table("dedup/clusters").read()


def run(folder, shards, **how):
    workers = how.pop("workers", 1)
    home = Home(folder)
    home.fill(shards, **how)
    home.sign(workers)
    home.cluster()
    return home


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    return run(tmp_path_factory.mktemp("first"), texts_by_shard())


def test_duplicates_of_other_sources_are_found_and_named_by_their_ids(first):
    found = first.clusters()
    assert set(found["kind"]) == {"exact_duplicate", "near_duplicate"}
    ids = set(pl.concat([table.read(["document_id"]) for table in first.documents()])["document_id"])
    assert set(found["document_id"]) | set(found["representative_id"]) < ids
    assert not set(found["document_id"]) & set(found["representative_id"])
    assert found["document_id"].is_sorted()


def test_the_copy_of_the_source_with_the_lowest_priority_number_stays(first):
    source = dict(pl.concat([t.read(["document_id", "source"]) for t in first.documents()]).rows())
    pairs = [(SOURCES[source[gone]], SOURCES[source[kept]]) for gone, kept, *_ in first.clusters().rows()]
    assert all(gone >= kept for gone, kept in pairs)
    assert any(gone > kept for gone, kept in pairs)


def test_two_workers_and_shards_in_another_order_give_the_same_result(first, tmp_path):
    other = run(tmp_path / "other", texts_by_shard(), order=lambda part: -part, workers=2)
    assert other.clusters().equals(first.clusters())
    hashes = [home.store.table("dedup/clusters").manifest().content_hash for home in (first, other)]
    assert hashes[0] == hashes[1]


def test_units_that_hold_few_documents_find_what_one_look_at_all_finds(first, tmp_path):
    home = Home(tmp_path / "home")
    home.fill(texts_by_shard())
    home.sign()
    steps = home.cluster(DedupParams(max_keys=100))
    num_units = [step.num_run for step in steps]
    assert num_units[:2] + num_units[-3:] == [6, 32, 6, 6, 64]  # batches of a shard, two parts of each band
    assert num_units[2:-3] == [32] + [6] * (len(steps) - 6)  # rounds of parts: each holds a batch's links
    assert len(steps) > 7
    joined = [one.store.table("steps/components").read()["component"] for one in (home, first)]
    assert joined[0].equals(joined[1])
    assert home.clusters().sort("document_id").equals(first.clusters())
    assert steps[-1].manifest.report == first.cluster()[-1].manifest.report
    looked = deduplicate(*one_look(first), PARAMS).clusters
    assert looked.equals(first.clusters())


def one_look(home):
    """All documents at once, as the arguments of ``deduplicate``."""
    columns = ["document_id", "source", "language", "num_chars", "text"]
    documents = pl.concat([table.read(columns) for table in home.documents()])
    signed = home.store.table("dedup/signatures").read()
    every = documents.with_columns(
        signed["content_hash", "num_shingles", "shingle_sum"],
        priority=pl.col("source").replace_strict(SOURCES, return_dtype=pl.Int32),
        educational_value=pl.lit(0.5, pl.Float32),
    )

    def read_texts(rows):
        yield np.arange(len(rows)), every["text"].gather(rows).to_arrow().cast(pa.large_string())

    return every, lambda band: signed[f"band_{band}"].to_numpy(), read_texts


def test_each_document_in_a_component_shares_a_key_or_its_text_with_another_of_it(first):
    signed = first.store.table("dedup/signatures").read()
    linked = pl.DataFrame(first.store.table("steps/candidates").read(["document_id", "component"])).with_columns(
        pl.col("document_id").bin.encode("hex")
    )
    bands = [name for name in signed.columns if name.startswith("band_")]
    keys = signed.unpivot(bands, index="document_id").filter(pl.col("value") != 0)
    shared = keys.join(keys, on=["variable", "value"]).filter(pl.col("document_id") != pl.col("document_id_right"))
    assert set(shared["document_id"]) == set(linked["document_id"])
    component = dict(linked.select("document_id", "component").iter_rows())
    assert all(component[a] == component[b] for a, b in shared["document_id", "document_id_right"].iter_rows())


def test_copies_of_a_text_too_short_for_shingles_are_found(tmp_path):
    shards = {(source, part): ["total += 1 + 2", f"only {source} {part}"] for source in SOURCES for part in range(2)}
    home = run(tmp_path, shards)
    assert home.clusters()["kind"].to_list() == ["exact_duplicate"] * 5


@pytest.mark.parametrize("key", ["steps/participants", "steps/candidates"])
def test_a_damaged_part_of_a_table_between_the_stages_is_named(first, tmp_path, key):
    shutil.copytree(first.store.root, tmp_path / "home")
    home = Home(tmp_path / "home")
    shard = home.store.table(key).manifest().shards[0]
    path = tmp_path / "home" / "tables" / key / shard.path
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 255
    path.write_bytes(data)
    for later in ("steps/links", "dedup/clusters"):
        shutil.rmtree(tmp_path / "home" / "tables" / later)
    with pytest.raises(CorruptShardError, match=f"table '{key}': shard .* delete the file"):
        home.cluster()


def test_one_more_shard_signs_one_shard_and_ends_as_if_it_had_always_been_there(first, tmp_path):
    shutil.copytree(first.store.root, tmp_path / "home")
    more = texts_by_shard() | {("two", 2): [text_of(7), text_of(8) + " at last", text_of(5555)]}
    home = Home(tmp_path / "home")
    home.fill(more)
    signed = home.sign()
    assert (signed.num_run, signed.num_skipped) == (1, 6)
    home.cluster()
    anew = run(tmp_path / "anew", more)
    assert home.clusters().equals(anew.clusters())
    assert home.clusters().height > first.clusters().height
    assert home.cache().read().equals(anew.cache().read())


def test_the_report_counts_documents_that_are_like_no_others_when_only_these_change(first, tmp_path):
    shutil.copytree(first.store.root, tmp_path / "home")
    home = Home(tmp_path / "home")
    home.fill(texts_by_shard() | {("two", 2): [text_of(7777), text_of(8888)]})
    home.sign()
    home.cluster()
    before, after = (at.store.table("dedup/clusters").manifest() for at in (first, home))
    assert after.content_hash == before.content_hash
    assert (after.report.num_in, after.report.num_out) == (before.report.num_in + 2, before.report.num_out + 2)


def test_documents_that_other_stages_left_out_are_no_representatives(first, tmp_path):
    kept = first.clusters()["representative_id"][0]
    home = run(tmp_path / "home", texts_by_shard(), matched=[kept])
    assert kept not in set(home.clusters()["representative_id"]) | set(home.clusters()["document_id"])


@pytest.mark.parametrize("damage", ["absent", "truncated", "flipped"])
def test_a_damaged_cache_of_similarities_is_computed_again(first, tmp_path, damage):
    shutil.copytree(first.store.root, tmp_path / "home")
    home = Home(tmp_path / "home")
    [path] = (tmp_path / "home" / "tables" / "dedup" / "clusters").glob("similarities-*.parquet")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.unlink()
    if damage != "absent":
        path.write_bytes(data[:200] if damage == "truncated" else data)
    (tmp_path / "home" / "tables" / "dedup" / "clusters" / "manifest.json").unlink()
    shutil.rmtree(tmp_path / "home" / "tables" / "dedup" / "clusters" / "units")
    home.cluster()
    assert home.clusters().equals(first.clusters())


def test_signatures_of_other_documents_are_refused(first, tmp_path):
    shutil.copytree(first.store.root, tmp_path / "home")
    home = Home(tmp_path / "home")
    home.fill(texts_by_shard() | {("one", 1): [text_of(9999)]})
    with pytest.raises(ValueError, match=r"'dedup/signatures' holds other documents .* materialize .* again"):
        home.cluster()


def test_texts_come_by_place_and_by_id_and_only_their_row_groups_are_read(first):
    frame = pl.concat([table.read(["document_id", "text"]) for table in first.documents()])
    places = np.array([100, 3, 77, 0, 143], dtype=np.uint32)
    found = {}
    for positions, texts in TextsByPlace(first.documents()).batches(places):
        found |= dict(zip(positions.tolist(), texts.to_pylist(), strict=True))
    assert [found[i] for i in range(5)] == frame["text"].gather(places).to_list()
    ids = frame["document_id"].gather([5, 2]).to_list()
    assert read_texts(first.documents(), ids) == frame["text"].gather([5, 2]).to_list()
    with pytest.raises(ValueError, match="no documents"):
        read_texts(first.documents(), ["0" * 32])


def test_rows_of_a_shard_of_many_row_groups_are_those_of_the_whole(tmp_path):
    table = Store(str(tmp_path)).table("documents/large")
    rows = pa.table({"text": [f"{i} " * 2000 for i in range(700)], "number": list(range(700))})
    shard = table.write_shard("shards/0.parquet", rows, unit="0")
    import pyarrow.parquet as pq

    assert pq.ParquetFile(table.path(shard.path)).num_row_groups > 3
    wanted = np.array([0, 1, 333, 334, 699])
    assert table.read_rows(shard, wanted, ["number", "text"]).equals(rows.take(wanted).select(["number", "text"]))
