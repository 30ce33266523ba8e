"""Parts that a user switches on: absent until they are named, and then assets like all others."""

import json
import os
import subprocess
import sys

import dagster as dg
import pytest

from codeft_assets.definitions import defs
from codeft_assets.defs import optional
from codeft_assets.defs.workspace import Workspace
from codeft_eval.__main__ import main as evaluate
from tests.eval.checkpoints import write_checkpoint


@pytest.fixture(params=optional.PARTS)
def part(request, monkeypatch):
    monkeypatch.setenv(optional.VARIABLE, request.param)
    return request.param, optional.optional_assets()


def test_a_part_has_the_assets_that_it_says_each_described_and_named_as_its_key(part):
    name, found = part
    assert sorted(asset.key.to_user_string() for asset in found) == sorted(optional.PARTS[name])
    for asset in found:
        spec = asset.get_asset_spec(asset.key)
        assert asset.op.compute_fn.decorated_fn.__name__ == asset.key.path[-1]
        assert spec.description
        assert spec.group_name not in {None, "default"}
        assert spec.kinds
        assert spec.owners
        assert spec.code_version
        fields = getattr(asset.op.config_schema.config_type, "fields", {})
        assert all(field.description for field in fields.values()), asset.key


def test_nothing_of_a_part_is_there_until_it_is_named():
    keys = {key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()}
    assert not {key for keys in optional.PARTS.values() for key in keys} & keys


def test_a_part_that_does_not_exist_is_named(monkeypatch):
    monkeypatch.setenv(optional.VARIABLE, "preferences, selektion")
    with pytest.raises(ValueError, match="CODEFT_PARTS names 'selektion'; there are preferences"):
        optional.optional_assets()


def test_the_code_location_has_a_part_once_it_is_named():
    script = (
        "from codeft_assets.definitions import defs; print(len(list(defs.resolve_asset_graph().get_all_asset_keys())))"
    )
    environment = {**os.environ, optional.VARIABLE: ",".join(optional.PARTS)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    usual = len(list(defs.resolve_asset_graph().get_all_asset_keys()))
    assert int(done.stdout) - usual == sum(map(len, optional.PARTS.values()))


@pytest.mark.slow
def test_preferences_go_from_attempts_to_a_checkpoint_with_its_lineage(tmp_path, monkeypatch):
    from codeft_assets.defs.optional import preferences

    workspace = Workspace(root=str(tmp_path / "home"), profile="sample", workers=1)
    trained = workspace.store.folder("model/checkpoint")
    write_checkpoint(trained / "checkpoint", context_tokens=1024, special_tokens=["<|im_start|>", "<|im_end|>"])
    (trained / "lineage.json").write_text(json.dumps({"tables": {"corpus/mixture": "abc"}}))

    def materialize(asset, **config):
        ops = {asset.op.name: {"config": config}} if config else {}
        resources = {"workspace": workspace, "pipes": dg.PipesSubprocessClient()}
        with dg.DagsterInstance.ephemeral() as instance:
            done = dg.materialize([asset], instance=instance, resources=resources, run_config={"ops": ops})
        return done.asset_materializations_for_node(asset.op.name)[0].metadata

    drawn = materialize(preferences.attempts, exercises=4, num_samples=2)
    assert drawn["num_samples"].value == 2
    exercises = [json.loads(line) for line in preferences._exercises(workspace).read_text().splitlines()]
    stored = tmp_path / "stored.jsonl"  # a model of this size solves none
    stored.write_text(
        "".join(
            json.dumps({"task_id": row["task_id"], "completion": text}) + "\n"
            for number, row in enumerate(exercises)
            for right in [row["canonical_solution"]]
            for text in (right, right.replace("return ", ("return not ", "x = ")[number % 2]))
        )
    )
    monkeypatch.setenv("CODEFT_OWN_BENCHMARKS", str(preferences._exercises(workspace)))
    output = str(preferences._folder(workspace, "attempts"))
    replay = ["replay", "--benchmark", "practice", "--generations", str(stored), "--output", output]
    assert evaluate(replay) == 0
    monkeypatch.delenv("CODEFT_OWN_BENCHMARKS")
    assert materialize(preferences.pairs)["dagster/row_count"].value >= 2
    overrides = {"pairs_per_step": 2, "batch_pairs": 1, "learning_rate": 1e-3, "log_every_steps": 1}
    found = materialize(preferences.preferred, overrides=overrides)
    lineage = json.loads((preferences._folder(workspace, "preferred") / "lineage.json").read_text())
    assert lineage["base"]["tables"] == {"corpus/mixture": "abc"}
    assert lineage["run"]["pairs"]["benchmarks"] == ["practice"]
    assert lineage["run"]["base_hash"] == found["base_hash"].value
