"""Preference training: the margin grows, the reference stays, and a batch costs what the paper says."""

import json
from dataclasses import replace

import pytest
import torch

from codeft_training.preference_recipe import DPO, find_preference_recipe
from codeft_training.run_spec import Stopped
from codeft_training.train import prefer as preference_training
from codeft_training.train.prefer import PreferenceRun, build_trainer, prefer
from codeft_training.train.run import train
from tests.training.children import Bombs, Collected, training_run

pytestmark = pytest.mark.usefixtures("one_thread")

PAIRS = [
    {
        "item": f"i/{n}",
        "prompt": f"def f_{n}(x):\n",
        "chosen": f"    return x + {n}\n",
        "rejected": f"    return {n} - x\n",
    }
    for n in range(20)
]
RECIPE = replace(
    DPO, learning_rate=3e-3, pairs_per_step=6, batch_pairs=3, passes=4.0, context_tokens=64, log_every_steps=1,
    save_every_steps=4,
)  # fmt: skip


class Unstopped:
    is_set = False


@pytest.fixture(scope="module")
def base(made, tmp_path_factory):
    output = tmp_path_factory.mktemp("base")
    train(training_run(made, output, max_steps=2), Collected())
    return output / "checkpoint"


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    path.write_text("".join(json.dumps(pair) + "\n" for pair in PAIRS))
    return path


def run_of(base, pairs, output, **changes):
    return PreferenceRun(base_model=str(base), pairs=pairs, output=output, recipe=replace(RECIPE, **changes))


def entries(reporter, name):
    return [entry[name] for entry in reporter.observed if name in entry]


@pytest.fixture(scope="module")
def trained(base, pairs, tmp_path_factory):
    reporter, run = Collected(), run_of(base, pairs, tmp_path_factory.mktemp("trained"))
    return run, prefer(run, reporter, Unstopped()), reporter


def test_the_margin_grows_on_pairs_of_items_that_were_held_out(trained):
    _, result, reporter = trained
    margins = entries(reporter, "margin")
    assert margins[0] == 0.0  # the model is its own reference
    assert margins[-1] > 0.5
    assert result["held_out"]["margin"] > 0.2
    assert result["held_out"]["accuracy"] == 1.0
    assert (result["num_pairs_trained"], result["num_pairs_held_out"], result["last_step"]) == (18, 2, 12)


def test_a_batch_costs_what_the_paper_says(base, pairs, tmp_path):
    """Beside a bare loop over log-likelihoods: loss and gradient of one batch after the policy has moved."""
    run = run_of(base, pairs, tmp_path)
    trainer = build_trainer(run, preference_training._encoded(run), batch_pairs=3, callbacks=[])
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    batch = trainer.data_collator([trainer.train_dataset[n] for n in (0, 5, 9)])

    def log_likelihoods(model):
        logits = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1].log_softmax(-1)
        chosen = logits.gather(2, batch["input_ids"][:, 1:, None])[..., 0] * batch["completion_mask"][:, 1:]
        return chosen.sum(1).chunk(2)

    own, base_model = log_likelihoods(trainer.model), log_likelihoods(trainer.ref_model)
    gap = (own[0] - base_model[0]) - (own[1] - base_model[1])
    bare = -torch.nn.functional.logsigmoid(run.recipe.beta * gap).mean()
    loss = trainer.compute_loss(trainer.model, batch)
    assert loss.item() == pytest.approx(bare.item(), abs=1e-6)
    parameters = list(trainer.model.parameters())
    gradients = zip(torch.autograd.grad(loss, parameters), torch.autograd.grad(bare, parameters), strict=True)
    assert all(torch.allclose(ours, theirs, atol=1e-6) for ours, theirs in gradients)


def test_the_reference_is_the_base_to_the_end(base, pairs, tmp_path, monkeypatch):
    from safetensors.torch import load_file

    kept = []
    build = preference_training.build_trainer
    monkeypatch.setattr(preference_training, "build_trainer", lambda *a, **k: kept.append(build(*a, **k)) or kept[-1])
    prefer(run_of(base, pairs, tmp_path), Collected(), Unstopped())
    before, after = load_file(base / "model.safetensors"), kept[0].ref_model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    trained = load_file(tmp_path / "checkpoint" / "model.safetensors")
    assert any(not torch.equal(before[name], trained[name]) for name in before)


def test_a_pair_is_encoded_as_the_model_is_asked(base, pairs, tmp_path):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    first = preference_training._encoded(run_of(base, pairs, tmp_path)).train[0]
    (asked,) = [pair for pair in PAIRS if tokenizer.decode(first["prompt_ids"]) == pair["prompt"]]
    assert first["chosen_ids"] == [*tokenizer(asked["chosen"])["input_ids"], tokenizer.eos_token_id]
    assert first["prompt_ids"] == tokenizer(asked["prompt"])["input_ids"]


