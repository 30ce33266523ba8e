import itertools
import math

import numpy as np
import pytest

from codeft_eval.statistics.intervals import bits_per_byte, mean_of_items, pass_at_k, proportion, risk_ratio


@pytest.mark.parametrize(
    ("passed", "n", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),  # Wilson's interval, as in Newcombe, Statistics in Medicine 17 (1998), table I
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (29, 29, 0.8830, 1.0),
    ],
)
def test_wilson_interval_agrees_with_published_values(passed, n, low, high):
    found = proportion(passed, n)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


@pytest.mark.parametrize("n", [1, 5, 44, 164])
def test_wilson_interval_is_scipys(n):
    from scipy.stats import binomtest

    for passed in range(n + 1):
        found, expected = proportion(passed, n), binomtest(passed, n).proportion_ci(method="wilson")
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_a_proportion_carries_its_n_and_standard_error():
    found = proportion(72, 164)
    assert (found.n, round(found.value, 4), round(found.stderr, 4)) == (164, 0.4390, 0.0388)


@pytest.mark.parametrize(("passed", "n"), [(0, 0), (3, 2), (-1, 2)])
def test_a_proportion_of_impossible_counts_is_refused(passed, n):
    with pytest.raises(ValueError, match="n be positive"):
        proportion(passed, n)


def test_bits_per_byte_of_a_fair_coin_a_bit_is_eight():
    found = bits_per_byte([-8 * math.log(2), -16 * math.log(2)], [1, 2])
    assert (found.value, found.stderr) == (8.0, 0.0)


def test_bits_per_byte_error_grows_with_the_spread_of_texts():
    even = bits_per_byte([-10.0, -10.0, -10.0, -11.0], [10] * 4)
    uneven = bits_per_byte([-1.0, -19.0, -5.0, -16.0], [10] * 4)
    assert math.isclose(even.value, uneven.value)
    assert uneven.stderr > 5 * even.stderr
    # the ratio estimator with equal sizes is the mean's standard error
    bits = [value / math.log(2) / 10 for value in (1.0, 19.0, 5.0, 16.0)]
    mean = sum(bits) / 4
    assert math.isclose(uneven.stderr, math.sqrt(sum((bit - mean) ** 2 for bit in bits) / 3 / 4))


@pytest.mark.parametrize(
    ("n", "passed", "k", "expected"),
    [(1, 1, 1, 1.0), (1, 0, 1, 0.0), (10, 3, 1, 0.3), (20, 2, 10, 0.7632), (5, 4, 2, 1.0)],
)
def test_pass_at_k_is_the_unbiased_estimator(n, passed, k, expected):
    assert round(float(pass_at_k(n, passed, k)), 4) == expected


def test_pass_at_k_averages_to_the_chance_over_every_choice_of_k_samples():
    samples = [1, 0, 0, 1, 0, 0]
    chances = [any(choice) for choice in itertools.combinations(samples, 3)]
    assert math.isclose(pass_at_k(6, 2, 3), sum(chances) / len(chances))


def test_pass_at_k_takes_all_items_at_once():
    assert pass_at_k([20, 20, 1000], [2, 0, 999], 10).round(4).tolist() == [0.7632, 0.0, 1.0]


def test_pass_at_k_is_unbiased_where_the_plug_in_is_not():
    # p = 0.1, n = 20, k = 10: the truth is 0.651, 1 - (1 - c/n)^k averages 0.567
    counts = np.random.default_rng(1).binomial(20, 0.1, 200_000)
    assert round(float(pass_at_k(20, counts, 10).mean()), 2) == 0.65
    assert round(float((1 - (1 - counts / 20) ** 10).mean()), 2) == 0.57


@pytest.mark.parametrize(("n", "passed", "k"), [(3, 1, 4), (3, 4, 1), (3, 1, 0), ([4, 3], [1, 1], 4)])
def test_pass_at_k_of_impossible_counts_is_refused(n, passed, k):
    with pytest.raises(ValueError, match="draw more samples"):
        pass_at_k(n, passed, k)


def test_a_mean_of_items_agrees_with_the_proportion():
    found = mean_of_items([1.0] * 72 + [0.0] * 92)
    assert (found.n, round(found.value, 4), round(found.stderr, 3)) == (164, 0.4390, 0.039)


def test_a_mean_of_items_has_a_width_at_zero_and_at_one():
    zero, one = mean_of_items([0.0] * 64), mean_of_items([1.0] * 64)
    assert (zero.low, zero.high) == (0.0, proportion(0, 64).high)
    assert (one.low, one.high) == (proportion(64, 64).low, 1.0)
    assert mean_of_items([0.0] * 64, clusters=[str(i % 16) for i in range(64)]).high == proportion(0, 16).high


@pytest.mark.parametrize("value", [0.1, 0.3, 0.7])
def test_equal_values_are_as_many_draws_as_items(value):
    """Rounding of their mean is no spread."""
    counted = proportion(round(value * 70), 70)
    assert mean_of_items([value] * 70).low == pytest.approx(counted.low)
    assert mean_of_items([value] * 70).high == pytest.approx(counted.high)


@pytest.mark.parametrize(("items", "samples", "least"), [(164, 16, 0.90), (44, 4, 0.88)])
def test_the_interval_of_a_small_mean_holds_the_truth(items, samples, least):
    """One item in fifty passes half of the time, as of a tiny model; a normal interval holds it in 58 to 88 %."""
    rng = np.random.default_rng(7)
    held = 0
    for _ in range(400):
        chances = (rng.random(items) < 0.02) * 0.5
        found = mean_of_items(rng.binomial(samples, chances) / samples)
        held += found.low <= 0.01 <= found.high
    assert held / 400 >= least


def test_translations_of_one_problem_count_as_one_draw():
    problems = [1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0]
    once = mean_of_items(problems)
    seven = mean_of_items(problems * 7, clusters=[f"HumanEval/{i}" for i in range(8)] * 7)
    assert math.isclose(seven.stderr, once.stderr)
    assert mean_of_items(problems * 7).stderr < once.stderr / 2


@pytest.mark.parametrize("values", [[], [1.1], [-0.1, 1.0]])
def test_a_mean_of_impossible_values_is_refused(values):
    with pytest.raises(ValueError, match="a score needs items"):
        mean_of_items(values)


def test_koopman_interval_agrees_with_his_example():
    # 36 of 40 against 16 of 80: 4.5 (2.94 to 7.15), Koopman 1984
    assert [round(value, 2) for value in risk_ratio((36, 40), (16, 80))] == [4.5, 2.94, 7.15]


def test_a_ratio_of_no_passes_has_an_upper_bound_above_zero():
    value, low, high = risk_ratio((0, 48), (72, 164))
    assert (value, low) == (0.0, 0.0)
    assert 0.1 < high < 0.3


def test_equal_rates_have_ratio_one_inside_the_interval():
    value, low, high = risk_ratio((48, 48), (48, 48))
    assert value == 1.0
    assert low < 1.0 < high


def test_a_ratio_to_a_reference_that_passed_nothing_is_refused():
    with pytest.raises(ValueError, match="report n/a"):
        risk_ratio((1, 10), (0, 10))
