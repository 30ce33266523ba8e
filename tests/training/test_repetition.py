"""The options for little, repeated data: each does what its name says, resumed or not, and the best is kept."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from codeft_training.data.batches import Batches
from codeft_training.data.corpus import Corpus
from codeft_training.data.packed_rows import PackedRows
from codeft_training.data.packing import pack
from codeft_training.data.procedural import procedural_rows
from codeft_training.data.variation import MASK_TOKEN, build_variation
from codeft_training.measure.metrics import Metrics
from codeft_training.model.average import WeightAverage
from codeft_training.model.distributed import DistributedContext
from codeft_training.model.optimizer import build_optimizer, is_hidden_matrix
from codeft_training.model.schedule import decay_factor
from codeft_training.recipes import RECIPES
from codeft_training.train.checkpoints import WEIGHTS, checkpoint_path, latest_valid
from codeft_training.train.run import build_callbacks, build_pretrainer, initial_model, train
from codeft_training.train.signals import StopRequest
from tests.training.children import Collected, finetuning_run, together, training_run
from tests.training.corpus_folder import plain, row, write_corpus

pytestmark = pytest.mark.usefixtures("one_thread")

ALONE = DistributedContext(0, 1, torch.device("cpu"))
ROOT = Path(__file__).parents[2]
OPTIONS = {
    "weight_decay_schedule": "constant",
    "dropout": 0.3,
    "document_order": "shuffled",
    "ema_decay": 0.8,
    "masked_inputs": 0.3,
    "procedural_fraction": 0.4,
}


@pytest.fixture(scope="module")
def overfitted(made, tmp_path_factory):
    """A packed folder of so little text that its held-out documents are soon forgotten."""
    folder = tmp_path_factory.mktemp("little")
    rows = [plain(i, lines=8) for i in range(3)]
    rows += [plain(200 + i, lines=40, split="validation") for i in range(4)]
    pack(Corpus(write_corpus(folder / "corpus", rows)), made / "tokenizer", folder / "packed", context_tokens=64)
    return PackedRows(folder / "packed")


def engine(run):
    run.work.mkdir(parents=True, exist_ok=True)
    callbacks = build_callbacks(run, Metrics(run.work, Collected()), StopRequest(), ALONE)
    pretrainer = build_pretrainer(run, callbacks, ALONE)
    pretrainer.resume()
    return pretrainer


def entries(output):
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


def tensors(pretrainer):
    named = {name: tensor.detach() for name, tensor in pretrainer.model.named_parameters()}
    average = pretrainer._optimizer.average
    named |= pretrainer._optimizer.tensors() | ({} if average is None else average.tensors())
    return {name: tensor.clone() for name, tensor in named.items()}


def batches_of(made, run):
    variation = build_variation(run.packed, run.tokenizer, run.recipe)
    return Batches(run.packed, run.recipe.data, with_documents=True, variation=variation)


def step_batch(batches, step, size=8):
    return batches.micro_batches(batches.readings(step, batches.phase_begins((0,), 100)), size)


@pytest.mark.parametrize("option", [*OPTIONS, "all"])
def test_a_resumed_run_does_the_same_bit_by_bit(made, tmp_path, option):
    changes = OPTIONS if option == "all" else {option: OPTIONS[option]}
    run = training_run(made, tmp_path / "a", max_steps=6, attention="documents", **changes)
    straight = engine(run)
    for _ in range(3):
        straight.train_step()
    torch.manual_seed(7)  # a resumed process has another global state
    resumed = engine(run)
    assert resumed.step == 3
    for _ in range(2):
        straight.train_step()
        torch.rand(5)
        resumed.train_step()
    first, second = tensors(straight), tensors(resumed)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["replicate", "shard"])
def test_two_processes_do_the_same_as_one(made, tmp_path, parallel):
    # but for dropout, which falls otherwise in another process
    changes = {name: value for name, value in OPTIONS.items() if name != "dropout"}
    changes |= {"parallel": parallel, "optimizer": "adamw", "max_steps": 6, "validate_every_steps": 2}
    one = train(training_run(made, tmp_path / "one", **(changes | {"parallel": "replicate"})), Collected())
    together(*[training_run(made, tmp_path / "two", **changes)] * 2)
    two = json.loads((tmp_path / "two" / "result.json").read_text())
    assert one["kept"] == two["kept"]
    for key in ("bits_per_byte", "ema_bits_per_byte"):
        found = [[entry[key] for entry in entries(tmp_path / name) if key in entry] for name in ("one", "two")]
        assert len(found[0]) >= 3
        assert found[0] == pytest.approx(found[1], abs=1e-4)
    first, second = (load_file(tmp_path / name / "checkpoint" / "model.safetensors") for name in ("one", "two"))
    for name, tensor in first.items():
        torch.testing.assert_close(tensor, second[name], rtol=1e-3, atol=2e-4)


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["replicate", "shard"])
def test_dropout_trains_in_two_processes(made, tmp_path, parallel):
    changes = {"parallel": parallel, "optimizer": "adamw", "max_steps": 6, "dropout": 0.1}
    together(*[training_run(made, tmp_path, **changes)] * 2)
    assert json.loads((tmp_path / "result.json").read_text())["final_loss"] < 6


@pytest.mark.slow
@pytest.mark.parametrize("parts", ["layers", "model"])
def test_dropout_is_compiled_once_and_evaluated_without(made, tmp_path, parts):
    from torch._dynamo.utils import counters

    counters.clear()
    pretrainer = engine(training_run(made, tmp_path, dropout=0.5, compile=parts, num_layers=2))
    ids, labels = map(torch.from_numpy, held_out(pretrainer))
    for _ in range(2):
        pretrainer.train_step()
        pretrainer.token_nats(*held_out(pretrainer))
    losses = [float(pretrainer._trained(ids[:4], labels[:4], torch.tensor(1.0))[0].detach()) for _ in range(2)]
    assert losses[0] != losses[1]
    assert counters["stats"]["unique_graphs"] == 1


def held_out(pretrainer):
    batch = step_batch(pretrainer._batches, 0)[0]
    return batch.ids, batch.labels


def test_fine_tuning_refuses_each_option():
    for name, value in OPTIONS.items():
        with pytest.raises(ValueError, match=f"fine-tunes a base model and has no field '{name}'"):
            RECIPES["qwen2.5-0.5b-sft"].override(**{name: value})


@pytest.mark.parametrize("name", ["dropout", "ema_decay", "masked_inputs", "procedural_fraction"])
def test_a_share_is_below_1(name):
    RECIPES["smoke"].override(**{name: 0.999})
    for value in (1.0, -0.001):
        with pytest.raises(ValueError, match=f"{name} = {value} must be in 0..1, without 1"):
            RECIPES["smoke"].override(**{name: value})


def test_weight_decay_follows_its_schedule(made, tmp_path):
    taken = {}
    for schedule in ("coupled", "constant", "falling"):
        recipe = training_run(made, tmp_path, weight_decay=2.0).recipe
        for kind in ("muon", "adamw"):
            model = initial_model(recipe)
            optimizer = build_optimizer(model.named_parameters(), kind, recipe.optimization)
            before = {name: p.detach().clone() for name, p in model.named_parameters()}
            for parameter in model.parameters():
                parameter.grad = torch.zeros_like(parameter)
            optimizer.step(0.1 * 0.25, decay_factor(schedule, 0.25))  # at a quarter of a learning rate of 0.1
            name = next(name for name, p in model.named_parameters() if is_hidden_matrix(name, p))
            share = 1 - (dict(model.named_parameters())[name].detach() / before[name]).mean().item()
            taken[schedule, kind] = round(share, 4)
    for kind in ("muon", "adamw"):
        assert [taken[schedule, kind] for schedule in ("coupled", "constant", "falling")] == [0.05, 0.2, 0.0125]


def test_dropout_is_in_training_only(made, tmp_path):
    changed, unchanged = (engine(training_run(made, tmp_path / str(p), dropout=p)) for p in (0.5, 0.0))
    inputs = held_out(changed)
    assert np.array_equal(changed.token_nats(*inputs), unchanged.token_nats(*inputs))  # of the same first weights
    ids, labels = map(torch.from_numpy, inputs)
    losses = [float(changed._trained(ids, labels, torch.tensor(1.0))[0]) for _ in range(2)]
    assert losses[0] != losses[1]
    losses = [float(unchanged._trained(ids, labels, torch.tensor(1.0))[0]) for _ in range(2)]
    assert losses[0] == losses[1]


def test_a_step_with_dropout_repeats_no_other_step_and_no_other_process():
    from codeft_training.train.gradients import dropout_seed

    seeds = {dropout_seed(seed, step, rank) for seed in (1, 2) for step in range(50) for rank in range(4)}
    assert len(seeds) == 400


def test_the_average_of_the_weights_is_the_formula():
    weights = torch.nn.Parameter(torch.zeros(2))
    average = WeightAverage({"a": weights}, decay=0.5)
    for value in (1.0, 2.0, 3.0):
        with torch.no_grad():
            weights.fill_(value)
        average.update()
    expected = 0.0
    for number, value in enumerate((1.0, 2.0, 3.0), start=1):
        decay = min(0.5, (1 + number) / (10 + number))
        expected = decay * expected + (1 - decay) * value
    held = average.tensors()["ema.a"]
    assert held.dtype == torch.float32
    torch.testing.assert_close(held, torch.full((2,), expected))


def test_evaluating_the_average_leaves_no_trace(made, tmp_path):
    pretrainer = engine(training_run(made, tmp_path, ema_decay=0.9))
    for _ in range(3):
        pretrainer.train_step()
    before = tensors(pretrainer)
    with pretrainer.averaged():
        named = dict(pretrainer.model.named_parameters())
        assert all(torch.equal(tensor, before[f"ema.{name}"]) for name, tensor in named.items())
    after = tensors(pretrainer)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_each_pass_has_the_same_documents_in_another_order(made, tmp_path):
    run = training_run(made, tmp_path, document_order="shuffled")
    plain_run = training_run(made, tmp_path)
    num_rows, shuffled = run.packed.manifest()["splits"]["train"]["num_rows"], batches_of(made, run)
    packed = batches_of(made, plain_run)
    rows = np.arange(num_rows)
    as_packed = [pieces(packed.micro_batches(rows, num_rows)[0])]
    passes = [pieces(shuffled.micro_batches(rows + number * num_rows, num_rows)[0]) for number in range(3)]
    for found in passes:
        assert sorted(flat(found)) == sorted(flat(as_packed[0]))  # every piece once, none divided
    neighbours = [frozenset(map(frozenset, found)) for found in [*as_packed, *passes]]
    assert len(set(neighbours)) == 4
    again = batches_of(made, run).micro_batches(rows[:5] + 2 * num_rows, 5)[0]
    assert pieces(again) == passes[2][:5]
    for number in range(3):
        readings = rows + number * num_rows
        assert shuffled.num_labels(readings) == sum((b.labels >= 0).sum() for b in shuffled.micro_batches(readings, 7))


def pieces(batch):
    """Return the pieces of each row as tuples of tokens, without the last row's padding."""
    found = []
    for ids, documents in zip(batch.ids, batch.documents, strict=True):
        parts = [tuple(ids[documents == number].tolist()) for number in np.unique(documents)]
        found.append([part for part in (strip_padding(part) for part in parts) if part])
    return found