def test_a_stopped_run_goes_on_and_ends_in_the_same_weights(base, pairs, tmp_path, trained):
    stop = Unstopped()
    run = run_of(base, pairs, tmp_path)
    with pytest.raises(Stopped, match="stopped at step"):
        prefer(run, Bombs(5, lambda: setattr(stop, "is_set", True)), stop)
    reporter = Collected()
    assert prefer(run, reporter, Unstopped())["weights_hash"] == trained[1]["weights_hash"]
    assert any(line.startswith("resuming from checkpoint-") for line in reporter.lines)
    assert prefer(run, again := Collected(), Unstopped())["weights_hash"] == trained[1]["weights_hash"]
    assert again.lines == [f"run {run.identity} is finished: nothing to do"]


def test_the_control_has_no_use_for_wrong_completions(base, pairs, tmp_path):
    result = prefer(run_of(base, pairs, tmp_path / "a", loss="chosen"), Collected(), Unstopped())
    changed = tmp_path / "changed.jsonl"
    other = [pair | {"rejected": pair["rejected"].replace("-", "*")} for pair in PAIRS]
    changed.write_text("".join(json.dumps(pair) + "\n" for pair in other))
    assert (
        prefer(run_of(base, changed, tmp_path / "b", loss="chosen"), Collected(), Unstopped())["weights_hash"]
        == (result["weights_hash"])
    )
    assert result["last"]["log_likelihood_chosen"] > result["first"]["log_likelihood_chosen"]


def test_the_anchored_loss_is_both_and_keeps_right_completions_likely(base, pairs, tmp_path, trained):
    run = run_of(base, pairs, tmp_path, loss="anchored")
    losses = []
    for loss in ("preference", "chosen", "anchored"):
        own = run_of(base, pairs, tmp_path, loss=loss)
        trainer = build_trainer(own, preference_training._encoded(own), batch_pairs=3, callbacks=[])
        batch = trainer.data_collator([trainer.train_dataset[n] for n in (0, 5, 9)])
        losses.append(trainer.compute_loss(trainer.model, batch).item())
    assert losses[2] == pytest.approx(losses[0] + losses[1], abs=1e-5)
    result = prefer(run, Collected(), Unstopped())
    assert result["held_out"]["margin"] > 0.2
    likely = "log_likelihood_chosen"
    assert result["held_out"][likely] > trained[1]["held_out"][likely]


def test_card_and_result_name_base_pairs_and_what_was_left_out(trained):
    run, result, _ = trained
    card = (run.output / "checkpoint" / "README.md").read_text()
    assert "base_model: checkpoint\n" in card
    assert f"| base, by content | {run.base_hash} |" in card
    assert result["pairs"]["content_hash"] in card
    assert "18 pairs of right and wrong completions by direct preference optimization" in card
    assert result["identity"] == f"{run.recipe.hash}-{result['pairs']['content_hash'][:16]}-{run.base_hash}"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"context_tokens": 8}, r"pairs of 0 items fit 8 tokens \(20 pairs are longer\)"),
        ({"learning_rate": 1e30, "max_grad_norm": 1e30, "warmup_fraction": 0.0}, "not finite; lower learning_rate"),
    ],
)
def test_a_run_that_cannot_be_good_is_refused(base, pairs, tmp_path, changes, reason):
    with pytest.raises((ValueError, FloatingPointError), match=reason):
        prefer(run_of(base, pairs, tmp_path, **changes), Collected(), Unstopped())
    assert not (tmp_path / "checkpoint").exists()


def test_pairs_that_are_none_are_named(base, tmp_path):
    path = tmp_path / "pairs.jsonl"
    for rows, reason in (
        ([], "holds no pairs"),
        ([{"item": "i", "prompt": "p", "chosen": ""}], r"line 1 .*has no text for \['chosen', 'rejected'\]"),
        ([{"item": "i", "prompt": "p", "chosen": "a", "rejected": "a"}], "line 1 .*prefers a completion to itself"),
    ):
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        with pytest.raises(ValueError, match=reason):
            prefer(run_of(base, path, tmp_path / "out"), Collected(), Unstopped())
    with pytest.raises(ValueError, match="would be replaced by the result"):
        prefer(run_of(base, path, base.parent), Collected(), Unstopped())


def test_a_recipe_has_only_fields_that_exist_and_values_that_hold():
    assert find_preference_recipe("dpo", {"beta": "0.3"}).hash != DPO.hash
    assert find_preference_recipe("dpo", {"batch_pairs": "1", "log_every_steps": "9"}).hash == DPO.hash
    for name, overrides, reason in (
        ("dpo", {"betta": "1"}, "no field 'betta'"),
        ("dpo", {"beta": "0"}, "must be positive"),
        ("dpo", {"beta": "much"}, "must be of type float"),
        ("dpo", {"loss": "hinge"}, "one of"),
        ("smoke", {}, "trains on no preferences"),
    ):
        with pytest.raises(ValueError, match=reason):
            find_preference_recipe(name, overrides)
