"""Checks and pages hold a shard of a table at a time: what they find is what is found in the whole table."""

import ast
from pathlib import Path

import polars as pl
import pytest

from codeft_assets.curation.report import StageReport
from codeft_assets.curation.tally import sum_by
from codeft_assets.defs.checks.corpus import no_secrets, obeys_the_plan
from codeft_assets.defs.workspace import Workspace
from codeft_assets.stages.texts import find_documents
from codeft_assets.store.bounded import bounded_connection, count_distinct, sample_rows
from codeft_assets.store.manifest import Manifest

PACKAGE = Path(__file__).parents[2] / "codeft_assets"
WHOLE = {
    "defs/assets/annotations.py": 1,  # labels: as many as somebody read
    "defs/assets/decontamination.py": 3,  # benchmark items and held-out problems
    "defs/assets/held_out.py": 2,  # the documents of one source of problems, and those held out
    "defs/assets/model.py": 2,  # held-out problems, and the benchmark they are
    "defs/assets/scores.py": 1,  # matches with benchmark items
    "defs/checks/corpus.py": 1,  # benchmark items
    "defs/optional/selection.py": 6,  # an optional part; instruct documents without their texts
    "stages/annotation.py": 1,  # ids and lengths, to choose what an annotator reads
    "stages/decontamination.py": 1,  # benchmark items
    "stages/plan.py": 1,  # cuts: a few rows a source
    "stages/quality.py": 1,  # labels
    "stages/selection.py": 8,  # an optional part; instruct documents without their texts
}
"""How often a module reads all rows of a table at once, and of what."""


def committed(store, key, *parts):
    table = store.table(key)
    shards = tuple(
        table.write_shard(f"shards/{n}.parquet", part.to_arrow(), unit=str(n)) for n, part in enumerate(parts)
    )
    height = sum(part.height for part in parts)
    report = StageReport(num_in=height, num_out=height)
    facts = {"stage": key, "code_version": "1", "parameters": {}, "fingerprints": ("0",), "report": report}
    table.commit(Manifest(key=key, shards=shards, **facts))
    return table


@pytest.fixture
def workspace(tmp_path):
    return Workspace(root=str(tmp_path), profile="sample", workers=1)


ROWS = pl.DataFrame({"document_id": [f"{n * 7919 % 100:032x}" for n in range(100)], "number": range(100)})


@pytest.fixture
def table(workspace):
    return committed(workspace.store, "t", ROWS[:30], ROWS[30:31], ROWS[31:])


def test_whole_tables_are_read_by_those_that_say_why_and_by_no_others():
    found = {}
    for path in PACKAGE.rglob("*.py"):
        calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        name = path.relative_to(PACKAGE).as_posix()
        if name.startswith(("stages/", "defs/", "trace")):
            named = [call.attr for call in calls if isinstance(call, ast.Attribute) and _is_table(call.value)]
            plain = [call.id for call in calls if isinstance(call, ast.Name)]
            found[name] = named.count("read") + plain.count("all_documents")
    assert {name: count for name, count in found.items() if count} == {n: c for n, c in WHOLE.items() if c}


def _is_table(node):
    """Whether a value may be a table: not a file, a range of a group, or an origin."""
    return ast.unparse(node).split("(")[0].split("[")[0] not in {
        "file",
        "group",
        "origin",
        "cache",
        "self",
        "sys.stdin",
    }


def test_a_sample_is_the_same_however_the_table_is_divided(workspace, table):
    whole = committed(workspace.store, "whole", ROWS)
    samples = [sample_rows(one, ["number"], 20, seed=3)["number"].to_list() for one in (table, whole)]
    assert samples[0] == samples[1]
    assert len(set(samples[0])) == 20
    assert sample_rows(table, ["number"], 500, seed=3)["number"].to_list() == list(range(100))
    even = sample_rows(table, ["number"], 20, seed=3, where=pl.col("number") % 2 == 0)["number"]
    assert (len(even), (even % 2).sum()) == (20, 0)
    assert sample_rows(table, ["number"], 20, seed=3, where=pl.col("number") < 0).height == 0


def test_different_values_are_counted_across_shards(workspace, table):
    assert count_distinct(table, "document_id") == 100
    twice = committed(workspace.store, "twice", ROWS, ROWS[:1])
    assert count_distinct(twice, "document_id") == 100


def test_a_question_that_needs_more_memory_than_it_may_have_is_answered_from_disk(tmp_path):
    with bounded_connection(":memory:", str(tmp_path)) as connection:
        connection.execute("SET memory_limit = '40MB'")
        connection.execute("SET threads = 1")
        counted = "SELECT count(*) FROM (SELECT DISTINCT md5(range::VARCHAR) FROM range(1000000))"
        assert connection.sql(counted).fetchall() == [(1_000_000,)]


def test_sums_are_those_of_the_whole():
    parts = [pl.DataFrame({"by": ["a", "b"], "n": pl.Series([1, 2**32 - 1], dtype=pl.UInt32), "x": [0.5, 1.0]})] * 3
    assert sum_by(parts, "by").rows() == [("a", 3, 1.5), ("b", 3 * (2**32 - 1), 3.0)]


def test_documents_are_found_wherever_they_are(table):
    ids = [ROWS["document_id"][n] for n in (99, 30, 2)]
    assert find_documents([table], ids, ["number"])["number"].to_list() == [2, 30, 99]
    assert find_documents([table], ["nowhere"], ["number"]).height == 0


def planned(**changes):
    columns = {"document_id": ["a", "b", "c"], "split": ["train", None, "validation"], "epochs": [2, 0, 1]}
    frame = pl.DataFrame(columns | {"annealing_epochs": [0, 0, 0]}, schema_overrides={"epochs": pl.UInt8})
    return frame.with_columns(**changes)


@pytest.mark.parametrize(
    ("parts", "passes"),
    [
        ([planned().drop_nulls().reverse(), planned().clear()], True),
        ([planned().drop_nulls(), planned().drop_nulls()], False),
        ([planned().drop_nulls()[:1], planned().clear()], False),
        ([planned(epochs=pl.lit(1, pl.UInt8)).drop_nulls(), planned().clear()], False),
        ([planned().drop_nulls()], True),
        ([planned().clear(), planned().drop_nulls()], False),
    ],
)
def test_a_corpus_of_several_shards_is_compared_with_its_plan(workspace, parts, passes):
    committed(workspace.store, "corpus/mixture_plan", planned(), planned().clear())
    committed(workspace.store, "corpus/mixture", *parts)
    assert obeys_the_plan(workspace).passed == passes


def test_a_secret_in_any_shard_is_found(workspace):
    messages = pl.lit(None, pl.List(pl.Struct({"role": pl.String, "content": pl.String})))
    clean = pl.DataFrame({"text": ["x = 1"]}).with_columns(messages=messages)
    leaking = clean.with_columns(text=pl.lit("mail jane.doe@gmail.com to have it"))
    committed(workspace.store, "corpus/mixture", clean, clean)
    assert no_secrets(workspace).passed
    committed(workspace.store, "corpus/mixture", clean, leaking)
    found = no_secrets(workspace)
    assert not found.passed
    assert (found.metadata["num_checked"].value, found.metadata["num_found"].value) == (2, 1)