def strip_padding(part):
    while len(part) > 1 and part[-1] == part[-2] == 0:
        part = part[:-1]
    return part


def flat(rows):
    return [piece for row in rows for piece in row]


def test_annealing_documents_stay_in_their_phase(made, tmp_path):
    texts = [f"value = {i:03d}\n" for i in range(100, 160)]  # equally long
    rows = [row(i, text, None, "train", 1, "code", annealing=i % 2) for i, text in enumerate(texts)]
    corpus = Corpus(write_corpus(tmp_path / "corpus", rows))
    counts = pack(corpus, made / "tokenizer", tmp_path / "packed", context_tokens=64)["splits"]["train"]
    packed = PackedRows(tmp_path / "packed")
    runs = (training_run(made, tmp_path, document_order=order) for order in ("packed", "shuffled"))
    plain_batches, batches = (batches_of(made, dataclasses.replace(run, packed=packed)) for run in runs)
    annealing = np.arange(counts["num_rows"] - counts["num_annealing_rows"], counts["num_rows"])
    expected = sorted(flat(pieces(plain_batches.micro_batches(annealing, 99)[0])))
    assert len(expected) > 20
    for number in range(3):
        found = pieces(batches.micro_batches(annealing + number * counts["num_rows"], 99)[0])
        assert sorted(flat(found)) == expected


