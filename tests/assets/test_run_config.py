"""The launchpad: choices are listed, values have their own types, and a key that matches nothing is an error."""

import importlib
import pkgutil

import dagster as dg
import pytest
import yaml
from dagster._config.validate import validate_config
from dagster._core.snap.snap_to_yaml import default_values_yaml_from_type_snap
from pydantic import Field

import codeft_assets.defs
from codeft_assets.definitions import defs
from codeft_assets.defs.automation.retention import retention
from codeft_assets.defs.failures import ExplainedError
from codeft_assets.defs.launchpad import bounds, override_texts
from codeft_assets.defs.run_config import check_keys, check_values, checked_workspace
from codeft_assets.defs.settings import RecipeSettings, Settings
from codeft_assets.defs.workspace import Workspace
from codeft_training.recipe_groups import OptimizationConfig
from codeft_training.recipes import RECIPES, find_recipe

JOB = defs.resolve_implicit_global_asset_job_def()

CHOICES = {
    "model__checkpoint": ("recipe", {"default", *RECIPES}),
    "model__tokenizer": ("recipe", {"default", *RECIPES}),
    "corpus__packed": ("long_conversations", {"split", "cut", "drop"}),
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
def test_overrides_are_in_the_scaffold_with_every_field_of_every_recipe(node):
    wanted = {name for recipe in RECIPES.values() for name in recipe.values()}
    assert {*fields(node)["overrides"].config_type.inner_type.fields} == wanted
    schema = JOB.run_config_schema.config_type
    scaffold = yaml.safe_load(default_values_yaml_from_type_snap(schema.schema_snapshot, schema.snapshot))
    assert scaffold["ops"][node]["config"]["overrides"] == {}
    assert scaffold["resources"]["workspace"]["config"]["overrides"] == {}


def while_typing(**overrides):
    """Return the errors that the launchpad's editor shows: the same call is behind ``isPipelineConfigValid``."""
    config = {"ops": {"model__checkpoint": {"config": {"overrides": overrides}}}}
    return [error.message for error in validate_config(JOB.run_config_schema.config_type, config).errors or []]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"max_step": 3}, 'unexpected config entry "max_step"'),
        ({"max_steps": "3"}, 'max_steps. Value "3"'),
        ({"optimizer": "sgd"}, "optimizer not in enum type"),
        ({"learning_rate": "3e-3"}, 'not valid for expected type "Float"'),
        ({"stages": {"name": "a"}}, "stages must be list"),
    ],
)
def test_names_types_and_choices_are_checked_while_typing(overrides, said):
    [message] = while_typing(**overrides)
    assert said in message
    assert not while_typing(max_steps=3, optimizer="adamw", learning_rate=3e-3, stages=[{"name": "a", "share": 1}])


def test_the_editor_shows_the_rule_of_every_number():
    found = fields("model__checkpoint")["overrides"].config_type.inner_type.fields
    for name, rule in OptimizationConfig.RULES.items():
        assert f"Must be {rule.text}." in found[name].description
    assert "Of a recipe that fine-tunes a base model." in found["lora_rank"].description
    assert fields("dedup__clusters")["threshold"].description.endswith("Must be more than 0 and at most 1")
    assert fields("scores__embedded")["limit"].description.endswith("Must be at least 0")
    workspace = JOB.run_config_schema.config_type.fields["resources"].config_type.fields["workspace"].config_type
    for name in ("workers", "gpus"):
        assert workspace.fields["config"].config_type.fields[name].description.endswith("Must be at least 0")


def configurations():
    """Yield every type of configuration: of assets and checks, of optional parts, of jobs, and of the workspace."""
    for module in pkgutil.walk_packages(codeft_assets.defs.__path__, "codeft_assets.defs."):
        for found in vars(importlib.import_module(module.name)).values():
            if isinstance(found, type) and issubclass(found, (Settings, Workspace)):
                yield found


@pytest.mark.parametrize("kind", sorted({*configurations()}, key=str))
def test_every_number_of_a_configuration_has_bounds(kind):
    numbers = {name: field for name, field in kind.model_fields.items() if field.annotation in (int, float)}
    assert {name for name, field in numbers.items() if not bounds(field.metadata)} == set()


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


class Narrow(Settings):
    share: float = Field(default=0.5, ge=0, lt=1, description="Of the rows")


@dg.asset
def narrow(workspace: Workspace, config: Narrow):
    raise AssertionError("it was computed")


@dg.asset
def trained(workspace: Workspace, config: RecipeSettings):
    raise AssertionError("it was computed")


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"narrow": {"share": 1.0}}, "narrow: share = 1.0: Input should be less than 1; correct"),
        ({"trained": {"overrides": {"max_steps": 0}}}, "trained: recipe 'smoke': max_steps = 0 must be at least 1"),
        ({"trained": {"recipe": "laptop", "overrides": {"num_heads": 3}}}, "recipe 'laptop': hidden_size 256 must be"),
        ({"trained": {"overrides": {"lora_rank": 8}}}, "trains from scratch and has no field 'lora_rank'"),
    ],
)
def test_a_value_out_of_its_range_ends_the_run_before_anything_is_computed(config, reason):
    ops = {name: {"config": values} for name, values in config.items()}
    assert reason in ended_by([narrow, trained], {"ops": ops})


