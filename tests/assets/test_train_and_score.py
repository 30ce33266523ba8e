"""From a small corpus to the scoreboard, twice: the part of the graph that trains and scores."""

import json

import dagster as dg
import duckdb
import polars as pl
import pytest

from codeft_assets.curation.report import StageReport
from codeft_assets.definitions import defs
from codeft_assets.defs.messages import program_client
from codeft_assets.defs.workspace import Workspace
from codeft_assets.sources import SOURCES
from codeft_assets.store.catalog import catalog_path
from codeft_assets.store.manifest import Manifest
from tests.eval.checkpoints import write_checkpoint
from tests.training.corpus_folder import SCHEMA, default_rows

pytestmark = pytest.mark.slow
SCORED = ("scores/embedded", "scores/composed", "scores/composed_basic", "scores/competition_math", "scoreboard")
TRAINED = ("model/checkpoint", "scores/reference_measured", *SCORED)
KEYS = ("model/tokenizer", "corpus/packed", *TRAINED)
SMALL = {"batch_rows": 4, "hidden_size": 32, "num_layers": 1, "intermediate_size": 48, "log_every_steps": 2}
SMALL |= {"validate_every_steps": 4, "validation_rows": 4}
SOURCE_OF = {"plain": "comp-math", "chat": "code-review"}


def commit(store, key, frame):
    table = store.table(key)
    shard = table.write_shard("shards/0.parquet", frame.to_arrow(), unit="0")
    report = StageReport(num_in=frame.height, num_out=frame.height)
    facts = {"stage": key, "code_version": "1", "parameters": {}, "fingerprints": ("0",), "report": report}
    table.commit(Manifest(key=key, shards=(shard,), **facts))


def write_corpus(store):
    types = {"epochs": pl.UInt8, "annealing_epochs": pl.UInt8}
    rows = [row | {"source": SOURCE_OF[row["source"]], "revision": "r1"} for row in default_rows()]
    assert {*SOURCE_OF.values()} <= SOURCES.keys()
    commit(store, "corpus/mixture", pl.from_dicts(rows, schema_overrides=types).select(*SCHEMA.names, "revision"))
    commit(store, "corpus/ledger", pl.DataFrame({"source": ["comp-math"], "fate": ["kept"]}))
    found = {
        "benchmark": ["embedded"] * 2,
        "task_id": ["codeft/0"] * 2,
        "document_id": ["a", "b"],
        "view": ["words"] * 2,
    }
    commit(store, "decontamination/matches", pl.DataFrame(found))
    problem = {"task_id": "comp-math/0", "problem": "Find x.", "solution": "x = 80.", "answer": "80"}
    commit(store, "decontamination/held_out", pl.DataFrame([problem | {"document_ids": ["c"]}]))


def materialize(workspace, reference, *, max_steps, keys=KEYS):
    selection = {dg.AssetKey(key.split("/")) for key in keys}
    job = defs.resolve_implicit_global_asset_job_def().get_subset(asset_selection=selection)
    ops = {
        "model__tokenizer": {"config": {"recipe": "smoke"}},
        "model__checkpoint": {"config": {"recipe": "smoke", "overrides": SMALL | {"max_steps": max_steps}}},
        **{f"scores__{name}": {"config": {"limit": 4}} for name in ("embedded", "composed", "composed_basic")},
        "scores__reference_measured": {"config": {"models": {"Qwen2.5-Coder-0.5B": reference}, "limit": 4}},
    }
    config = {"ops": {name: ops[name] for name in ops if name.replace("__", "/") in keys}}
    resources = {"workspace": workspace, "pipes": program_client()}
    with dg.DagsterInstance.ephemeral() as instance:
        done = job.execute_in_process(instance=instance, resources=resources, run_config=config, raise_on_error=True)
    events = done.get_asset_materialization_events()
    return {event.asset_key.to_user_string(): event.materialization for event in events}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    found = Workspace(root=str(tmp_path_factory.mktemp("home")), profile="sample", workers=1)
    write_corpus(found.store)
    return found


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return str(write_checkpoint(tmp_path_factory.mktemp("reference") / "weights", seed=9))


