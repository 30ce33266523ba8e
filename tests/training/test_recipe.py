"""A recipe has the fields that its engine reads, no others, and says what is wrong with a value."""

import ast
import json
import math
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import pytest

from codeft_training.recipe import FinetuneRecipe, read_recipe
from codeft_training.recipes import RECIPES, find_recipe

ROOT = Path(__file__).parents[2]
FROM_SCRATCH, FINE_TUNED = RECIPES["smoke"], RECIPES["qwen2.5-0.5b-sft"]


def test_the_hash_of_a_recipe_follows_its_values_not_its_name():
    assert replace(FROM_SCRATCH, name="other", about="x").hash == FROM_SCRATCH.hash
    for recipe in RECIPES.values():
        changed = {name: other_value(value) for name, value in recipe.values().items()}
        hashes = {hash_with(recipe, name, value) for name, value in changed.items()}
        assert recipe.hash not in hashes
        assert len(hashes) == len(changed)  # each field counts by itself


def other_value(value):
    if isinstance(value, list):
        return [*value, {"name": "a", "share": 1.0}]
    return not value if isinstance(value, bool) else f"{value}x" if isinstance(value, str) else value + 1


def hash_with(recipe, name, value):
    """Return the hash of the recipe with one value replaced, whether or not the value is in its range."""
    record = recipe.record() | {name: value}
    try:
        return read_recipe(record).hash
    except ValueError:
        return f"refused {name}"


@pytest.mark.parametrize("recipe", [FROM_SCRATCH, FINE_TUNED], ids=lambda recipe: recipe.name)
def test_a_flat_name_belongs_to_one_group(recipe):
    groups = [getattr(recipe, entry.name) for entry in fields(recipe) if is_dataclass(getattr(recipe, entry.name))]
    names = [entry.name for group in groups for entry in fields(group)]
    assert sorted(names) == sorted(recipe.values())


def attributes_read(node):
    """Yield the names of all attributes below a syntax tree, the checks of ranges left out."""
    if isinstance(node, ast.Attribute):
        yield node.attr
    if not (isinstance(node, ast.FunctionDef) and node.name == "__post_init__"):
        for child in ast.iter_child_nodes(node):
            yield from attributes_read(child)


def test_no_field_is_dead():
    trees = [ast.parse(path.read_text()) for path in (ROOT / "codeft_training").rglob("*.py")]
    read = {name for tree in trees for name in attributes_read(tree)}
    assert {*FROM_SCRATCH.values(), *FINE_TUNED.values()} <= read


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_a_recipe_survives_json(recipe):
    assert read_recipe(json.loads(json.dumps(recipe.record()))) == recipe


@pytest.mark.parametrize("change", [{"max_step": 1}, {"lora_rank": 0}])
def test_a_record_with_an_unknown_field_is_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        read_recipe(FROM_SCRATCH.record() | change)


def test_a_record_that_lacks_a_field_is_refused():
    record = FROM_SCRATCH.record()
    del record["z_loss"]
    with pytest.raises(ValueError, match="z_loss"):
        read_recipe(record)


@pytest.mark.parametrize("record", [None, [], "x", 3])
def test_a_record_that_is_no_object_is_refused(record):
    with pytest.raises(ValueError, match="must have its fields by name, not be .*; write it by Recipe.record"):
        read_recipe(record)


def test_a_record_says_which_fields_it_lacks_and_which_are_unknown():
    record = FROM_SCRATCH.record() | {"lora_rank": 0}
    del record["z_loss"]
    with pytest.raises(ValueError, match=r"trains from scratch lacks \['z_loss'\] and has the unknown .*'lora_rank'"):
        read_recipe(record)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"max_steps": "300"}, "max_steps = '300' must be a whole number"),
        ({"max_steps": 1.5}, "a whole number"),
        ({"max_steps": True}, "a whole number"),
        ({"max_steps": None}, "a whole number"),
        ({"max_steps": 2**63}, "a whole number of 64 bits"),
        ({"bf16": "yes"}, "bf16 = 'yes' must be true or false"),
        ({"bf16": 1}, "true or false"),
        ({"learning_rate": math.nan}, "learning_rate = nan must be a finite number"),
        ({"learning_rate": math.inf}, "a finite number"),
        ({"learning_rate": 10**400}, "a finite number"),
        ({"learning_rate": False}, "a finite number"),
        ({"learning_rate": "x"}, "a finite number"),
        ({"optimizer": ["muon"]}, "must be text"),
        ({"name": 3}, "name = 3 must be text"),
        ({"about": None}, "about = None must be text"),
    ],
)
def test_a_record_with_a_value_of_another_type_is_refused(change, rule):
    with pytest.raises(ValueError, match=rule):
        read_recipe(FROM_SCRATCH.record() | change)


