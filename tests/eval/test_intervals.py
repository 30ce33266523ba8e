import math

import pytest

from codeft_eval.intervals import bits_per_byte, pass_at_k, proportion, risk_ratio


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


def test_a_proportion_carries_its_n_and_standard_error():
    found = proportion(72, 164)
    assert (found.n, round(found.value, 4), round(found.stderr, 4)) == (164, 0.4390, 0.0388)


@pytest.mark.parametrize(("passed", "n"), [(0, 0), (3, 2), (-1, 2)])
def test_a_proportion_of_impossible_counts_is_refused(passed, n):
    with pytest.raises(ValueError, match="n is positive"):
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
    assert round(pass_at_k(n, passed, k), 4) == expected


@pytest.mark.parametrize(("n", "passed", "k"), [(3, 1, 4), (3, 4, 1), (3, 1, 0)])
def test_pass_at_k_of_impossible_counts_is_refused(n, passed, k):
    with pytest.raises(ValueError, match="draw more samples"):
        pass_at_k(n, passed, k)


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
