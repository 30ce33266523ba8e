"""The training forward pass gives the Hub model's numbers; the optimizer and the schedule do what they say."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it

from codeft_training.measure.throughput import flops_per_token, peak_tflops
from codeft_training.model import loss as loss_module
from codeft_training.model.forward import TrainedModel, document_mask
from codeft_training.model.loss import summed_losses
from codeft_training.model.optimizer import Muon, orthogonalize
from codeft_training.model.schedule import FINAL_RATE, MIN_DECAY_STEPS, build_schedule
from codeft_training.recipe_groups import ScheduleConfig
from codeft_training.recipes import RECIPES
from codeft_training.train.run import initial_model

SHAPE = RECIPES["smoke"].override(
    vocab_size=97, context_tokens=24, hidden_size=32, num_layers=2, num_heads=4, num_kv_heads=2, intermediate_size=40
)


def model_and_batch():
    model = initial_model(SHAPE)
    torch.manual_seed(3)
    ids = torch.randint(0, 97, (3, 24))
    labels = torch.where(torch.rand(3, 24) < 0.7, ids.roll(-1, 1), -100)
    labels[:, -1] = -100
    return model, ids, labels


def test_losses_and_gradients_are_those_of_the_hub_model(monkeypatch):
    monkeypatch.setitem(loss_module.CHUNK_LOGITS, "cpu", 97 * 10)  # several chunks, the last one short
    model, ids, labels = model_and_batch()
    logits = model(input_ids=ids).logits.flatten(0, 1)
    counted = labels.flatten() != -100
    wanted = F.cross_entropy(logits, labels.flatten())
    z = torch.logsumexp(logits, -1)[counted].square().mean()
    (wanted + 0.01 * z).backward()
    gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    trained = TrainedModel(model, dtype=torch.float32, z_loss=0.01)
    loss, cross_entropy = trained(ids, labels, torch.tensor(1 / int(counted.sum())))
    loss.backward()
    torch.testing.assert_close(cross_entropy, wanted)
    torch.testing.assert_close(loss, wanted + 0.01 * z)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-4, atol=1e-6)
    nats = trained.token_nats(ids, labels)
    torch.testing.assert_close(nats.flatten()[counted].mean(), wanted)


def test_a_masked_document_is_read_as_if_it_stood_alone():
    model, ids, labels = model_and_batch()
    trained = TrainedModel(model, dtype=torch.float32, z_loss=0.0)
    documents = torch.zeros(3, 24, dtype=torch.long)
    documents[:, 10:] = 1
    one = torch.tensor(1.0)
    with torch.no_grad():
        together = trained(ids, labels.where(documents == 1, -100), one, document_mask(documents))[0]
        # rotary positions are relative, so where a document stands does not matter
        alone = trained(ids[:, 10:], labels[:, 10:], one)[0]
        unmasked = trained(ids, labels.where(documents == 1, -100), one)[0]
    torch.testing.assert_close(together, alone)
    assert not torch.allclose(unmasked, alone)


def test_the_gradient_is_scaled_by_what_follows():
    hidden, weight = torch.randn(5, 4, requires_grad=True), torch.randn(7, 4, requires_grad=True)
    labels = torch.tensor([1, -100, 6, 0, 3])
    (3 * summed_losses(hidden, weight, labels, torch.tensor(0.5), 0.0)[0]).backward()
    found = hidden.grad.clone()
    hidden.grad = None
    (1.5 * F.cross_entropy(hidden @ weight.T, labels, reduction="sum")).backward()
    torch.testing.assert_close(found, hidden.grad)


@pytest.mark.parametrize("shape", [(3, 64, 48), (2, 32, 96)])
def test_an_orthogonalized_matrix_has_singular_values_near_one(shape):
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonalize(torch.randn(*shape) * 100))
    assert values.min() > 0.3
    assert values.max() < 1.3


def test_muon_steps_as_torch_does():
    torch.manual_seed(0)
    ours, theirs = (torch.nn.Parameter(torch.randn(12, 20, generator=torch.manual_seed(1))) for _ in range(2))
    muon = Muon({"w": ours}, weight_decay=0.1)
    reference = torch.optim.Muon([theirs], lr=0.02, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        ours.grad = theirs.grad = torch.randn(12, 20)
        muon.step(0.02)
        reference.step()
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-3)  # torch iterates in bf16


def simulated(seconds_of_step, *, budget_seconds=0.0, **config):
    """Return the rates of a run whose steps take so long, and the time it took."""
    schedule = build_schedule(ScheduleConfig(**config), budget_seconds=budget_seconds)
    step, seconds, rates = 0, 0.0, []
    while step < schedule.last_step:
        schedule = schedule.planned(step, seconds, seconds / step if step else 1.0)
        rates.append(schedule.rate(step))
        seconds += seconds_of_step(step)
        step += 1
    return rates, seconds


def test_a_run_by_steps_warms_up_stays_and_decays():
    rates, _ = simulated(lambda step: 1.0, max_steps=100, warmup_fraction=0.1, decay_fraction=0.4)
    assert len(rates) == 100
    assert rates[:11] == pytest.approx([(i + 1) / 11 for i in range(11)])
    assert set(rates[11:60]) == {1.0}
    assert rates[60:] == sorted(rates[60:], reverse=True)
    assert rates[-1] == pytest.approx(FINAL_RATE)


@pytest.mark.parametrize(
    ("name", "seconds_of_step"),
    [
        ("steady", lambda step: 0.5),
        ("a first step that compiles", lambda step: 40.0 if step == 0 else 0.5),
        ("twice as slow in the decay", lambda step: 0.5 if step < 150 else 1.0),
        ("a stall in the decay", lambda step: 15.0 if step == 160 else 0.5),
        ("twice as fast in the decay", lambda step: 0.5 if step < 150 else 0.25),
    ],
)
def test_a_budget_of_time_is_kept_and_ends_annealed(name, seconds_of_step):
    config = {"max_steps": 10**6, "warmup_fraction": 0, "decay_fraction": 0.4}
    rates, seconds = simulated(seconds_of_step, budget_seconds=100, **config)
    assert rates[-1] == pytest.approx(FINAL_RATE)
    assert rates == sorted(rates, reverse=True)
    assert 80 <= seconds <= 115


def test_a_budget_that_is_over_at_once_still_decays():
    rates, _ = simulated(lambda step: 5.0, budget_seconds=1, max_steps=10**6, warmup_fraction=0)
    assert len(rates) == MIN_DECAY_STEPS + 1
    assert rates[-1] == pytest.approx(FINAL_RATE)


def test_a_token_costs_six_operations_a_weight_and_attention_over_half_the_row():
    config = initial_model(SHAPE).config
    weights = 2 * (32 * 32 + 2 * 32 * 16 + 32 * 32 + 3 * 32 * 40) + 97 * 32
    assert flops_per_token(config, 24) == 6 * weights + 6 * 2 * 24 * 32


@pytest.mark.parametrize(
    ("name", "peak"), [("NVIDIA H200", 989.0), ("NVIDIA A100-SXM4-80GB", 312.0), ("NVIDIA Unheard-Of 9", None)]
)
def test_the_peak_of_an_unknown_device_is_not_known(name, peak):
    assert peak_tflops(name) == peak
