"""Automation trains the recipe that the user chose, with the fields that the user chose."""

import pytest

from codeft_assets.defs.workspace import Workspace
from codeft_training.recipes import find_recipe


def test_a_launch_without_a_recipe_takes_the_users(monkeypatch):
    monkeypatch.setenv("CODEFT_RECIPE", "qwen2.5-0.5b-sft")
    monkeypatch.setenv("CODEFT_RECIPE_OVERRIDES", '{"base_model": "/a/model", "max_steps": 7}')
    wanted = find_recipe("qwen2.5-0.5b-sft", {"base_model": "/a/model", "max_steps": "7"})
    assert Workspace().chosen_recipe("", {}) == wanted
    assert Workspace().chosen_recipe("", {"max_steps": "9"}) == wanted.override(max_steps=9)
    assert Workspace().chosen_recipe("laptop", {}) == find_recipe("laptop")


@pytest.mark.parametrize("text", ["x", "[]", "3"])
def test_overrides_that_are_no_json_object_are_named(monkeypatch, text):
    monkeypatch.setenv("CODEFT_RECIPE_OVERRIDES", text)
    with pytest.raises(ValueError, match="CODEFT_RECIPE_OVERRIDES .* must be JSON such as"):
        Workspace().chosen_recipe("", {})


def test_a_wrong_field_of_the_environment_says_where_it_stands(monkeypatch):
    monkeypatch.setenv("CODEFT_RECIPE_OVERRIDES", '{"max_steps": -4}')
    with pytest.raises(ValueError, match=r"max_steps = -4 must be at least 1 .*overrides in a codeft.toml"):
        Workspace().chosen_recipe("", {})


def test_who_names_the_recipe_names_the_fields_that_differ(monkeypatch):
    monkeypatch.setenv("CODEFT_RECIPE", "laptop")
    monkeypatch.setenv("CODEFT_RECIPE_OVERRIDES", '{"max_steps": 7}')
    workspace = Workspace(recipe="smoke", overrides={"seed": "3", "max_steps": "8"})
    assert workspace.chosen_recipe("", {}) == find_recipe("smoke", {"seed": "3", "max_steps": "8"})
    assert workspace.chosen_recipe("", {"max_steps": "9"}) == find_recipe("smoke", {"seed": "3", "max_steps": "9"})
    assert workspace.chosen_recipe("laptop", {}) == find_recipe("laptop")
    assert Workspace(recipe="smoke").chosen_recipe("", {}) == find_recipe("smoke")
    assert Workspace(overrides={"seed": "3"}).chosen_recipe("", {}) == find_recipe(
        "laptop", {"max_steps": "7", "seed": "3"}
    )
