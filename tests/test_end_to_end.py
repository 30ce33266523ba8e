"""The whole path on the embedded sample: every asset in one run, then what it promises about running again."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import dagster as dg
import duckdb
import polars as pl
import pytest

from codeft_assets.definitions import defs
from codeft_assets.defs.messages import program_client
from codeft_assets.defs.workspace import Workspace
from codeft_assets.sources import SOURCES
from codeft_assets.store.catalog import ROW_COUNTS_SQL
from codeft_assets.store.data_root import STEPS, Store
from tests import patience

ROOT = Path(__file__).parents[1]
TRAINING = {
    "model__tokenizer": {"config": {"recipe": "smoke"}},
    "model__checkpoint": {
        "config": {
            "recipe": "smoke",
            "overrides": {
                "max_steps": 8,
                "batch_rows": 4,
                "hidden_size": 32,
                "num_layers": 1,
                "intermediate_size": 48,
                "log_every_steps": 2,
                "validate_every_steps": 8,
                "validation_rows": 4,
            },
        }
    },
}
FEW_ITEMS = {f"scores__{name}": {"config": {"limit": 8}} for name in ("embedded", "composed", "composed_basic")}
FEW_EXERCISES = {"documents__exercises_composed": {"config": {"max_rows": 300}}}
CORPUS = dg.AssetSelection.groups(
    "sources", "quality", "dedup", "decontamination", "corpus"
) - dg.AssetSelection.assets(["corpus", "packed"])

pytestmark = pytest.mark.slow


def execute(home, selection, run_config=None, samples=""):
    job = defs.resolve_implicit_global_asset_job_def()
    keys = selection.resolve(defs.resolve_asset_graph())
    few = FEW_EXERCISES if dg.AssetKey(["documents", "exercises-composed"]) in keys else {}
    ops = few | (run_config or {}).get("ops", {})
    resources = {
        "workspace": Workspace(root=str(home), profile="sample", workers=1, samples=samples),
        "pipes": program_client(),
    }
    with dg.DagsterInstance.ephemeral() as instance:
        return job.get_subset(asset_selection=keys).execute_in_process(
            instance=instance, resources=resources, run_config={"ops": ops}, raise_on_error=True
        )


def metadata(result, *key):
    [event] = [e for e in result.get_asset_materialization_events() if e.asset_key == dg.AssetKey(list(key))]
    return {name: value.value for name, value in event.materialization.metadata.items()}


def hashes(home):
    return {table.key: table.manifest().content_hash for table in Store(str(home)).tables()}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def first_run(home):
    everything = dg.AssetSelection.all() - dg.AssetSelection.groups("upstream")
    return execute(home, everything, {"ops": TRAINING | FEW_ITEMS})


def test_every_asset_is_materialized_and_every_check_passes(first_run):
    made = {event.asset_key for event in first_run.get_asset_materialization_events()}
    graph = defs.resolve_asset_graph()
    assert made == set(graph.materializable_asset_keys)
    checks = first_run.get_asset_check_evaluations()
    assert [check.check_name for check in checks if not check.passed] == []
    assert len(checks) >= len(SOURCES) + 7


def test_every_column_of_every_table_is_described(first_run, home):
    tables = [table.key for table in Store(str(home)).tables() if not table.key.startswith(STEPS)]
    schemas = {key: metadata(first_run, *key.split("/"))["dagster/column_schema"] for key in tables}
    undescribed = {
        key: missing
        for key, schema in schemas.items()
        if (missing := [column.name for column in schema.columns if not column.description])
    }
    assert undescribed == {}


def test_the_accounts_balance_per_source_and_in_total(first_run, home):
    with duckdb.connect(str(home / "catalog.duckdb"), read_only=True) as connection:
        rows = connection.sql(ROW_COUNTS_SQL).pl()
    assert set(rows["source"]) == {*SOURCES, "all sources"}
    assert (rows["unaccounted"] == 0).all()
    total = rows.filter(pl.col("source") == "all sources").row(0, named=True)
    assert total["num_in"] == total["num_kept"] + total["num_dropped"]


def test_the_readme_shows_the_statement_that_counts(first_run):
    assert ROW_COUNTS_SQL.strip() in (ROOT / "README.md").read_text()


def test_every_stage_had_something_to_do(first_run, home):
    outcomes = set(Store(str(home)).table("corpus/ledger").read()["fate"])
    assert {
        "kept",
        "contaminated",
        "exact_duplicate",
        "near_duplicate",
        "low_educational_value",
        "over_budget",
    } <= outcomes


def test_the_held_out_problems_are_left_out_of_the_corpus_by_name(first_run, home):
    store = Store(str(home))
    held_out = store.table("decontamination/held_out").read()
    names = pl.Series(held_out["document_ids"].explode())
    dropped = store.table("corpus/ledger").read().filter(pl.col("document_id").is_in(names.implode()))
    assert len(names) >= 2
    assert set(dropped["fate"]) == {"contaminated"}
    assert dropped["detail"].str.starts_with("competition_math comp-math/").all()
    assert not set(names) & set(store.table("corpus/mixture").read()["document_id"])
    score = json.loads((home / "files" / "scores" / "competition_math" / "scores.json").read_text())
    assert score["num_scored"] == held_out.height


def test_the_key_of_the_sample_is_redacted(first_run, home):
    mixture = Store(str(home)).table("corpus/mixture").read()
    documents = Store(str(home)).table("documents/fineweb-code").read()
    assert documents["text"].str.contains("AKIAIOSFODNN7EXAMPLE").any()
    assert not mixture["text"].str.contains("AKIAIOSFODNN7EXAMPLE").any()


def test_the_scoreboard_is_a_file_one_can_send(first_run, home):
    folder = home / "files" / "scoreboard"
    assert "Embedded functions" in (folder / "scoreboard.md").read_text()
    assert "<html" in (folder / "scoreboard.html").read_text()
    assert json.loads((folder / "scoreboard.json").read_text())


def test_every_materialization_says_how_much_and_what_was_dropped(first_run):
    for name in SOURCES:
        found = metadata(first_run, "documents", name)
        assert found["num_in"] == found["num_out"] + sum(
            int(n) for n in re.findall(r"\| [a-z_]+ \| (\d+) \|", found["dropped_by_reason"])
        )
        assert {"dagster/row_count", "content_hash", "revision", "preview", "languages", "seconds"} <= set(found)
    assert {"loss", "held_out", "model_card", "final_loss"} <= set(metadata(first_run, "model", "checkpoint"))


def test_the_model_card_names_every_source_with_its_revision(first_run, home):
    card = (home / "files" / "model" / "checkpoint" / "checkpoint" / "README.md").read_text()
    assert all(f"| {name} |" in card for name in SOURCES)
    assert "near_duplicate" in card


def trace(home, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", "codeft_assets.trace", *arguments],
        capture_output=True, text=True, cwd=ROOT, env=os.environ | {"CODEFT_HOME": str(home)}, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_trace_tells_a_document_from_upstream_to_its_packed_row_and_back(first_run, home):
    ledger = Store(str(home)).table("corpus/ledger").read()
    kept = ledger.filter((pl.col("fate") == "kept") & (pl.col("split") == "train")).row(0, named=True)
    code, said = trace(home, kept["document_id"])
    assert code == 0
    assert kept["source_row"] in said
    assert "educational_value" in said
    row = re.search(r"train row (\d+)", said)[1]
    code, said = trace(home, "--sequence", row)
    assert code == 0
    assert kept["document_id"] in said
    code, said = trace(home, "--sequence", "9999999")
    assert code == 1
    assert re.fullmatch(r"error: corpus/packed has no training row 9999999; choose one of 0 to \d+\n", said)


def test_trace_tells_why_a_document_was_dropped(first_run, home):
    ledger = Store(str(home)).table("corpus/ledger").read()
    for reason in ("near_duplicate", "contaminated"):
        dropped = ledger.filter(pl.col("fate") == reason).row(0, named=True)
        code, said = trace(home, dropped["document_id"])
        assert code == 0
        assert f"fate: {reason}" in said
        assert dropped["detail"] in said
        assert "in no packed row" in said


def test_trace_of_a_source_lists_each_row_that_is_not_in_the_corpus_and_why(first_run, home):
    ledger = Store(str(home)).table("corpus/ledger").read()
    [source] = ledger.filter(pl.col("fate") == "contaminated")["source"].head(1)
    of_source = ledger.filter(pl.col("source") == source)
    code, said = trace(home, f"documents/{source}")
    *listed, counts = said.splitlines()
    dropped = of_source.filter(pl.col("fate") != "kept")
    report = Store(str(home)).table(f"documents/{source}").manifest().report
    assert (code, len(listed)) == (0, dropped.height + report.num_dropped)
    assert f" {of_source.height - dropped.height} in the corpus; " in counts
    for row in dropped.iter_rows(named=True):
        assert [line for line in listed if line.startswith(f"{row['fate']}  ") and row["document_id"] in line]
    row = of_source.row(0, named=True)
    code, said = trace(home, f"documents/{source}/{row['source_row']}")
    assert (code, said.startswith(f"document {row['document_id']}\n")) == (0, True)
    code, said = trace(home, f"documents/{source}/a/b.py")
    assert (code, said) == (
        1,
        f"error: documents/{source} has no file or row 'a/b.py'; names are those of source_row\n",
    )
    code, said = trace(home, "code/a.py")
    assert (code, "'code/a.py' is no table of a source" in said, f" documents/{source}" in said) == (1, True, True)


def test_a_trace_whose_reader_has_gone_ends_without_a_word(first_run, home):
    document_id = Store(str(home)).table("corpus/ledger").read().item(0, "document_id")
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "codeft_assets.trace", document_id],
        stdout=writer, stderr=subprocess.PIPE, cwd=ROOT, env=os.environ | {"CODEFT_HOME": str(home)}, check=False,
    )  # fmt: skip
    os.close(writer)
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, b"")


def test_trace_of_an_unknown_document_says_so(first_run, home):
    code, said = trace(home, "0" * 32)
    assert code == 1
    assert "no documents/* table has a document" in said


def test_a_second_run_does_no_work_and_changes_no_hash(first_run, home):
    before = hashes(home)
    second = execute(home, CORPUS)
    assert hashes(home) == before
    for event in second.get_asset_materialization_events():
        found = event.materialization.metadata
        if "units_run" in found:
            assert found["units_run"].value == 0, event.asset_key


def test_one_changed_source_redoes_only_its_shards(first_run, home, tmp_path):
    shutil.copytree(ROOT / "codeft_assets" / "samples", tmp_path / "samples")
    shutil.copytree(home, tmp_path / "home")
    path = tmp_path / "samples" / "o1-journey.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[1:]) + "\n")
    before = hashes(tmp_path / "home")
    result = execute(tmp_path / "home", CORPUS, samples=str(tmp_path / "samples"))
    after = hashes(tmp_path / "home")
    changed = {key for key in after if key.startswith("documents/") and after[key] != before[key]}
    assert changed == {"documents/o1-journey"}
    for key in (("quality", "signals"), ("quality", "scores"), ("dedup", "signatures"), ("decontamination", "matches")):
        assert metadata(result, *key)["units_run"] == 1, key
    assert after["corpus/ledger"] != before["corpus/ledger"]
    # and back again: the hashes of the first run
    execute(tmp_path / "home", CORPUS)
    assert hashes(tmp_path / "home") == before


def cli(home, tmp_path, *arguments):
    dagster_home = tmp_path / "dagster"
    dagster_home.mkdir(exist_ok=True)
    shutil.copy(ROOT / "codeft_assets" / "dagster.yaml", dagster_home / "dagster.yaml")
    environment = os.environ | {"CODEFT_HOME": str(home), "DAGSTER_HOME": str(dagster_home), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "dagster", "asset", "materialize", "-m", "codeft_assets.definitions", *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT, env=environment
    )


def finish(process, kill_when=""):
    """Read the log to its end; kill the process without a word when a line says ``kill_when``."""
    watchdog = threading.Timer(patience.SECONDS, process.kill)
    watchdog.start()
    lines = []
    for line in process.stdout:
        lines.append(line)
        if kill_when and kill_when in line:
            process.send_signal(signal.SIGKILL)
    watchdog.cancel()
    return process.wait(), "".join(lines)


def test_killed_in_the_deduplication_the_next_run_ends_in_the_same_hash(first_run, home, tmp_path):
    before = hashes(home)
    shutil.copytree(home, tmp_path / "home")
    for key in ("signatures", "clusters"):
        shutil.rmtree(tmp_path / "home" / "tables" / "dedup" / key)
    select = ("--select", "group:dedup")
    code, log = finish(
        cli(tmp_path / "home", tmp_path, *select), kill_when='Started execution of step "dedup__clusters"'
    )
    assert code == -signal.SIGKILL, log[-2000:]
    assert not Store(str(tmp_path / "home")).table("dedup/clusters").exists()
    code, log = finish(cli(tmp_path / "home", tmp_path, *select))
    assert code == 0, log[-2000:]
    assert hashes(tmp_path / "home") == before


def test_another_source_is_one_entry_and_one_sample_file(first_run, home, tmp_path):
    shutil.copytree(ROOT / "codeft_assets" / "samples", tmp_path / "samples")
    shutil.copytree(home, tmp_path / "home")
    rows = [{"question": f"How do I add {i} to x in Python?", "answer": f"x = x + {i}"} for i in range(8)]
    (tmp_path / "samples" / "new-source.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    script = f"""
import dagster as dg
from codeft_assets import sources
from codeft_assets.curation.ingest.adapters import PromptResponse
from codeft_assets.origins import HubOrigin
from codeft_assets.source import Source
sources.SOURCES["new-source"] = Source(
    name="new-source", about="A question and its answer.", origin=HubOrigin(repo_id="me/new"),
    adapter=PromptResponse(prompt=("question",), response=("answer",)), domain="code", format="instruct",
    license="MIT", homepage="https://huggingface.co/datasets/me/new")
from tests.test_end_to_end import CORPUS, execute
result = execute({str(tmp_path / "home")!r}, CORPUS, samples={str(tmp_path / "samples")!r})
checks = result.get_asset_check_evaluations()
assert all(check.passed for check in checks), [check for check in checks if not check.passed]
print("sources", len(sources.SOURCES))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"sources {len(SOURCES) + 1}" in done.stdout
    ledger = Store(str(tmp_path / "home")).table("corpus/ledger").read()
    assert ledger.filter(pl.col("source") == "new-source").height == 8