def token_id(made, token):
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(made / "tokenizer" / "tokenizer.json")).token_to_id(token)


def test_masked_inputs_keep_their_targets(made, tmp_path):
    plain_batches = batches_of(made, training_run(made, tmp_path))
    masked = batches_of(made, training_run(made, tmp_path, masked_inputs=0.15))
    before, after = step_batch(plain_batches, 3)[0], step_batch(masked, 3)[0]
    assert np.array_equal(before.labels, after.labels)
    changed = before.ids != after.ids
    assert 0.1 < changed.mean() < 0.2
    assert set(after.ids[changed].tolist()) == {token_id(made, MASK_TOKEN)}
    divided = np.concatenate([batch.ids for batch in step_batch(masked, 3, size=3)])
    assert np.array_equal(divided, after.ids)
    readings = masked.readings(3, masked.phase_begins((0,), 100))
    local = masked.micro_batches(DistributedContext(1, 2, ALONE.device).local_rows(readings), 8)[0].ids
    assert np.array_equal(local, after.ids[1::2])
    num_rows = masked._order.num_rows
    one, other = (masked.micro_batches(np.array([5 + n * num_rows]), 1)[0].ids for n in range(2))
    assert not np.array_equal(one, other)  # a row is masked otherwise in its next pass


def test_a_tokenizer_without_a_mask_token_is_refused(made, tmp_path):
    from tokenizers import Tokenizer, models

    Tokenizer(models.WordLevel({"a": 0}, unk_token="a")).save(str(tmp_path / "tokenizer.json"))
    run = dataclasses.replace(training_run(made, tmp_path, masked_inputs=0.1), tokenizer=tmp_path)
    with pytest.raises(ValueError, match=r"masked_inputs needs the token '<\|fim_pad\|>'"):
        build_variation(run.packed, run.tokenizer, run.recipe)