def ended_by(assets, config):
    """Return the reason of a run that fails before its first step: its first line, and no frame."""
    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize(
            assets,
            instance=instance,
            resources={"workspace": checked_workspace(assets, [])},
            run_config=config,
            raise_on_error=False,
        )
        [ended] = [e for e in done.all_events if e.event_type is dg.DagsterEventType.RUN_FAILURE]
        assert not [e for e in done.all_events if e.event_type is dg.DagsterEventType.STEP_START]
    error = ended.job_failure_data.error
    assert (error.stack, error.cause) == ([], None)
    return error.message.splitlines()[0]


@pytest.mark.parametrize(
    ("workspace", "variables", "reason"),
    [
        ({"workers": -1}, {}, "workspace: workers = -1: Input should be greater than or equal to 0; correct the run's"),
        ({"gpus": -2}, {}, "workspace: gpus = -2: Input should be greater than or equal to 0; correct the run's"),
        ({"executor": "pool"}, {}, "executor 'pool' is not one of local, processes, ray, ray://host:port; set"),
        ({"overrides": {"max_steps": 0}}, {}, "recipe 'smoke': max_steps = 0 must be at least 1"),
        ({}, {"CODEFT_WORKERS": "two"}, "CODEFT_WORKERS='two' is not a number of at least 0; change it, or unset it"),
        ({}, {"CODEFT_GPUS": "0.5"}, "CODEFT_GPUS=0.5 is not a whole number; change it, or unset it"),
        ({}, {"CODEFT_PROFILE": "small"}, "profile 'small' is not one of ('sample', 'full'); set CODEFT_PROFILE"),
        ({}, {"CODEFT_RECIPE": "smok"}, "recipe 'smok'"),
    ],
)
def test_a_wrong_workspace_ends_the_run_before_anything_is_computed(workspace, variables, reason, monkeypatch):
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    assert ended_by([narrow], {"resources": {"workspace": {"config": workspace}}}).startswith(reason)


@pytest.mark.parametrize(
    ("node", "values", "reason"),
    [
        ("corpus__mixture_plan", {"code_share": 0.8, "math_share": 0.5}, "none be negative, and add up to 1"),
        ("quality__scores", {"thresholds": {"open-tora": "1.5"}}, "'1.5' is neither an educational value in 0..1"),
        ("quality__scores", {"thresholds": {"open-tor": "0.5"}}, "which are not in the catalogue; it has ["),
        ("quality__annotations", {"annotator": "model"}, "annotator 'model' needs model: the Hub id or folder"),
        ("quality__annotations", {"seed": -1}, "seed = -1: Input should be greater than or equal to 0"),
        ("corpus__packed", {"sources": ["open-tor"]}, "sources ['open-tor'] are not in the catalogue; it has ["),
        ("scores__reference_measured", {"models": {}}, "models {}: name at least one"),
        ("delete_old_versions", {"keep_last": 0}, "keep_last = 0: Input should be greater than or equal to 1"),
    ],
)
def test_what_no_bound_of_one_field_says_is_checked_as_early(node, values, reason):
    ops = {key: op for key, op in every_op().items() if key == node}
    with pytest.raises(ExplainedError) as raised:
        check_values({"ops": {node: {"config": values}}}, ops, Workspace())
    assert str(raised.value).startswith(f"{node}: ")
    assert reason in str(raised.value)


def test_the_other_jobs_are_checked_as_well():
    with pytest.raises(dg.DagsterError, match=r"delete_old_versions: keep_last = 0: Input should be greater"):
        defs.resolve_job_def("retention").execute_in_process(
            run_config={"ops": {"delete_old_versions": {"config": {"keep_last": 0}}}}
        )


def every_op():
    ops = [found.op for found in defs.assets if isinstance(found, dg.AssetsDefinition) and found.is_executable]
    return {op.name: op for op in [*ops, *(node.definition for node in retention.nodes)]}


def run(config):
    two = dg.Definitions(assets=[used, other], resources={"workspace": checked_workspace([used, other], [])})
    job = two.resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        return job.execute_in_process(instance=instance, asset_selection=[used.key], run_config=config)


@pytest.mark.parametrize("key", ["documents__open-tora", "documents__open_tra"])
def test_a_run_with_such_a_key_fails_and_one_with_the_key_of_another_asset_does_not(key):
    with pytest.raises(dg.DagsterError, match=f"names '{key}', which is no asset"):
        run({"ops": {key: {"config": {}}}})
    assert run({"ops": {"other": {}}}).success


def test_values_of_a_recipe_need_no_quotes():
    texts = override_texts({"max_steps": 300, "learning_rate": 1e-3, "name": "a"})
    assert texts == {"max_steps": "300", "learning_rate": "0.001", "name": "a"}
    recipe = Workspace(recipe="smoke", overrides={"max_steps": 300}).chosen_recipe("", {})
    assert recipe == find_recipe("smoke", {"max_steps": "300"})


def test_overrides_that_are_null_are_none():
    assert RecipeSettings(overrides=None).overrides.texts() == Workspace(overrides=None).overrides.texts() == {}
    assert RecipeSettings(overrides={"bf16": True, "max_steps": None}).overrides.texts() == {"bf16": "true"}
