"""Plan, ledger and corpus by units: what one look at all documents decides, each unit reading its own part."""

import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from codeft_assets.curation.corpus.mixture import Mixture
from codeft_assets.curation.corpus.plan import plan_mixture
from codeft_assets.curation.dedup.deduplicate import DedupParams
from codeft_assets.stages.corpus import (
    collect_mixture,
    decide_outcomes,
    ledger_stage,
    ledger_units,
    mixture_stage,
    mixture_units,
)
from codeft_assets.stages.dedup import DedupTables, clustering_steps
from codeft_assets.stages.plan import Deduplicated, PlanTables, planning_steps
from codeft_assets.store.engine import map_shards
from tests.assets.test_dedup_stages import SOURCES, Home, text_of, texts_by_shard
from tests.assets.test_train_and_score import commit

MIXTURE = Mixture(token_budget=4_000, annealing_share=0.2, validation_fraction=0.2)
WEIGHTS = {source: float(number) for source, number in SOURCES.items()}
FEW = {"threshold": 0.99, "code_threshold": 0.99}
"""Of near copies all stay, to be one group."""
SMALL = DedupParams(max_keys=400, **FEW)


class Planned(Home):
    """A home with a plan and a ledger."""

    @property
    def tables(self):
        return PlanTables.of(self.store)

    selection = None

    def deduplicated(self):
        return Deduplicated(inputs=self.inputs(), tables=DedupTables.of(self.store), selection=self.selection)

    def plan(self, mixture=MIXTURE):
        return [
            map_shards(step.function, step.units, step.output, stage=step.stage)
            for step in planning_steps(self.deduplicated(), self.tables, mixture, WEIGHTS)
        ]

    def ledger(self):
        units = ledger_units(self.deduplicated(), self.tables)
        return map_shards(decide_outcomes, units, self.store.table("corpus/ledger"), stage=ledger_stage())


def filled(folder, params=SMALL, **how):
    home = Planned(folder)
    home.fill(texts_by_shard(), **how)
    home.sign()
    home.cluster(params)
    return home


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    home = filled(tmp_path_factory.mktemp("first"))
    home.plan(), home.ledger()
    return home


def one_look(home):
    """The plan of all documents at once, and the groups by a search from document to document."""
    found = home.clusters()
    linked = pl.concat(
        pl.DataFrame(home.store.table("steps/candidates").read_part(shard, ["document_id", "component"]))
        for shard in home.store.table("steps/candidates").manifest().shards
    ).with_columns(pl.col("document_id").bin.encode("hex"))
    first_of = dict(linked.group_by("component").agg(pl.col("document_id").min()).iter_rows())
    group = {name: first_of[component] for name, component in linked.iter_rows()}
    columns = ["document_id", "source", "domain", "format", "language", "num_chars"]
    documents = pl.concat(table.read(columns) for table in home.documents())
    kept = documents.filter(~pl.col("document_id").is_in(found["document_id"].implode()))
    ids = kept["document_id"]
    return plan_mixture(
        kept.with_columns(
            group_id=pl.Series([group.get(name, name) for name in ids]),
            is_alone=~ids.is_in(found["representative_id"].implode()),
        ),
        WEIGHTS,
        MIXTURE,
    )


def test_units_make_the_plan_of_one_look_at_all(first):
    plan, report = one_look(first)
    manifest = first.tables.plan.manifest()
    assert first.tables.plan.read().sort("document_id").equals(plan)
    assert (manifest.report.num_in, manifest.report.dropped) == (report.num_in, report.dropped)
    assert (len(manifest.shards), len(first.tables.relatives.manifest().shards)) == (6, 16)
    assert set(plan["split"]) == {"train", "validation", None}
    assert plan["group_id"].n_unique() < plan.height


def test_larger_units_decide_the_same(first, tmp_path):
    other = filled(tmp_path, DedupParams(**FEW))
    other.plan(), other.ledger()
    assert len(other.tables.relatives.manifest().shards) == 1
    for key in ("corpus/mixture_plan", "corpus/ledger"):
        hashes = {home.store.table(key).manifest().content_hash for home in (first, other)}
        assert len(hashes) == 1, key


def test_every_document_has_one_outcome_with_its_reason(first):
    ledger = first.store.table("corpus/ledger").read()
    documents = pl.concat(table.read(["document_id"]) for table in first.documents())
    assert ledger.select("document_id").sort("document_id").equals(documents.sort("document_id"))
    reasons = dict(ledger.filter(pl.col("stage") == "deduplication").select("document_id", "detail").iter_rows())
    duplicates = first.clusters().iter_rows(named=True)
    wanted = {
        row["document_id"]: f"of {row['representative_id']}: Jaccard {round(row['jaccard'], 3)}" for row in duplicates
    }
    assert reasons == wanted


def keep_only(table, shards):
    """Delete the other shards of a table."""
    for shard in table.manifest().shards:
        if shard not in shards:
            Path(table.path(shard.path)).unlink()


@pytest.fixture
def copied(first, tmp_path):
    shutil.copytree(first.store.root, tmp_path / "home")
    return Planned(tmp_path / "home")


def results(function, unit):
    return pl.concat(pl.DataFrame(result.rows) for result in function(*unit.args))