def test_procedural_rows_come_first_and_only_there(made, tmp_path):
    run = training_run(made, tmp_path, max_steps=1000, procedural_fraction=0.002)
    batches, usual = batches_of(made, run), batches_of(made, training_run(made, tmp_path))
    for step in (0, 1):
        batch = step_batch(batches, step)[0]
        assert (batch.labels[:, :-1] == batch.ids[:, 1:]).all()
        assert batches.num_labels(batches.readings(step, 0)) == batch.ids[:, 1:].size
        assert (batch.documents == 0).all()
    assert not np.array_equal(step_batch(batches, 0)[0].ids, step_batch(batches, 1)[0].ids)
    assert np.array_equal(step_batch(batches, 2)[0].ids, step_batch(usual, 2)[0].ids)


@pytest.mark.parametrize("vocab_size", [3, 320])
def test_procedural_rows_have_their_structure(vocab_size):
    rows = procedural_rows(np.arange(6), context_tokens=300, vocab_size=vocab_size, seed=5)
    assert rows.min() >= 0
    assert rows.max() < vocab_size
    kinds = np.random.Generator(np.random.PCG64([5, 3])).permutation(vocab_size).tolist()
    num_kinds = min(32, vocab_size // 2)
    for tokens in rows[::2]:
        stack = []
        for bracket in map(kinds.index, tokens.tolist()):
            if bracket < num_kinds:
                stack.append(bracket)
                assert len(stack) <= 16
            else:
                assert stack.pop() == bracket - num_kinds
    for tokens in rows[1::2]:
        assert any((tokens[period:] == tokens[:-period]).all() for period in range(4, 65))
    assert (procedural_rows(np.array([4]), context_tokens=300, vocab_size=vocab_size, seed=5)[0] == rows[4]).all()


def test_the_best_weights_are_kept_and_never_an_overfitted_last(made, overfitted, tmp_path):
    run = training_run(
        made, tmp_path, max_steps=60, validate_every_steps=5, save_every_steps=7, learning_rate=0.03, decay_fraction=0
    )
    run = dataclasses.replace(run, packed=overfitted)
    result = train(run, Collected())
    bits = {
        entry["step"]: entry["bits_per_byte"]
        for entry in entries(tmp_path)
        if "bits_per_byte" in entry and entry["step"]
    }
    best = min(bits, key=lambda step: bits[step])
    assert bits[60] > 1.1 * bits[best]  # it was overfitted
    assert result["kept"] == {"step": best, "weights": "trained"}
    assert result["validation"]["bits_per_byte"] == bits[best]
    kept, exported = checkpoint_path(run.work, best), load_file(tmp_path / "checkpoint" / "model.safetensors")
    assert all(torch.equal(tensor, exported[name]) for name, tensor in load_file(kept / WEIGHTS).items())
    assert latest_valid(run.work).name == "checkpoint-56"
    assert len(list(run.work.glob("checkpoint-*"))) == 3  # two to resume from, and the best
    card = (tmp_path / "checkpoint" / "README.md").read_text()
    assert f"of step {best} of 60; least held-out bits per byte" in card


@pytest.mark.parametrize(("max_steps", "rate"), [(20, 0.1), (60, 0.03)])
def test_a_better_average_is_what_is_exported(made, overfitted, tmp_path, max_steps, rate):
    changes = {"max_steps": max_steps, "learning_rate": rate, "validate_every_steps": 5, "decay_fraction": 0}
    run = dataclasses.replace(training_run(made, tmp_path, ema_decay=0.8, **changes), packed=overfitted)
    pretrainer = engine(run)
    averages, keep_best = {}, pretrainer.keep_best

    def remember(bits, averaged_bits, *, since):
        averages[averaged_bits] = (pretrainer.step, tensors(pretrainer))
        keep_best(bits, averaged_bits, since=since)

    pretrainer.keep_best = remember
    kept = dict(pretrainer.train().named_parameters())
    step, state = averages[min(averages)]
    assert pretrainer.state.best_is_average
    assert pretrainer.state.best_step == step
    assert (step == max_steps) == (max_steps == 20)
    assert all(torch.equal(tensor, state[f"ema.{name}"]) for name, tensor in kept.items())


def test_a_resumed_run_still_knows_its_best(made, overfitted, tmp_path):
    changes = {"max_steps": 60, "validate_every_steps": 5, "learning_rate": 0.03, "decay_fraction": 0}
    run = dataclasses.replace(training_run(made, tmp_path, **changes), packed=overfitted)
    first = engine(run)
    while first.step < 45:
        first.train_step()
    best = first.state.best_step
    assert 0 < best < 40
    second = engine(run)
    assert (second.step, second.state.best_step) == (45, best)
    kept = second.train()
    weights = load_file(checkpoint_path(run.work, best) / WEIGHTS)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in kept.named_parameters())
    checkpoint_path(run.work, best).joinpath(WEIGHTS).unlink()
    assert engine(run).state.best_step == 0  # a best that is not there is not promised


