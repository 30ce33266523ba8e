"""The launchpad: choices are listed, values have their own types, and a key that matches nothing is an error."""

import dagster as dg
import pytest

from codeft_assets.definitions import defs
from codeft_assets.defs.run_config import check_keys, checked_workspace
from codeft_assets.defs.workspace import Workspace, override_texts
from codeft_training.recipes import RECIPES, find_recipe

CHOICES = {
    "model__checkpoint": ("recipe", {"default", *RECIPES}),
    "model__tokenizer": ("recipe", {"default", *RECIPES}),
    "corpus__packed": ("recipe", {"default", *RECIPES}),
    "quality__classifier": ("kind", {"forest", "linear"}),
    "quality__annotations": ("annotator", {"shipped", "endpoint", "model"}),
}


def fields(node):
    [definition] = [found for found in defs.assets if getattr(found, "node_def", None) and found.node_def.name == node]
    return definition.op.config_schema.config_type.fields


@pytest.mark.parametrize("node", CHOICES)
def test_choices_are_enums(node):
    name, wanted = CHOICES[node]
    kind = fields(node)[name].config_type
    assert {value.config_value for value in getattr(kind, "inner_type", kind).enum_values} == wanted


@pytest.mark.parametrize("node", ["model__checkpoint", "model__tokenizer", "corpus__packed"])
def test_overrides_are_in_the_scaffold(node):
    assert fields(node)["overrides"].default_value == {}


@dg.asset(key=["documents", "open_tora"])
def used(workspace: Workspace):
    """Needs what every asset needs."""


@dg.asset
def other(workspace: Workspace):
    """As well."""


@pytest.mark.parametrize("key", ["documents__open-tora", "documents/open_tora", "documents__open_tra"])
def test_a_key_that_matches_nothing_is_an_error_that_names_what_was_meant(key):
    with pytest.raises(ValueError, match=rf"names '{key}', which is no asset.*such as 'documents__open_tora'"):
        check_keys({"ops": {key: {}}}, {"documents__open_tora", "model__checkpoint"})


def test_a_key_of_an_asset_that_this_run_leaves_out_is_none():
    check_keys({"ops": {"model__checkpoint": {}}}, {"documents__open_tora", "model__checkpoint"})
    check_keys({}, set())


def run(config):
    two = dg.Definitions(assets=[used, other], resources={"workspace": checked_workspace([used, other], [])})
    job = two.resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        return job.execute_in_process(instance=instance, asset_selection=[used.key], run_config=config)


@pytest.mark.parametrize("key", ["documents__open-tora", "documents__open_tra"])
def test_a_run_with_such_a_key_fails_and_one_with_the_key_of_another_asset_does_not(key):
    with pytest.raises(dg.DagsterError, match="workspace") as failed:
        run({"ops": {key: {"config": {}}}})
    assert f"names '{key}', which is no asset" in str(failed.value.__cause__)
    assert run({"ops": {"other": {}}}).success


def test_values_of_a_recipe_need_no_quotes():
    texts = override_texts({"max_steps": 300, "learning_rate": 1e-3, "name": "a"})
    assert texts == {"max_steps": "300", "learning_rate": "0.001", "name": "a"}
    recipe = Workspace(recipe="smoke", overrides={"max_steps": 300}).chosen_recipe("", {})
    assert recipe == find_recipe("smoke", {"max_steps": "300"})