@pytest.mark.parametrize("number", [0, 3, 5])
def test_a_unit_of_the_ledger_reads_no_shard_of_another(first, copied, number):
    """So the work of all units is that of reading each table once: what others read may be gone."""
    unit = ledger_units(copied.deduplicated(), copied.tables)[number]
    _, batch, _, _, planned = unit.args
    inputs = copied.inputs()
    keep_only(copied.tables.plan, planned)
    for table, name in ((inputs.scores, "scores"), (inputs.matches, "matches")):
        keep_only(table, [getattr(piece, name) for piece in batch.pieces])
    for table in inputs.documents:
        keep_only(table, [piece.documents for piece in batch.pieces] if table == batch.documents else [])
    own = pl.concat(first.tables.plan.scan_shard(shard).select("document_id").collect() for shard in planned)
    whole = first.store.table("corpus/ledger").read()
    found = results(decide_outcomes, unit)
    assert found.height == sum(piece.documents.num_rows for piece in batch.pieces)
    assert set(own["document_id"]) <= set(found["document_id"])
    assert found.equals(whole.filter(pl.col("document_id").is_in(found["document_id"].implode())))


@pytest.mark.parametrize("number", [0, 3, 5])
def test_a_unit_of_the_corpus_reads_one_shard_of_documents_and_one_of_the_plan(first, copied, number):
    unit = mixture_units(copied.documents(), copied.tables.plan)[number]
    table, shard, plan, planned = unit.args
    keep_only(plan, [planned])
    for other in copied.documents():
        keep_only(other, [shard] if other == table else [])
    wanted = first.tables.plan.read().drop_nulls("split")
    found = results(collect_mixture, unit)
    ids = first.store.table(table.key).scan_shard(shard).select("document_id").collect()["document_id"]
    mine = wanted.filter(pl.col("document_id").is_in(ids.implode()))
    assert (
        found.select("document_id", "split", "epochs")
        .sort("document_id")
        .equals(mine.select("document_id", "split", "epochs").sort("document_id"))
    )


def test_the_plan_follows_the_selection_and_the_ledger_has_the_reason(first, copied):
    planned = first.tables.plan.read()["document_id"]
    copied.selection = copied.store.table("selection/instructions")
    is_bad = pl.int_range(pl.len()) % 3 == 0
    reasons = {"drop_reason": pl.when(is_bad).then(pl.lit("fails_tests")), "drop_detail": pl.lit("0 of 1 tests pass")}
    commit(copied.store, copied.selection.key, planned.to_frame().with_columns(**reasons))
    num_left_out = -(-len(planned) // 3)
    report = copied.plan()[-1].manifest.report
    copied.ledger()
    assert report.dropped["not_selected"] == num_left_out
    assert report.num_in == first.tables.plan.manifest().report.num_in == len(planned)
    left_out = copied.store.table("corpus/ledger").read().filter(pl.col("stage") == "selection")
    assert sorted(left_out["document_id"]) == sorted(planned[::3])
    assert set(left_out["detail"]) == {"fails_tests: 0 of 1 tests pass"}
    found = copied.tables.plan.read()
    sizes = copied.tables.relatives.read().filter(pl.col("kind").is_null())
    assert not set(found["document_id"]) & set(left_out["document_id"])
    in_groups = found.filter(pl.col("group_id").is_in(sizes["group_id"].implode())).group_by("group_id").len()
    assert dict(sizes.filter(pl.col("group_size") > 0).select("group_id", "group_size").iter_rows()) == dict(
        in_groups.iter_rows()
    )


def test_a_changed_source_writes_no_other_sources_documents_again(copied):
    def collect():
        copied.plan(replace(MIXTURE, token_budget=None))
        units = mixture_units(copied.documents(), copied.tables.plan)
        return map_shards(collect_mixture, units, copied.store.table("corpus/mixture"), stage=mixture_stage())

    assert collect().num_run == 6
    more = texts_by_shard()
    more["two", 1] = [*more["two", 1], "a text that is like no other text of all the sources that there are here"]
    copied.fill(more)
    copied.sign()
    copied.cluster(SMALL)
    again = collect()
    assert 1 <= again.num_run <= 2
    assert again.manifest.num_rows == copied.tables.plan.manifest().num_rows


@pytest.mark.parametrize("last", ["participants", "components", "candidates"])
def test_a_deduplication_that_was_cut_off_is_refused(copied, last):
    copied.fill(texts_by_shard() | {("one", 1): [text_of(0), text_of(1)]})
    copied.sign()
    for step in clustering_steps(copied.inputs(), DedupTables.of(copied.store), SMALL, SOURCES):
        map_shards(step.function, step.units, step.output, stage=step.stage)
        if step.output.key.endswith(last):
            break
    with pytest.raises(ValueError, match=r"'dedup/clusters' was made of other documents.* materialize .* again"):
        copied.plan()


def test_a_plan_of_other_documents_is_refused(copied):
    copied.fill(texts_by_shard() | {("one", 1): [text_of(9999)] * 2})
    with pytest.raises(ValueError, match=r"'dedup/clusters' was made of other documents.* materialize .* again"):
        copied.plan()
    with pytest.raises(ValueError, match=r"'dedup/clusters' was made of other documents.* materialize .* again"):
        copied.ledger()
    unit = mixture_units(copied.documents(), copied.tables.plan)[1]
    with pytest.raises(ValueError, match=r"'corpus/mixture_plan' plans other documents.* materialize .* again"):
        results(collect_mixture, unit)
