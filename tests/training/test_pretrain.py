"""Our step loop: whatever happens to it, it ends in the same weights or says why it cannot go on."""

import dataclasses
import itertools
import json
import math
import resource
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from codeft_assets.base.files import file_hash
from codeft_training.data.corpus import Corpus
from codeft_training.data.packed_rows import PackedRows
from codeft_training.data.packing import pack
from codeft_training.measure.metrics import Metrics
from codeft_training.model.distributed import DistributedContext
from codeft_training.model.optimizer import build_optimizer
from codeft_training.model.schedule import FINAL_RATE
from codeft_training.train import pretrain
from codeft_training.train.checkpoints import WEIGHTS, latest_valid
from codeft_training.train.run import build_callbacks, build_pretrainer, initial_model, train
from codeft_training.train.signals import StopRequest
from tests.training.children import Collected, eight_kills, finetuning_run, together, training_run
from tests.training.corpus_folder import plain, write_corpus

pytestmark = pytest.mark.usefixtures("one_thread")

ALONE = DistributedContext(0, 1, torch.device("cpu"))


def resumed(run, reporter=None):
    """Return the engine of a run, ready for its next step."""
    run.work.mkdir(parents=True, exist_ok=True)
    callbacks = build_callbacks(run, Metrics(run.work, reporter or Collected()), StopRequest(), ALONE)
    pretrainer = build_pretrainer(run, callbacks, ALONE)
    pretrainer.resume()
    return pretrainer


def weights(pretrainer):
    return {name: tensor.detach().clone() for name, tensor in pretrainer.model.named_parameters()}


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def result(output):
    return json.loads((output / "result.json").read_text())


def losses(output):
    entries = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [(entry["step"], entry["loss"]) for entry in entries if "loss" in entry]


def assert_kills_change_nothing(make_run, tmp_path, num_steps):
    train(make_run(tmp_path / "undisturbed"), Collected())
    lines = eight_kills(make_run(tmp_path / "killed"), seed=7)
    assert sum("resuming from checkpoint-" in line for line in lines) == 8
    first, second = result(tmp_path / "undisturbed"), result(tmp_path / "killed")
    assert first["weights_hash"] == second["weights_hash"]
    assert losses(tmp_path / "undisturbed") == losses(tmp_path / "killed")
    assert [step for step, _ in losses(tmp_path / "killed")] == list(range(1, num_steps + 1))  # none twice or missing


@pytest.mark.slow
def test_eight_kills_at_random_moments_change_no_bit(made, tmp_path):
    steps = {"max_steps": 30, "save_every_steps": 1, "validate_every_steps": 15}
    assert_kills_change_nothing(lambda output: training_run(made, output, **steps), tmp_path, 30)


@pytest.mark.slow
def test_eight_kills_at_random_moments_change_no_bit_of_a_fine_tuned_model(made, tmp_path):
    train(training_run(made, tmp_path / "base", max_steps=2), Collected())
    steps = {"max_steps": 30, "save_every_steps": 1, "validate_every_steps": 15, "accumulation_steps": 1}
    base = tmp_path / "base" / "checkpoint"
    assert_kills_change_nothing(lambda output: finetuning_run(made, base, output, **steps), tmp_path, 30)


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["replicate", "shard"])
def test_two_processes_reproduce_the_losses_of_one(made, tmp_path, parallel):
    changes = {"parallel": parallel, "optimizer": "muon" if parallel == "replicate" else "adamw", "max_steps": 6}
    train(training_run(made, tmp_path / "one", **(changes | {"parallel": "replicate"})), Collected())
    together(*[training_run(made, tmp_path / "two", **changes)] * 2)
    for (step, loss), (other_step, other) in zip(losses(tmp_path / "one"), losses(tmp_path / "two"), strict=True):
        assert step == other_step
        assert loss == pytest.approx(other, abs=1e-5)
    validations = [result(tmp_path / name)["validation"]["bits_per_byte"] for name in ("one", "two")]
    assert validations[0] == pytest.approx(validations[1], abs=1e-4)


def test_a_step_whose_gradient_is_no_number_changes_nothing(made, tmp_path):
    reporter = Collected()
    pretrainer = resumed(training_run(made, tmp_path), reporter)
    for _ in range(3):
        pretrainer.train_step()
    before, optimizer = weights(pretrainer), {k: v.clone() for k, v in pretrainer._optimizer.tensors().items()}
    parameter = next(pretrainer.model.parameters())
    hook = parameter.register_hook(lambda grad: grad * float("nan"))
    pretrainer.train_step()
    assert same(before, weights(pretrainer))
    assert same(optimizer, pretrainer._optimizer.tensors())
    assert "this step changes nothing" in "".join(reporter.lines)
    entry = reporter.observed[-1]
    assert entry["step"] == 4
    assert entry["num_skipped_steps"] == 1
    assert "loss" not in entry  # a loss that was not measured is missing, not 0.0
    assert "grad_norm" not in entry
    hook.remove()
    pretrainer.train_step()
    assert not same(before, weights(pretrainer))
    assert math.isfinite(reporter.observed[-1]["loss"])


def test_three_steps_that_are_no_number_end_the_run_and_keep_the_last_checkpoint(made, tmp_path):
    run = training_run(made, tmp_path)
    pretrainer = resumed(run)
    for _ in range(3):
        pretrainer.train_step()
    next(pretrainer.model.parameters()).register_hook(lambda grad: grad * float("inf"))
    pretrainer.train_step()
    pretrainer.train_step()
    with pytest.raises(FloatingPointError, match=r"at step 6 are not finite; lower learning_rate .* 3 steps in a row"):
        pretrainer.train_step()
    assert latest_valid(run.work).name == "checkpoint-3"


