"""The command line: a recipe comes by name for people, resolved for programs."""

import json

import pytest

from codeft_training import commands
from codeft_training.__main__ import _parser
from codeft_training.recipes import find_recipe

TRAIN = ["train", "--output", "o", "--tokenizer", ".", "--packed", "."]


def recipe_of(*arguments):
    return commands._recipe(_parser().parse_args([*TRAIN, *arguments]))


def test_a_resolved_recipe_is_the_one_that_a_name_and_overrides_give():
    recipe = find_recipe("laptop", {"max_steps": "7"})
    assert recipe_of("--recipe", "laptop", "--set", "max_steps=7") == recipe
    assert recipe_of("--recipe-json", json.dumps(recipe.record())) == recipe
    assert recipe_of() == find_recipe("smoke")


def test_a_recipe_comes_in_one_way_only():
    with pytest.raises(ValueError, match="not allowed with argument"):
        recipe_of("--recipe", "laptop", "--recipe-json", "{}")


def test_a_malformed_override_is_named():
    with pytest.raises(ValueError, match="--set takes NAME=VALUE, not 'max_steps'"):
        recipe_of("--set", "max_steps")


@pytest.mark.parametrize("text", ["", "x", "{'name': 1}"])
def test_a_record_that_is_no_json_is_named(text):
    with pytest.raises(ValueError, match=r"--recipe-json .* must be JSON: .*; write it by json.dumps") as found:
        recipe_of("--recipe-json", text)
    assert repr(text) in str(found.value)