@pytest.mark.parametrize(("lora_rank", "rate"), [(0, 0.03), (8, 2.0)])
def test_a_fine_tuned_model_is_kept_at_its_best(made, overfitted, tmp_path, lora_rank, rate):
    from transformers import AutoModelForCausalLM

    base = tmp_path / "base" / "checkpoint"
    train(training_run(made, tmp_path / "base", max_steps=2), Collected())
    run = finetuning_run(
        made, base, tmp_path / "tuned", max_steps=60, validate_every_steps=4, save_every_steps=3, learning_rate=rate,
        decay_fraction=0, warmup_fraction=0, accumulation_steps=1, lora_rank=lora_rank,
    )  # fmt: skip
    run = dataclasses.replace(run, packed=overfitted)
    result = train(run, Collected())
    best = checkpoint_path(run.work, result["kept"]["step"])
    assert 0 < result["kept"]["step"] < 57  # two others were saved since
    kept = AutoModelForCausalLM.from_pretrained(base if lora_rank else best)
    if lora_rank:
        from peft import PeftModel

        kept = PeftModel.from_pretrained(kept, best).merge_and_unload()
    exported = load_file(tmp_path / "tuned" / "checkpoint" / "model.safetensors")
    for name, tensor in kept.named_parameters():
        torch.testing.assert_close(tensor.detach(), exported[name])


def test_the_card_names_the_step_and_the_average(made, overfitted, tmp_path):
    changes = {"max_steps": 20, "learning_rate": 0.1, "validate_every_steps": 5, "decay_fraction": 0}
    run = dataclasses.replace(training_run(made, tmp_path, ema_decay=0.8, **changes), packed=overfitted)
    result = train(run, Collected())
    assert result["kept"] == {"step": 20, "weights": "average"}
    assert result["validation"]["bits_per_byte"] == entries(tmp_path)[-1]["ema_bits_per_byte"]
    assert "of step 20 of 20, the average of the weights (EMA)" in (tmp_path / "checkpoint/README.md").read_text()


def test_the_benchmark_measures_each_option(made, tmp_path):
    command = [sys.executable, "tests/benchmarks/optimization_options.py", "--packed", str(made / "packed"), "--tiny"]
    command += ["--steps", "6", "--seeds", "2", "--variants", "dropout 0.1", "all", "--json", str(tmp_path / "o.json")]
    subprocess.run(command, cwd=ROOT, env={"PATH": "", "PYTHONPATH": str(ROOT)}, check=True)
    found = json.loads((tmp_path / "o.json").read_text())
    assert found["num_runs"] == found["num_runs_wanted"] == 6
    assert set(found["variants"]) == {"baseline", "dropout 0.1", "all"}
    difference = found["variants"]["all"]["difference"]
    assert difference["n"] == 2
    assert difference["low"] < difference["mean"] < difference["high"]