def test_weights_that_are_no_number_are_not_saved(made, tmp_path):
    pretrainer = resumed(training_run(made, tmp_path))
    with torch.no_grad():
        next(pretrainer.model.parameters())[0, 0] = float("nan")
    with pytest.raises(FloatingPointError, match="weights at step 0 are not finite"):
        pretrainer.save()


def test_out_of_memory_halves_the_micro_batch_and_keeps_the_global_batch(made, tmp_path):
    reporter = Collected()
    whole, halved = resumed(training_run(made, tmp_path / "a")), resumed(training_run(made, tmp_path / "b"), reporter)

    def more_than_two_rows(module, arguments):
        if len(arguments[0]) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")

    halved._trained.register_forward_pre_hook(more_than_two_rows)
    for _ in range(3):
        whole.train_step()
        halved.train_step()
    assert halved.state.micro_rows == 1
    assert [line for line in reporter.lines if "out of memory" in line] == [
        f"out of memory: {n} rows a micro-batch from here on, the global batch stays" for n in (2, 1)
    ]
    for name, tensor in weights(whole).items():
        torch.testing.assert_close(weights(halved)[name], tensor, rtol=1e-3, atol=1e-5)
    pretrainer = resumed(dataclasses.replace(training_run(made, tmp_path / "b")))
    assert pretrainer.state.micro_rows == 1  # a resumed run does not fail at the same place again


def test_a_row_that_does_not_fit_is_a_clear_error(made, tmp_path):
    pretrainer = resumed(training_run(made, tmp_path))

    def never(module, arguments):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] . DefaultCPUAllocator: can't allocate memory: you tried")

    pretrainer._trained.register_forward_pre_hook(never)
    with pytest.raises(OSError, match="a single row does not fit the memory; choose a smaller model"):
        pretrainer.train_step()


def test_a_full_disk_is_a_clear_error_and_the_last_checkpoint_stays_whole(made, tmp_path):
    run = training_run(made, tmp_path)
    pretrainer = resumed(run)
    for _ in range(3):
        pretrainer.train_step()
    before = file_hash(run.work / "checkpoint-3" / WEIGHTS)
    pretrainer.train_step()
    pretrainer.train_step()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))  # the kernel refuses to write on, as on a full disk
    try:
        with pytest.raises(OSError, match=r"cannot write .*checkpoint-5: .* is full: free space and run again"):
            pretrainer.save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert latest_valid(run.work).name == "checkpoint-3"
    assert file_hash(run.work / "checkpoint-3" / WEIGHTS) == before
    assert not list(run.work.glob(".tmp-*"))


def test_a_run_with_a_time_budget_ends_annealed(made, tmp_path, monkeypatch):
    ticks = itertools.count()
    monkeypatch.setattr(pretrain, "time", SimpleNamespace(monotonic=lambda: next(ticks) / 100))  # however busy we are
    reporter = Collected()
    run = training_run(made, tmp_path, max_steps=20_000, budget_seconds=1.0, save_every_steps=10**6, warmup_fraction=0)
    result = train(run, reporter)
    rates = [entry["learning_rate"] for entry in reporter.observed if "learning_rate" in entry]
    assert rates[-1] == pytest.approx(FINAL_RATE * run.recipe.optimization.learning_rate)
    assert max(rates) == run.recipe.optimization.learning_rate
    assert (
        result["num_tokens_seen"]
        == len(rates) * run.recipe.data.tokens_per_step
        < 20_000 * run.recipe.data.tokens_per_step
    )


def test_a_run_with_a_time_budget_reads_the_annealing_rows_at_its_end(tmp_path, made, monkeypatch):
    rows = [plain(i, lines=40, epochs=2, annealing=int(i < 10)) for i in range(40)]
    corpus = Corpus(write_corpus(tmp_path / "corpus", rows))
    train_rows = pack(corpus, made / "tokenizer", tmp_path / "packed", context_tokens=64)["splits"]["train"]
    ticks = itertools.count()
    monkeypatch.setattr(pretrain, "time", SimpleNamespace(monotonic=lambda: next(ticks) / 100))
    run = training_run(made, tmp_path, max_steps=20_000, budget_seconds=2.0, save_every_steps=10**6, log_every_steps=10)
    pretrainer = resumed(dataclasses.replace(run, packed=PackedRows(tmp_path / "packed")))
    read, readings = [], pretrainer._batches.readings
    monkeypatch.setattr(pretrainer._batches, "readings", lambda *key: read.append((key, readings(*key))) or read[-1][1])
    while not pretrainer.is_done:
        pretrainer.train_step()
    last = {key[0]: found for key, found in read}  # a step prepared before the end was known is prepared again
    order = np.concatenate([last[step] for step in range(pretrainer.state.step)])
    is_annealing = order % train_rows["num_rows"] >= train_rows["num_rows"] - train_rows["num_annealing_rows"]
    first = int(is_annealing.argmax())
    assert is_annealing[first:].all()
    wanted = train_rows["num_annealing_rows"] / train_rows["num_rows"]
    assert is_annealing.mean() == pytest.approx(wanted, rel=0.15)


def test_only_hidden_matrices_are_orthogonalized_and_only_they_decay(made, tmp_path):
    recipe = training_run(made, tmp_path, weight_decay=0.5).recipe
    model = initial_model(recipe)
    optimizer = build_optimizer(model.named_parameters(), "muon", recipe.optimization)
    momenta = {name.removeprefix("momentum.") for name in optimizer.tensors() if name.startswith("momentum.")}
    assert momenta == {name for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name}
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step(0.1)
    for name, parameter in model.named_parameters():
        factor = 0.95 if name in momenta else 1.0
        torch.testing.assert_close(parameter.detach(), before[name] * factor)
