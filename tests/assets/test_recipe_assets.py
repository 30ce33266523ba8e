"""Tokenizer, packed rows and checkpoint take their recipe, its changed fields and the rows' filters from a launch."""

import json

import dagster as dg
import pyarrow.parquet as pq
import pytest

from codeft_assets.definitions import defs
from codeft_assets.defs.messages import program_client
from codeft_assets.defs.workspace import Workspace
from codeft_training.data.packed_rows import PackedRows
from tests.assets.test_train_and_score import write_corpus

pytestmark = pytest.mark.slow
SHAPE = {"context_tokens": 64, "hidden_size": 32, "num_layers": 1, "num_heads": 2, "num_kv_heads": 1}
SMALL = SHAPE | {"vocab_size": 320, "intermediate_size": 48, "batch_rows": 2, "max_steps": 8}
STAGES = [
    {"name": "broad", "share": 0.75, "mixture": {"domain=code|math": 1}},
    {"name": "chat", "share": 0.25, "start_rate": 0.5, "end_rate": 0.0, "mixture": {"source=code-review": 1}},
]


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    for name in ("CODEFT_RECIPE", "CODEFT_RECIPE_OVERRIDES"):
        monkeypatch.delenv(name, raising=False)
    found = Workspace(root=str(tmp_path), profile="sample", workers=1)
    write_corpus(found.store)
    return found


def materialize(workspace, *keys, **config):
    """Materialize assets with the configuration of each; resources by their names."""
    job = defs.resolve_implicit_global_asset_job_def().get_subset(
        asset_selection={dg.AssetKey(key.split("/")) for key in keys}
    )
    resources = {"workspace": workspace, "pipes": program_client()}
    ops = {"ops": {name: {"config": values} for name, values in config.items()}}
    with dg.DagsterInstance.ephemeral() as instance:
        done = job.execute_in_process(instance=instance, resources=resources, run_config=ops)
    return {
        event.asset_key.to_user_string(): event.materialization.metadata
        for event in done.get_asset_materialization_events()
    }


def packed(workspace):
    return PackedRows(workspace.store.folder("corpus/packed") / "rows")


def test_overrides_and_filters_of_the_assets_reach_vocabulary_and_rows(workspace):
    found = materialize(
        workspace,
        *("model/tokenizer", "corpus/packed"),
        model__tokenizer={"recipe": "laptop", "overrides": {"vocab_size": 300}, "sample_megabytes": 1},
        corpus__packed={
            "recipe": "laptop",
            "overrides": {"context_tokens": 32},
            "sources": ["comp-math"],
            "formats": ["raw"],
            "languages": ["python"],
            "fim_rate": 0.5,
            "long_conversations": "drop",
        },
    )
    assert found["model/tokenizer"]["vocab_size"].value == 300
    manifest = packed(workspace).manifest()
    assert (manifest["context_tokens"], manifest["vocab_size"]) == (32, 300)
    assert manifest["selection"] == {"source": ["comp-math"], "format": ["raw"], "language": ["python"]}
    assert json.loads(found["corpus/packed"]["selection"].value) == manifest["selection"]
    options = manifest["options"]
    assert (options["fim_rate"], options["long_conversations"], options["grouped"]) == (0.5, "drop", False)
    index = pq.read_table(packed(workspace).folder / "train.index.parquet")
    assert set(index["source"].to_pylist()) == {"comp-math"}


@pytest.mark.parametrize("config", [{"sources": ["comp-maths"]}, {"languages": ["cobol"]}, {"formats": ["agent"]}])
def test_a_filter_that_leaves_nothing_fails_the_asset_and_keeps_the_rows(workspace, config):
    materialize(workspace, "model/tokenizer", "corpus/packed", model__tokenizer={"overrides": {"vocab_size": 300}})
    before = packed(workspace).manifest()
    with pytest.raises(Exception, match=r"has no training documents with"):
        materialize(workspace, "corpus/packed", corpus__packed=config)
    assert packed(workspace).manifest() == before


@pytest.mark.parametrize("asset", ["model/tokenizer", "corpus/packed"])
def test_a_field_that_no_recipe_has_fails_before_any_process(workspace, asset):
    with pytest.raises(dg.DagsterInvalidConfigError, match=r'unexpected config entry "vocabulary"'):
        materialize(workspace, asset, **{asset.replace("/", "__"): {"overrides": {"vocabulary": 300}}})


def test_one_recipe_of_the_workspace_is_that_of_tokenizer_rows_and_checkpoint(workspace):
    overrides = SMALL | {"decay_fraction": 0, "stages": STAGES}
    named = Workspace(**(workspace.model_dump() | {"recipe": "smoke", "overrides": overrides}))
    found = materialize(named, "model/tokenizer", "corpus/packed", "model/checkpoint")
    assert found["model/tokenizer"]["vocab_size"].value == 320
    assert packed(workspace).manifest()["context_tokens"] == 64
    metadata = found["model/checkpoint"]
    assert metadata["base_model"].value == "none: from scratch"
    assert "| chat | 2 | 256 |" in metadata["stages"].value
    lineage = json.loads((workspace.store.folder("model/checkpoint") / "lineage.json").read_text())
    assert [(stage["name"], stage["num_steps"]) for stage in lineage["run"]["stages"]] == [("broad", 6), ("chat", 2)]
    assert lineage["run"]["recipe"] == "smoke"
    assert lineage["tables"]  # of the corpus, as before the run
