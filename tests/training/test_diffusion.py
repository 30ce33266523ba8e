"""Diffusion by adaptation: the ordinary loss where both must agree, and lines that are filled from both sides."""

import itertools
import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from codeft_training.__main__ import main
from codeft_training.data.corpus import Corpus
from codeft_training.data.packed_rows import PackedRows
from codeft_training.data.packing import pack
from codeft_training.data.tokenizer import train_tokenizer
from codeft_training.diffusion_recipe import DiffusionRecipe
from codeft_training.model.diffusion import MIN_NOISE, attention_mask, diffusion_loss, draw_noise, fill, hide
from codeft_training.recipes import RECIPES
from codeft_training.run_spec import Stopped
from codeft_training.train.diffuse import DiffusionRun, diffuse, fill_text
from codeft_training.train.run import train
from tests.training.children import TINY, Bombs, Collected, run_of
from tests.training.corpus_folder import chat, write_corpus

pytestmark = pytest.mark.usefixtures("one_thread")
NAMES = [f"{kind}_{what}" for kind in ("add", "sub", "mul", "top") for what in ("one", "all", "row", "col", "end")]
FUNCTIONS = [
    f"def {name}(x, y):\n    total = x * {n + 2} + y\n    extra = total - {3 * n + 1}\n    return extra * {n % 7}\n"
    for n, name in enumerate(NAMES)
]
RECIPE = DiffusionRecipe(
    max_steps=12, rows_per_step=4, batch_rows=2, learning_rate=1e-3, log_every_steps=1, save_every_steps=4
)


