"""Measured once, decided as often as wanted: another threshold or rule reads no text."""

import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from codeft_assets.curation.documents import content_hash
from codeft_assets.curation.quality.classifier import fit_classifier, serialize_classifier
from codeft_assets.curation.quality.thresholds import NO_THRESHOLD, Threshold
from codeft_assets.curation.report import StageReport
from codeft_assets.stages.quality import (
    decide_documents,
    measure_documents,
    minimum_values,
    scores_stage,
    scores_units,
    signals_stage,
    signals_units,
)
from codeft_assets.store.data_root import Store
from codeft_assets.store.engine import ShardResult, Stage, Unit, map_shards
from tests.assets.test_classifier import LESSON, TABLE, documents


def rows_of(source, texts):
    return pa.Table.from_pylist(
        [
            {
                "document_id": f"{source}-{row}",
                "content_hash": content_hash(text),
                "source": source,
                "source_row": f"row {row}",
                "domain": "code",
                "format": "instruct",
                "language": "python",
                "num_chars": len(text),
                "text": text,
            }
            for row, text in enumerate(texts)
        ]
    )


def one_shard(rows):
    yield ShardResult(rows=rows, report=StageReport(num_in=rows.num_rows, num_out=rows.num_rows))


def write_documents(store, name, texts):
    table = store.table(f"documents/{name}")
    unit = Unit(name=f"{name}/file", fingerprint=repr(texts), args=(rows_of(name, texts),))
    map_shards(one_shard, [unit], table, stage=Stage(name="documents", code_version="1"))
    return table


@pytest.fixture(scope="module")
def classifier_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("classifier") / "classifier.skops"
    path.write_bytes(serialize_classifier(replace(fit_classifier(documents(), seed=1), version="v1")))
    return path


@pytest.fixture
def store(tmp_path):
    store = Store(str(tmp_path))
    lessons, tables = [LESSON.format(n) for n in range(6)], [TABLE.format(n) * 3 for n in range(6)]
    for name in ("web", "book"):
        write_documents(store, name, [f"{text}# {name}\n" for text in lessons + tables])
    return store


def measure(store, classifier_file, version="v1"):
    tables = [store.table(f"documents/{name}") for name in ("book", "web")]
    units = signals_units(tables, str(classifier_file), version)
    return map_shards(measure_documents, units, store.table("quality/signals"), stage=signals_stage())


def decide(store, stage=None, languages=(), **wanted):
    measured = store.table("quality/signals")
    minimum = minimum_values(measured, {"web": NO_THRESHOLD, "book": NO_THRESHOLD} | wanted)
    units = scores_units(measured, minimum, {"web": languages, "book": ()})
    outcome = map_shards(decide_documents, units, store.table("quality/scores"), stage=stage or scores_stage())
    return store.table("quality/scores").read(), outcome


def dropped(scores, source):
    return scores.filter((pl.col("source") == source) & pl.col("drop_reason").is_not_null())["document_id"].to_list()


def test_another_threshold_re_decides_its_source_and_reads_no_text(store, classifier_file):
    measure(store, classifier_file)
    _, first = decide(store)
    assert (first.num_run, first.manifest.report.num_dropped) == (2, 0)
    shutil.rmtree(Path(store.root) / "tables" / "documents")  # whoever reads a text fails now
    scores, second = decide(store, web=Threshold(value=0.5))
    assert (second.num_run, second.num_skipped) == (1, 1)
    assert dropped(scores, "web") == [f"web-{row}" for row in range(6, 12)]
    assert dropped(scores, "book") == []


def test_another_rule_re_decides_everything_and_reads_no_text(store, classifier_file):
    measure(store, classifier_file)
    decide(store)
    shutil.rmtree(Path(store.root) / "tables" / "documents")
    _, again = decide(store, stage=replace(scores_stage(), code_version="other rules"))
    assert again.num_run == 2


def test_a_quantile_is_of_its_own_source(store, classifier_file):
    write_documents(store, "book", [LESSON.format(n) + "# book\n" for n in range(12)])
    measure(store, classifier_file)
    scores, _ = decide(store, web=Threshold(quantile=0.25), book=Threshold(quantile=0.5))
    values = {}
    for row in store.table("quality/signals").read().iter_rows(named=True):
        values.setdefault(row["source"], {})[row["document_id"]] = row["educational_value"]
    for source, place in (("web", 3), ("book", 6)):
        least = sorted(values[source].values())[place]  # equal values stay together, and which are equal is the CPU's
        assert dropped(scores, source) == [name for name, value in values[source].items() if value < least]
        assert dropped(scores, source)
    minimum = dict(scores.unique("source").select("source", "minimum_educational_value").iter_rows())
    assert 0 < minimum["web"] < minimum["book"]


def test_scores_of_unchanged_text_are_reused_and_another_classifier_scores_again(store, classifier_file):
    assert measure(store, classifier_file).num_run == 2
    assert measure(store, classifier_file).num_run == 0
    write_documents(store, "web", [LESSON.format(77)])
    changed = measure(store, classifier_file)
    assert (changed.num_run, changed.num_skipped) == (1, 1)
    other = classifier_file.with_name("other.skops")
    other.write_bytes(serialize_classifier(replace(fit_classifier(documents(), seed=2), version="v2")))
    assert measure(store, other, version="v2").num_run == 2


def test_a_classifier_that_was_trained_again_meanwhile_is_not_mixed_in(store, classifier_file):
    with pytest.raises(ValueError, match="is version 'v1', not 'v0'"):
        measure(store, classifier_file, version="v0")


def test_signals_and_scores_hold_every_document_once(store, classifier_file):
    manifest = measure(store, classifier_file).manifest
    assert manifest.report.num_in == manifest.report.num_out == manifest.num_rows == 24
    scores, outcome = decide(store, web=Threshold(quantile=0.5))
    report = outcome.manifest.report
    assert scores["document_id"].n_unique() == report.num_in == report.num_out + sum(report.dropped.values()) == 24


def test_each_shard_of_documents_has_one_of_signals_and_one_of_scores_in_its_order(store, classifier_file):
    table = store.table("documents/web")
    units = [
        Unit(name=f"web/{name}", fingerprint=name, args=(rows_of("web", ["text"]).slice(0, num),))
        for name, num in (("full", 1), ("empty", 0), ("also empty", 0))
    ]
    map_shards(one_shard, units, table, stage=Stage(name="documents", code_version="1"))
    measure(store, classifier_file)
    _, outcome = decide(store)
    names = ("documents/book", "documents/web", "quality/signals", "quality/scores")
    book, web, measured, decided = ([shard.num_rows for shard in store.table(name).manifest().shards] for name in names)
    assert [*book, *web] == measured == decided == [12, 1, 0, 0]
    assert outcome.num_run == 3  # the two without documents are one


def test_a_missing_classifier_says_what_to_do(store, tmp_path):
    with pytest.raises(ValueError, match="materialize quality/classifier first"):
        measure(store, tmp_path / "nothing.skops")
