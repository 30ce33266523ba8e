"""A model continues prompts while it trains: only when the run can afford it, and no weight is changed."""

import json
from dataclasses import replace

import pytest

from codeft_training.data.encoding import load_tokenizer
from codeft_training.measure import evaluation
from codeft_training.measure.eval_texts import EvalText
from codeft_training.measure.samples import TrainingSamples, greedy_generator
from codeft_training.recipes import RECIPES
from codeft_training.train.run import initial_model, train
from tests.training.children import TINY, Collected, training_run

TEXTS = [
    EvalText("embedded", "def add(a, b):\n", "    return a + b\n", "add"),
    EvalText("embedded", "def one():\n", "    return 1\n", "one"),
    EvalText("code", "", "x = 1\n"),
]
LONG = EvalText("embedded", "# " + "0123456789" * 9, "    return 1\n", "long")


class FirstToken:
    """Continues every prompt with its own first token, and records the calls."""

    def __init__(self):
        self.calls = []

    def __call__(self, prompts, num_tokens):
        self.calls.append((len(prompts), num_tokens))
        return [[prompt[0]] * num_tokens for prompt in prompts]


def test_items_with_a_prompt_that_fits_are_continued_by_twice_the_longest_solution(made):
    samples, generate = TrainingSamples([*TEXTS, LONG], made / "tokenizer", 96), FirstToken()
    longest = len(load_tokenizer(made / "tokenizer").encode("    return a + b\n", add_special_tokens=False).ids)
    found = samples.measure(generate, affordable_seconds=1e9)
    assert set(found["completions"]) == {"add", "one"}
    assert generate.calls == [(2, 1), (2, 1), (2, 9), (2, 2 * longest)]  # the first are to find out what it takes
    assert samples.describe() == f"samples: 2 of 3 prompts are continued by {2 * longest} tokens"


def test_samples_that_the_run_cannot_afford_are_not_generated(made):
    samples, generate = TrainingSamples(TEXTS, made / "tokenizer", 96), FirstToken()
    assert samples.measure(generate, affordable_seconds=0.0) == {}
    assert generate.calls == [(2, 1), (2, 1), (2, 9)]
    assert samples.measure(generate, affordable_seconds=0.0) == {}
    assert len(generate.calls) == 3  # it is known by now
    assert samples.measure(generate, affordable_seconds=1e9)
    assert TrainingSamples(TEXTS[2:], made / "tokenizer", 96).measure(generate, affordable_seconds=1e9) == {}


def test_the_likeliest_tokens_are_written_whatever_prompt_stands_beside(made):
    import torch

    recipe = RECIPES["smoke"].override(**TINY)
    model = initial_model(recipe).train()
    for parameter in model.parameters():
        parameter.data.mul_(8.0)  # fresh weights are small and say the last token again, whatever came before
    prompts = [[5, 6, 7, 8, 9, 10, 11], [12, 13]]
    together = greedy_generator(model, bf16=False)(prompts, 6)
    assert model.training
    for prompt, found in zip(prompts, together, strict=True):
        ids = list(prompt)
        for _ in range(6):
            with torch.no_grad():
                ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
        wanted = ids[len(prompt) :]
        written = wanted[: wanted.index(0) + 1] if 0 in wanted else wanted  # 0 ends a text
        assert found[: len(written)] == written
        assert not any(found[len(written) :])


def run_with(made, output):
    rows = [{"domain": t.domain, "context": t.context, "text": t.text, "item": t.item} for t in TEXTS]
    output.mkdir()
    (output / "eval_texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return replace(training_run(made, output), eval_texts=output / "eval_texts.jsonl")


@pytest.mark.parametrize(("share", "steps"), [(1e9, [6, 12]), (0.0, [])])
def test_a_run_that_can_afford_it_records_completions_and_ends_in_the_same_bits(
    made, tmp_path, monkeypatch, share, steps
):
    monkeypatch.setattr(evaluation, "MAX_SHARE", share)
    reporter = Collected()
    plain, evaluated = (
        train(training_run(made, tmp_path / "plain"), Collected()),
        train(run_with(made, tmp_path / "p"), reporter),
    )
    assert evaluated["weights_hash"] == plain["weights_hash"]
    written = [entry for entry in reporter.observed if "completions" in entry]
    assert [entry["step"] for entry in written] == steps
    assert all(set(entry["completions"]) == {"add", "one"} for entry in written)
    lines = [json.loads(line) for line in (tmp_path / "p" / "metrics.jsonl").read_text().splitlines()]
    assert [entry for entry in lines if "completions" in entry] == written
    taken = sum(entry.get(name, 0) for entry in lines for name in ("probe_seconds", "probe_completion_seconds"))
    assert evaluated["probe_seconds"] == pytest.approx(taken, abs=0.01)