class Unstopped:
    is_set = False


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Twenty functions, packed, and a model of two layers that has begun to learn them."""
    root = tmp_path_factory.mktemp("functions")
    rows = [chat(n, f"Write {name}.", text) for n, (name, text) in enumerate(zip(NAMES, FUNCTIONS, strict=True))]
    corpus = Corpus(write_corpus(root / "corpus", rows))
    train_tokenizer(corpus, root / "tokenizer", vocab_size=400)
    pack(corpus, root / "tokenizer", root / "packed", context_tokens=64)
    shape = TINY | {"vocab_size": 400, "hidden_size": 64, "num_layers": 2, "intermediate_size": 128, "max_steps": 40}
    train(run_of(root, root / "base", RECIPES["smoke"].override(**shape)), Collected())
    return root


def run_on(made, output, **changes):
    recipe = replace(RECIPE, **changes)
    return DiffusionRun(str(made / "base" / "checkpoint"), PackedRows(made / "packed"), output, recipe)


def load(folder):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


def test_the_loss_is_the_autoregressive_one_where_they_must_agree(made):
    """With causal attention, a token is predicted from those before it: hiding it, or later ones, changes nothing."""
    model, tokenizer = load(made / "base" / "checkpoint")
    ids = torch.tensor([tokenizer(text)["input_ids"][:24] for text in FUNCTIONS[:4]])
    mask_id = tokenizer.convert_tokens_to_ids(RECIPE.mask_token)
    causal = attention_mask(ids.shape[1], 0.0, generator=torch.Generator())
    assert torch.equal(causal[0, 0], torch.ones(24, 24, dtype=torch.bool).tril())
    ordinary = torch.nn.functional.cross_entropy(
        model(ids).logits[:, :-1].transpose(1, 2), ids[:, 1:], reduction="none"
    )
    for place in (1, 7, 23):
        noisy = ids.clone()
        noisy[:, place] = mask_id
        logits = model(noisy, attention_mask=causal.expand(4, -1, -1, -1)).logits
        share = torch.full((4,), 0.5)
        loss = diffusion_loss(logits, ids, noisy, mask_id, share)
        assert loss.item() == pytest.approx(2 * ordinary[:, place - 1].sum().item(), abs=1e-5)


def test_noise_hides_what_it_may_in_the_drawn_share():
    generator = torch.Generator().manual_seed(1)
    share = draw_noise(8, generator=generator)
    assert share.min() >= MIN_NOISE
    assert share.max() - share.min() > 0.8  # spread over a batch
    ids, may = torch.arange(8 * 400).view(8, 400) + 10, torch.ones(8, 400, dtype=torch.bool)
    may[:, 200:] = False
    noisy = hide(ids, may, share, 3, generator=generator)
    hidden = (noisy == 3).float()
    assert hidden[:, :200].mean(1) == pytest.approx(share, abs=0.12)
    assert not hidden[:, 200:].any()
    assert not hidden[:, 0].any()
    opened = attention_mask(200, 0.3, generator=generator)[0, 0]
    assert opened.triu(1).float().sum() / (200 * 199 / 2) == pytest.approx(0.3, abs=0.03)
    recipe = replace(RECIPE, max_steps=100, annealing_fraction=0.5)
    assert [recipe.openness(step) for step in (0, 24, 49, 99)] == pytest.approx([0.02, 0.5, 1.0, 1.0])


def hidden_lines(made, tokenizer):
    """The rows of the functions, each with the tokens of its third line hidden."""
    mask_id = tokenizer.convert_tokens_to_ids(RECIPE.mask_token)
    for row in PackedRows(made / "packed").tokens("train"):
        ids = torch.tensor(row.astype(int))
        ends = [place + 1 for place, token in enumerate(ids) if "\n" in tokenizer.decode([token])]
        lines = itertools.pairwise(ends)
        begin, end = next(line for line in lines if tokenizer.decode(ids[slice(*line)]).startswith("    extra"))
        noisy = ids.clone()
        noisy[begin:end] = mask_id
        yield ids, noisy, mask_id


def num_filled(made, folder, num_steps):
    model, tokenizer = load(folder)
    lines = hidden_lines(made, tokenizer)
    return sum(
        torch.equal(fill(model, noisy[None], mask_id, num_steps=num_steps)[0][0], ids) for ids, noisy, mask_id in lines
    )


@pytest.mark.slow
def test_two_layers_learn_twenty_functions_and_fill_a_hidden_line_of_each(made, tmp_path):
    size = {"max_steps": 1000, "rows_per_step": 16, "batch_rows": 16, "learning_rate": 4e-3}
    result = diffuse(
        run_on(made, tmp_path, log_every_steps=100, save_every_steps=1000, **size), Collected(), Unstopped()
    )
    assert result["final_loss"] < 0.1 * result["first_loss"]
    assert num_filled(made, tmp_path / "checkpoint", num_steps=20) == len(FUNCTIONS)
    assert num_filled(made, made / "base" / "checkpoint", num_steps=20) < 5


def test_fewer_passes_fill_several_tokens_at_once_and_leave_no_mask(made):
    model, tokenizer = load(made / "base" / "checkpoint")
    mask_id = tokenizer.convert_tokens_to_ids(RECIPE.mask_token)
    ids = torch.tensor([*tokenizer(FUNCTIONS[0])["input_ids"][:6], *[mask_id] * 10])
    calls = []
    model.register_forward_hook(lambda *args: calls.append(1))
    filled = fill(model, ids[None], mask_id, num_steps=4)[0][0]
    assert len(calls) == 4
    assert mask_id not in filled.tolist()
    assert torch.equal(filled[:6], ids[:6])
    for bad, steps in ((ids.flip(0), 4), (ids, 0)):
        with pytest.raises(ValueError, match="must be at least 1, and a token must stand before"):
            fill(model, bad[None], mask_id, num_steps=steps)


def test_rows_of_different_lengths_are_filled_as_each_alone(made):
    """Padding is seen by no token, and each row has passes of its own."""
    model, tokenizer = load(made / "base" / "checkpoint")
    mask_id = tokenizer.convert_tokens_to_ids(RECIPE.mask_token)
    texts = [tokenizer(text)["input_ids"] for text in FUNCTIONS[:2]]
    rows = [[*texts[0][:4], *[mask_id] * 7, *texts[0][11:15]], [*texts[1][:9], *[mask_id] * 3]]
    ids = torch.full((2, 15), tokenizer.convert_tokens_to_ids("x"))
    for row, tokens in zip(ids, rows, strict=True):
        row[: len(tokens)] = torch.tensor(tokens)
    together, likelihood = fill(model, ids, mask_id, num_steps=3, lengths=torch.tensor([15, 12]))
    for number, tokens in enumerate(rows):
        alone, own = fill(model, torch.tensor([tokens]), mask_id, num_steps=3)
        assert torch.equal(together[number, : len(tokens)], alone[0])
        assert likelihood[number].item() == pytest.approx(own.item(), abs=1e-4)
    assert (likelihood < 0).all()


def test_a_stopped_adaptation_goes_on_and_ends_in_the_same_weights(made, tmp_path):
    whole = diffuse(run_on(made, tmp_path / "whole"), Collected(), Unstopped())
    stop, run = Unstopped(), run_on(made, tmp_path / "stopped")
    with pytest.raises(Stopped, match="stopped at step"):
        diffuse(run, Bombs(5, lambda: setattr(stop, "is_set", True)), stop)
    reporter = Collected()
    assert diffuse(run, reporter, Unstopped())["weights_hash"] == whole["weights_hash"]
    assert any(line.startswith("resuming from checkpoint-") for line in reporter.lines)
    assert diffuse(run, again := Collected(), Unstopped())["weights_hash"] == whole["weights_hash"]
    assert again.lines == [f"run {run.identity} is finished: nothing to do"]
    before, after = (
        load_file(folder / "model.safetensors") for folder in (made / "base/checkpoint", run.output / "checkpoint")
    )
    assert any(not torch.equal(before[name], after[name]) for name in before)
    card = (run.output / "checkpoint" / "README.md").read_text()
    assert "adapted to masked diffusion" in card
    assert json.loads((run.output / "checkpoint" / "diffusion.json").read_text())["mask_token"] == RECIPE.mask_token
    (tmp_path / "prefix").write_text("def add(x, y):\n")
    (tmp_path / "suffix").write_text("    return x\n")
    texts = [
        "--prefix",
        str(tmp_path / "prefix"),
        "--suffix",
        str(tmp_path / "suffix"),
        "--tokens",
        "5",
        "--steps",
        "2",
    ]
    where = ["--checkpoint", str(run.output / "checkpoint"), "--output", str(tmp_path / "filled")]
    assert main(["fill", *where, *texts]) == 0
    filled = (tmp_path / "filled").read_text()
    assert filled.startswith("def add(x, y):\n")
    assert filled.endswith("    return x\n")
    assert RECIPE.mask_token not in filled


def test_inputs_that_do_not_fit_are_named(made, tmp_path):
    with pytest.raises(ValueError, match="has no token '<mask>'; set mask_token"):
        diffuse(run_on(made, tmp_path, mask_token="<mask>"), Collected(), Unstopped())
    with pytest.raises(ValueError, match="has no diffusion.json: it writes from left to right"):
        fill_text(made / "base" / "checkpoint", "def", "", num_tokens=3, num_steps=3)
    for overrides, reason in (({"betta": "1"}, "no field 'betta'"), ({"max_steps": "x"}, "of type int"),
                              ({"annealing_fraction": "2"}, "in 0..1")):  # fmt: skip
        with pytest.raises(ValueError, match=reason):
            DiffusionRecipe().parse(overrides)
