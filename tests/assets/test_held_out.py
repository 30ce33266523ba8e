"""No held-out competition problem reaches the corpus, by the stages and by the check that asks the rule again."""

import dagster as dg
import polars as pl
import pytest

from codeft_assets.curation.report import StageReport
from codeft_assets.definitions import defs
from codeft_assets.defs.assets.held_out import benchmark_environment
from codeft_assets.defs.assets.scores import leaked_items
from codeft_assets.defs.checks.corpus import no_held_out_problem
from codeft_assets.defs.messages import program_client
from codeft_assets.defs.workspace import Workspace
from codeft_assets.stages.decontamination import match_documents
from codeft_assets.store.manifest import Manifest
from codeft_eval.benchmarks.catalogue import BENCHMARKS, load_items
from codeft_eval.benchmarks.datafiles import read_rows
from codeft_eval.benchmarks.held_out_problems import Problem, to_problem

KEYS = ("documents/comp-math", "decontamination/held_out", "decontamination/benchmark_texts")


def problems(pattern, *, held_out):
    """Yield problems that the rule holds out, or does not."""
    return (text for i in range(10_000) if Problem(text := pattern.format(i), "").is_held_out is held_out)


SHORT = next(problems("Differentiate trigonometrically everything{}", held_out=True))  # no five words: no n-gram
SOLVED = next(problems("Compute the sum of all positive divisors of the integer {}.", held_out=True))
TRAINED = next(problems("Show that no square is congruent to 2 modulo the integer {}.", held_out=False))
TEXT = f"Problem 1. {SHORT}\n\nProblem 2. {SOLVED}\n\nSolution. It is 1 + 2 = 3.\n\nProblem 3. {TRAINED}\n"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    samples = tmp_path_factory.mktemp("samples")
    (samples / "comp-math.txt").write_text(TEXT)
    found = Workspace(root=str(tmp_path_factory.mktemp("home")), profile="sample", workers=1, samples=str(samples))
    keys = {dg.AssetKey(key.split("/")) for key in KEYS}
    job = defs.resolve_implicit_global_asset_job_def().get_subset(asset_selection=keys)
    with dg.DagsterInstance.ephemeral() as instance:
        job.execute_in_process(
            instance=instance, resources={"workspace": found, "pipes": program_client()}, raise_on_error=True
        )
    return found


def matches(workspace):
    store = workspace.store
    documents = store.table("documents/comp-math")
    [found] = match_documents(documents, documents.manifest().shards[0], store.table("decontamination/benchmark_texts"))
    return pl.DataFrame(found.rows)


def test_every_held_out_problem_is_matched_also_one_too_short_for_n_grams_and_no_other(workspace):
    documents = workspace.store.table("documents/comp-math").read()
    expected = {
        row["document_id"] for row in documents.iter_rows(named=True) if to_problem(row).problem in (SHORT, SOLVED)
    }
    found = matches(workspace)
    assert documents.height == 3
    assert len(expected) == 2
    assert set(found["document_id"]) == expected
    assert found.filter(pl.col("view") != "document")["document_id"].n_unique() == 1
    assert set(found["benchmark"]) == {"competition_math"}


def test_the_held_out_problems_are_a_benchmark_with_answers(workspace, monkeypatch):
    for name, value in benchmark_environment(workspace).items():
        monkeypatch.setenv(name, value)
    read_rows.cache_clear()
    items = {item.question: item for item in load_items(BENCHMARKS["competition_math"])}
    read_rows.cache_clear()
    assert items.keys() == {SHORT, SOLVED}
    assert (items[SOLVED].answer, items[SHORT].answer) == ("3", "")
    assert (items[SOLVED].is_gradable, items[SHORT].is_gradable) == (True, False)
    assert items[SHORT].solution.strip() == SHORT  # scored by likelihood, as it has nothing else
    assert SHORT not in items[SHORT].prompt


def test_the_document_that_an_item_was_made_of_is_no_leak_and_another_is(workspace):
    found = matches(workspace)
    assert '"competition_math": []' in leaked_items(found)
    copy = found.filter(pl.col("view") == "document").head(1).with_columns(
        document_id=pl.lit("elsewhere"), view=pl.lit("words")
    )  # fmt: skip
    assert copy["task_id"].item() in leaked_items(pl.concat([found, copy]))


@pytest.mark.parametrize(("problem", "passes"), [(SOLVED, False), (TRAINED, True)])
def test_the_corpus_is_refused_with_a_held_out_problem_in_it(tmp_path, problem, passes):
    workspace = Workspace(root=str(tmp_path), profile="sample")
    table = workspace.store.table("corpus/mixture")
    turns = [{"role": "user", "content": problem}, {"role": "assistant", "content": "So be it."}]
    rows = pl.DataFrame({"source": ["comp-math"], "messages": [turns], "text": [f"{problem}\n\nSo be it."]})
    shard = table.write_shard("shards/0.parquet", rows.to_arrow(), unit="0")
    report = StageReport(num_in=1, num_out=1)
    facts = {"stage": "mixture", "code_version": "1", "parameters": {}, "fingerprints": ("0",), "report": report}
    table.commit(Manifest(key="corpus/mixture", shards=(shard,), **facts))
    found = no_held_out_problem(workspace)
    assert found.passed is passes
    assert found.metadata["num_checked"].value == 1
