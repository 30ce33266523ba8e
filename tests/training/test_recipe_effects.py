"""Every field of a recipe does something: the weights change, a declared effect is seen, or the value is refused."""

import json
from functools import cache

import pytest
import torch

from codeft_training.recipes import RECIPES
from codeft_training.train.run import train
from tests.training.children import Collected, finetuning_run, training_run

pytestmark = pytest.mark.usefixtures("one_thread")

BRIEF = {
    "max_steps": 4, "save_every_steps": 2, "validate_every_steps": 2, "log_every_steps": 2, "validation_rows": 2,
    "batch_rows": 2, "accumulation_steps": 2, "max_grad_norm": 0.1, "decay_fraction": 0.5, "warmup_fraction": 0.25,
}  # fmt: skip
WEIGHTS = {
    "batch_rows": 4, "accumulation_steps": 1, "seed": 2, "learning_rate": 2e-3, "weight_decay": 0.5,
    "max_grad_norm": 0.2, "adam_beta_2": 0.5, "max_steps": 5, "warmup_fraction": 0.5, "decay_fraction": 0.25,
    "bf16": True,
    "stages": [{"name": "a", "share": 0.5}, {"name": "b", "share": 0.5, "end_rate": 0.1}],
}  # fmt: skip
"""Another value of a field, by which a run ends in other weights."""
EFFECTS = {
    "log_every_steps": (1, lambda entries, run: [entry["step"] for entry in entries if "loss" in entry]),
    "validate_every_steps": (1, lambda entries, run: [entry["step"] for entry in entries if "bits_per_byte" in entry]),
    "validation_rows": (4, lambda entries, run: [entry.get("bits_per_byte") for entry in entries]),
    "save_every_steps": (3, lambda entries, run: sorted(path.name for path in run.work.glob("checkpoint-*"))),
}
"""Another value of a field that changes no weight, and what it changes."""
REFUSED = {"context_tokens": (32, "rows were packed at 64 tokens")}
FROM_SCRATCH = WEIGHTS | {
    "vocab_size": 321,
    "hidden_size": 64, "num_layers": 2, "num_heads": 4, "num_kv_heads": 2, "intermediate_size": 64,
    "optimizer": "adamw", "z_loss": 0.1, "attention": "documents", "budget_seconds": 1e-3,
    "weight_decay_schedule": "constant", "dropout": 0.5, "document_order": "shuffled", "masked_inputs": 0.5,
    "procedural_fraction": 0.25,
}  # fmt: skip
FROM_SCRATCH_EFFECTS = EFFECTS | {
    # whether the average is the better one decides whether it shows in the weights
    "ema_decay": (0.5, lambda entries, run: [entry["step"] for entry in entries if "ema_bits_per_byte" in entry]),
}
FROM_SCRATCH_REFUSED = REFUSED | {
    "parallel": ("shard", "needs several processes"),
}


@pytest.fixture(scope="module")
def base(made, tmp_path_factory):
    output = tmp_path_factory.mktemp("base")
    train(training_run(made, output, max_steps=2), Collected())
    return output / "checkpoint"


@pytest.fixture(scope="module")
def other_base(made, tmp_path_factory):
    output = tmp_path_factory.mktemp("other_base")
    train(training_run(made, output, max_steps=2, seed=3), Collected())
    return output / "checkpoint"


def outcome(run):
    result = train(run, Collected())
    entries = [json.loads(line) for line in (run.output / "metrics.jsonl").read_text().splitlines()]
    return result["weights_hash"], entries


def changed_fields(recipe, *known):
    """Return the recipe's fields, all of which must be known."""
    assert set(recipe.values()) == {name for table in known for name in table}
    return recipe.values()


def needed_beside(field):
    """Return the other fields that must have a certain value beside this one."""
    return {
        "parallel": {"optimizer": "adamw"},  # Muon wants whole matrices
        "stages": {"decay_fraction": 0.0},
    }.get(field, {})


def plain_runs(make_run, folder):
    """Return a function from some fields to a run with these alone and its outcome, trained once."""

    @cache
    def plain(*fields):
        run = make_run(folder / "-".join(("plain", *dict(fields))), **dict(fields))
        return run, outcome(run)

    return plain


def check(field, make_run, plain_run, folder, *, weights, refused, effects=EFFECTS):
    """Check that another value of a field shows."""
    value, rule = refused.get(field, (None, None))
    needed = needed_beside(field)
    if rule is not None:
        with pytest.raises(ValueError, match=rule):
            train(make_run(folder / "changed", **needed, **{field: value}), Collected())
        return
    value, effect = effects.get(field, (weights.get(field), None))
    changed = make_run(folder / "changed", **needed, **{field: value})
    (plain, before), after = plain_run(*needed.items()), outcome(changed)
    if effect is None:
        assert before[0] != after[0]
        return
    assert before[0] == after[0]
    assert effect(before[1], plain) != effect(after[1], changed)


def num_graphs(run):
    """Return how many graphs a run compiles."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    outcome(run)
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


@pytest.fixture(scope="module")
def from_scratch(made, tmp_path_factory):
    def make_run(output, **changes):
        return training_run(made, output, **(BRIEF | changes))

    return make_run, plain_runs(make_run, tmp_path_factory.mktemp("from_scratch"))


@pytest.fixture(scope="module")
def fine_tuned(made, base, tmp_path_factory):
    def make_run(output, **changes):
        return finetuning_run(made, base, output, **(BRIEF | changes))

    return make_run, plain_runs(make_run, tmp_path_factory.mktemp("fine_tuned"))


@pytest.mark.parametrize("field", sorted(RECIPES["smoke"].values()))
def test_every_field_of_a_recipe_from_scratch_does_something(from_scratch, tmp_path, field):
    changed_fields(RECIPES["smoke"], FROM_SCRATCH, FROM_SCRATCH_EFFECTS, FROM_SCRATCH_REFUSED, ["compile"])
    make_run, plain_run = from_scratch
    if field == "compile":  # what the graphs become is test_repetition's: kernels for them take a quarter of a minute
        with torch.compiler.set_stance("default", force_backend="eager"):
            assert num_graphs(make_run(tmp_path, compile="layers", max_steps=1))
        return
    tables = {"weights": FROM_SCRATCH, "refused": FROM_SCRATCH_REFUSED, "effects": FROM_SCRATCH_EFFECTS}
    check(field, make_run, plain_run, tmp_path, **tables)


@pytest.mark.parametrize("field", sorted(RECIPES["qwen2.5-0.5b-sft"].values()))
def test_every_field_of_a_recipe_that_fine_tunes_does_something(fine_tuned, other_base, tmp_path, field):
    weights = WEIGHTS | {"base_model": str(other_base), "lora_rank": 2}
    changed_fields(RECIPES["qwen2.5-0.5b-sft"], weights, EFFECTS, REFUSED, ["compile"])
    make_run, plain_run = fine_tuned
    if field == "compile":  # one graph serves all layers, and evaluation adds none
        assert num_graphs(make_run(tmp_path, compile="layers", max_steps=2)) == 1
        return
    check(field, make_run, plain_run, tmp_path, weights=weights, refused=REFUSED)
