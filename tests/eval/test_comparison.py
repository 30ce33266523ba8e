"""Comparisons agree with published and independently computed values."""

import math

import numpy as np
import pytest

from codeft_eval.scoreboard.reference import published_verdicts
from codeft_eval.statistics.comparison import holm, mcnemar, paired, paired_bits, unpaired


def pairs(both, gained, lost, neither):
    """Verdicts of two models by how often each of the four outcomes occurred."""
    ours = [1.0] * (both + gained) + [0.0] * (lost + neither)
    theirs = [1.0] * both + [0.0] * gained + [1.0] * lost + [0.0] * neither
    names = [str(index) for index in range(len(ours))]
    return dict(zip(names, ours, strict=True)), dict(zip(names, theirs, strict=True))


# Qwen2.5-Coder 1.5B against 7B on the authors' stored verdicts: difference and its interval, standard error paired and
# unpaired, ratio and its interval, p. From the four counts; computed apart from this code, see the evaluation notes.
@pytest.mark.parametrize(
    ("counts", "difference", "stderrs", "ratio", "p"),
    [
        ((63, 9, 38, 54), (-17.7, -25.6, -9.8), (3.96, 5.44), (0.71, 0.60, 0.83), 3e-5),
        ((248, 28, 59, 64), (-7.8, -12.3, -3.3), (2.31, 3.13), (0.90, 0.84, 0.96), 1e-3),
    ],
)
def test_qwen_1_5b_against_7b_gives_the_known_interval_error_ratio_and_p(counts, difference, stderrs, ratio, p):
    ours, theirs = pairs(*counts)
    found = paired(ours, theirs)
    shown = [100 * value for value in (found.difference.value, found.difference.low, found.difference.high)]
    assert shown == pytest.approx(difference, abs=0.7)  # one item of 164 is 0.6 points
    apart = unpaired((int(sum(ours.values())), found.n), (int(sum(theirs.values())), found.n))
    assert [100 * found.stderr, 100 * apart.stderr] == pytest.approx(stderrs, abs=0.03)
    assert found.ratio is not None
    assert [found.ratio.value, found.ratio.low, found.ratio.high] == pytest.approx(ratio, abs=0.011)
    assert found.p_value == pytest.approx(p, rel=0.3)


def test_published_verdicts_of_qwen_pair_their_two_test_sets():
    plus, base = (published_verdicts("Qwen2.5-Coder-1.5B", f"humaneval{name}") for name in ("_plus", ""))
    found = paired(plus, base)
    assert (found.n, found.gained, len(found.lost)) == (164, (), 12)  # 60 of 164 against 72: more tests only lose items
    assert round(100 * found.difference.value, 1) == -7.3
    assert found.p_value == mcnemar(0, 12) == 2 / 2**12


@pytest.mark.parametrize(("gained", "lost", "p"), [(0, 0, 1.0), (5, 5, 1.0), (0, 5, 0.0625), (1, 9, 0.021484375)])
def test_mcnemar_is_the_exact_sign_test_of_the_pairs_that_disagree(gained, lost, p):
    assert mcnemar(gained, lost) == mcnemar(lost, gained) == p


@pytest.mark.parametrize(("n", "low", "high"), [(164, 10, 12), (399, 6, 7.6), (1319, 3.3, 4.2)])
def test_the_detectable_difference_is_the_known_one(n, low, high):
    # rates of 40 % that agree with rho 0.4 to 0.6: between 10 and 12 points on HumanEval
    for correlation, bound in ((0.6, low), (0.4, high)):
        both = round(n * (0.4**2 + correlation * 0.24))
        one = round(n * 0.4) - both
        found = 100 * paired(*pairs(both, one, one, n - both - 2 * one)).detectable
        assert found == pytest.approx(bound, abs=0.9)


def test_a_model_at_zero_has_an_interval_of_the_ratio_and_a_detectable_difference():
    found = paired(*pairs(0, 0, 72, 92))
    assert found.ratio is not None
    assert (found.ratio.value, found.ratio.low) == (0.0, 0.0)
    assert 0 < found.ratio.high < 0.1
    nothing = paired(*pairs(0, 0, 0, 164))
    assert (nothing.ratio, nothing.p_value) == (None, 1.0)
    assert nothing.detectable > 0.01
    assert nothing.difference.low < -0.01 < 0.01 < nothing.difference.high  # no pair disagrees: sure, but not certain


