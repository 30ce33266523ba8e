"""A score counts what it says: items as the unit, samples apart, unscored nowhere."""

import json

import pytest

from codeft_eval.benchmarks.catalogue import BENCHMARKS, load_items
from codeft_eval.sandbox.programs import Grade
from codeft_eval.scoring.samples import Completion, Sample, pass_rates, sample_lines
from codeft_eval.scoring.scores import make_score, pass_metrics

ITEMS = load_items(BENCHMARKS["embedded"])[:3]
IDENTITY = {"model": "m", "model_hash": "h", "settings": {}, "tier": "t", "tainted": False, "num_items_total": 3}
IDENTITY |= {"protocol_name": "raw", "protocol": "in words", "prompt_end": "as written", "tool_versions": {}}


def scored(verdicts, likelihoods=()):
    """The score and samples of ITEMS whose samples have these verdicts, item by item."""
    numbered = [
        (item, number, verdict) for item, own in zip(ITEMS, verdicts, strict=True) for number, verdict in enumerate(own)
    ]
    given = list(likelihoods) or [None] * len(numbered)
    samples = [
        Sample(
            Completion(item, number, "x", likelihood),
            Grade(key=item.task_id, verdict=verdict, reason=verdict, detail="", isolation="t"),
        )
        for (item, number, verdict), likelihood in zip(numbered, given, strict=True)
    ]
    lines = sample_lines(samples)
    score = make_score(BENCHMARKS["embedded"], samples, lines, **IDENTITY)
    return score, [json.loads(line) for line in lines.splitlines()]


P, F, U = "passed", "failed", "unscored"


def test_several_samples_give_pass_at_k_with_the_item_as_the_unit():
    score, samples = scored([[P, F, F, F, F], [F] * 5, [P, P, P, P, F]])
    assert (score.num_items, score.num_samples, score.num_scored, score.num_passed) == (3, 5, 15, 5)
    assert score.metrics["pass@1"].n == 3
    assert score.metrics["pass@1"].value == pytest.approx(1 / 3)
    assert score.metrics["pass@5"].value == pytest.approx(2 / 3)
    assert set(score.metrics) == {"pass@1", "pass@5"}
    assert [sample["sample"] for sample in samples] == [0, 1, 2, 3, 4] * 3


def test_one_sample_gives_pass_at_1_only_with_wilsons_interval():
    score, _ = scored([[P], [F], [F]])
    assert (score.num_samples, score.num_items, list(score.metrics)) == (1, 3, ["pass@1"])
    assert score.metrics["pass@1"].low > 0


def test_an_unscored_sample_is_neither_passed_nor_failed():
    score, samples = scored([[P], [U], [F]])
    assert (score.num_scored, score.num_unscored, score.metrics["pass@1"].n) == (2, 1, 2)
    assert pass_rates(samples) == {ITEMS[0].task_id: 1.0, ITEMS[2].task_id: 0.0}


def test_pass_at_k_rests_on_items_with_k_judged_samples():
    found = pass_metrics([[5, 1], [4, 4], [5, 0]])
    assert (found["pass@1"].n, found["pass@5"].n) == (3, 2)
    assert found["pass@5"].value == 0.5


def test_bits_per_byte_counts_an_items_solution_once():
    once, _ = scored([[P], [F], [F]], [-1.0, -2.0, -3.0])
    twice, _ = scored([[P, F], [F, F], [F, F]], [-1.0, -1.0, -2.0, -2.0, -3.0, -3.0])
    assert once.metrics["bits_per_byte"] == twice.metrics["bits_per_byte"]


def test_without_a_verdict_there_is_no_pass_rate():
    score, samples = scored([[U], [U], [U]])
    assert score.metrics == {}
    assert pass_rates(samples) == {}