def test_a_whole_number_of_a_float_is_the_same_recipe_and_hash():
    whole, decimal = FROM_SCRATCH.override(learning_rate=1), FROM_SCRATCH.override(learning_rate=1.0)
    assert (whole, whole.hash, whole.record()) == (decimal, decimal.hash, decimal.record())


@pytest.mark.parametrize("name", ["learning_rate", "weight_decay", "max_grad_norm", "z_loss", "budget_seconds"])
@pytest.mark.parametrize("text", ["inf", "-inf", "nan", "1e400"])
def test_an_override_that_is_not_finite_is_refused(name, text):
    with pytest.raises(ValueError, match=f"recipe 'smoke': {name} = .* must be a finite number"):
        find_recipe("smoke", {name: text})


def test_overrides_reach_their_group_and_leave_the_recipe_alone():
    changed = FROM_SCRATCH.parse({"max_steps": "7", "hidden_size": "64", "bf16": "True", "budget_seconds": "5"})
    assert changed.schedule.max_steps == 7
    assert changed.model.hidden_size == 64
    assert changed.precision.bf16 is True
    assert changed.pretraining.budget_seconds == 5.0
    assert FROM_SCRATCH.schedule.max_steps != 7


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("nope", {}, "recipe 'nope' does not exist; choose one of"),
        ("smoke", {"learning": "1"}, "no field 'learning'; it has .*'learning_rate'"),
        ("smoke", {"max_steps": "many"}, "max_steps = 'many' must be of type int"),
        ("smoke", {"bf16": "yes"}, "bf16 = 'yes' must be true or false"),
        ("smoke", {"seed": "-1"}, "recipe 'smoke': seed = -1 must be in 0..4294967295"),
        ("smoke", {"seed": str(2**32)}, "seed = 4294967296 must be in 0..4294967295"),
        ("smoke", {"max_steps": "0"}, "recipe 'smoke': max_steps = 0 must be at least 1"),
        ("smoke", {"num_heads": "3"}, "must be divisible by num_heads 3"),
        ("smoke", {"learning_rate": "0"}, "learning_rate = 0.0 must be positive"),
        ("smoke", {"decay_fraction": "1.0"}, "together at most 1"),
        ("smoke", {"optimizer": "sgd"}, "optimizer = 'sgd' must be one of"),
        ("smoke", {"compile": "yes"}, "compile = 'yes' must be one of"),
        ("smoke", {"budget_seconds": "-1"}, "budget_seconds = -1.0 must be at least 0"),
        ("smoke", {"parallel": "shard"}, "parallel = 'shard' needs optimizer = 'adamw' and compile = 'off'"),
        ("smoke", {"log_every_steps": "0"}, "log_every_steps = 0 must be at least 1"),
        ("qwen2.5-0.5b-sft", {"lora_rank": "-1"}, "lora_rank = -1 must be at least 0"),
        ("qwen2.5-0.5b-sft", {"base_model": ""}, "base_model = '' must be a Hub id or a folder"),
    ],
)
def test_a_wrong_recipe_says_what_is_wrong(name, changes, message):
    with pytest.raises(ValueError, match=message):
        find_recipe(name, changes)


@pytest.mark.parametrize("field", ["lora_rank", "base_model"])
def test_a_recipe_from_scratch_has_no_field_of_fine_tuning(field):
    with pytest.raises(
        ValueError, match=f"'smoke' trains from scratch and has no field '{field}'; it has .*hidden_size"
    ):
        find_recipe("smoke", {field: "4"})


@pytest.mark.parametrize("field", ["hidden_size", "vocab_size", "z_loss", "optimizer", "parallel", "budget_seconds"])
def test_a_recipe_that_fine_tunes_has_no_field_that_trl_would_ignore(field):
    with pytest.raises(ValueError, match=f"fine-tunes a base model and has no field '{field}'; it has .*lora_rank"):
        find_recipe(FINE_TUNED.name, {field: "1"})


@pytest.mark.parametrize("name", [name for name, recipe in RECIPES.items() if isinstance(recipe, FinetuneRecipe)])
def test_recipes_that_fine_tune_read_the_same_tokens_a_step(name):
    assert RECIPES[name].data.tokens_per_step == FINE_TUNED.data.tokens_per_step