@pytest.fixture(scope="module")
def first(workspace, reference):
    return materialize(workspace, reference, max_steps=8)


def test_evaluation_texts_are_measured_while_training_and_plotted(workspace, first):
    metadata = first["model/checkpoint"].metadata
    assert "svg" in metadata["probe"].value
    assert metadata["probe_fraction"].value < 1
    folder = workspace.store.folder("model/checkpoint")
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    evaluated = [entry for entry in lines if "probe_seconds" in entry]
    assert [entry["step"] for entry in evaluated] == [4, 8]
    names = {f"probe_bits_per_byte_{domain}" for domain in ("competition_math", "code", "embedded")}
    assert names <= evaluated[0].keys()


def test_the_scoreboard_sets_the_measured_reference_beside_ours(workspace, first):
    folder = workspace.store.folder("scoreboard")
    board = json.loads((folder / "scoreboard.json").read_text())
    raw = [row for row in board["rows"] if row["protocol_name"] == "raw"]
    own = [row for row in raw if row["reference_model"] == "Qwen2.5-Coder-0.5B"]
    rows = {row["metric"]: row for row in own if row["benchmark"] == "embedded"}
    assert {row["provenance"] for row in raw} == {"measured"}
    chats = {row["reference_model"] for row in board["rows"] if row["protocol_name"] == "chat"}
    assert chats == {"Qwen2.5-Coder-0.5B-Instruct-Q4_K_M", "SmolLM2-135M-Instruct-Q4_1"}  # shipped
    assert rows["bits_per_byte"]["comparison"]["n"] == 4
    assert rows["pass@1"]["num_leaked"] == 1
    assert board["num_tokens"] == board["history"][0]["num_tokens"] > 0
    metadata = first["scoreboard"].metadata
    assert "data:image/svg+xml" in metadata["plot"].value
    assert "progress" not in metadata  # one checkpoint is no curve
    assert str((folder / "scoreboard.html").resolve()).endswith(metadata["page"].value)


def test_the_samples_of_both_models_are_a_view_of_the_catalog(workspace, first):
    with duckdb.connect(str(catalog_path(workspace.store)), read_only=True) as connection:
        rows = connection.sql(
            "SELECT model, benchmark, protocol_name, count(*) FROM samples GROUP BY ALL ORDER BY ALL"
        ).fetchall()
    composed = [("composed", "raw", 4), ("composed_basic", "raw", 4)]
    counts = [("competition_math", "raw", 1), *composed, ("embedded", "raw", 4)]
    theirs = [("Qwen2.5-Coder-0.5B", *count) for count in counts]
    # ours has a chat template and is scored by a chat too
    ours = [*(("ours", *count) for count in counts[:3]), ("ours", "embedded", "chat", 4), ("ours", *counts[3])]
    assert rows == theirs + ours


def test_the_same_checkpoint_twice_is_the_same_scoreboard(workspace, reference, first):
    folder = workspace.store.folder("scoreboard")
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    keys = ("scores/embedded", "scoreboard")  # another benchmark is ten seconds more
    again = materialize(workspace, reference, max_steps=8, keys=keys)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    versions = [found["scoreboard"].tags["dagster/data_version"] for found in (first, again)]
    assert versions[0] == versions[1]


def test_another_checkpoint_joins_the_history_and_without_weights_the_reason_is_told(workspace, first):
    found = materialize(workspace, "Qwen/Qwen2.5-Coder-0.5B", max_steps=12, keys=TRAINED)
    assert "the Hub is not asked in this profile" in found["scores/reference_measured"].metadata["measured"].value
    board = json.loads((workspace.store.folder("scoreboard") / "scoreboard.json").read_text())
    tokens = [point["num_tokens"] for point in board["history"]]
    assert len(tokens) == 2
    assert tokens[0] < tokens[1]
    changed = {"competition_math", "composed", "composed_basic", "embedded", "embedded-chat"}
    assert {change["benchmark"] for change in board["changes"]} == changed