def test_a_reference_near_zero_has_no_ratio():
    assert unpaired((5, 148), (2, 148)).ratio is None
    assert unpaired((5, 148), (11, 148)).ratio is not None  # 7 %, as of MultiPL-E Bash
    assert paired(*pairs(1, 4, 1, 142)).ratio is None


def test_an_unpaired_difference_has_newcombes_interval():
    # 56 of 70 against 48 of 80: 0.2, from 0.0524 to 0.3339 (Newcombe, Statistics in Medicine 17 (1998), table II)
    found = unpaired((56, 70), (48, 80)).difference
    assert [round(value, 4) for value in (found.value, found.low, found.high)] == [0.2, 0.0524, 0.3339]


def test_translations_of_the_same_items_do_not_make_a_difference_surer():
    ours, theirs = pairs(30, 6, 20, 44)
    names = ("js", "ts", "go", "cpp")
    many = [{f"{lang}/{item}": value for lang in names for item, value in side.items()} for side in (ours, theirs)]
    clustered = paired(*many, to_cluster=lambda item: item.split("/")[1])
    one, naive = paired(ours, theirs), paired(*many)
    assert math.isclose(clustered.stderr, one.stderr)
    width, once, too_sure = (found.difference.high - found.difference.low for found in (clustered, one, naive))
    assert width == pytest.approx(once, rel=0.1)
    assert too_sure < 0.6 * once
    assert naive.stderr == pytest.approx(one.stderr / 2, rel=0.01)
    assert clustered.p_value == pytest.approx(one.p_value, abs=0.01)
    assert naive.p_value < one.p_value / 100


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng, covered = np.random.default_rng(7), 0
    for _ in range(200):
        skill = rng.random(164)
        sides = [(rng.random(164) < skill * factor).astype(float) for factor in (0.5, 0.8)]
        found = paired(*({str(i): value for i, value in enumerate(side)} for side in sides)).difference
        covered += found.low <= -0.15 <= found.high
    assert 180 <= covered <= 200


def test_bits_per_byte_of_the_same_texts_are_compared_text_by_text():
    rng = np.random.default_rng(1)
    sizes = rng.integers(20, 400, 44)
    hardness = rng.uniform(0.5, 3.0, 44)  # texts differ far more than the models do
    theirs = {str(i): (-h * n * math.log(2), int(n)) for i, (h, n) in enumerate(zip(hardness, sizes, strict=True))}
    ours = {item: (nats * rng.normal(1.05, 0.01), n) for item, (nats, n) in theirs.items()}
    found = paired_bits(ours, theirs)
    assert found.ratio is not None
    assert found.ratio.low < 1.05 < found.ratio.high
    assert found.ratio.high - found.ratio.low < 0.02
    assert found.difference.low > 0
    assert found.p_value is not None
    assert found.p_value < 0.001
    swapped = paired_bits(theirs, ours)
    assert swapped.difference.value == pytest.approx(-found.difference.value)
    with pytest.raises(ValueError, match="none in common"):
        paired_bits(ours, {"other": (1.0, 1)})


def test_the_interval_of_bits_covers_the_truth_as_often_as_it_says():
    rng, covered = np.random.default_rng(5), 0
    for _ in range(300):
        sizes = rng.integers(50, 150, 60)
        ours = {str(i): (-n * math.log(2) * rng.normal(1.5, 0.3), int(n)) for i, n in enumerate(sizes)}
        theirs = {item: (nats - n * math.log(2) * rng.normal(-0.2, 0.2), n) for item, (nats, n) in ours.items()}
        gap = paired_bits(ours, theirs).difference
        covered += gap.low <= 0.2 <= gap.high
    assert 275 <= covered <= 297


def test_holm_adjusts_in_steps_and_never_falls():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


def test_no_item_in_common_is_refused():
    with pytest.raises(ValueError, match="none in common"):
        paired({"a": 1.0}, {"b": 1.0})
