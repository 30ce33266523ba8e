"""Decisions about a whole number."""

from __future__ import annotations

from functools import partial

from codeft_assets.exercises.primitives.primitive import BOOL, INT, Primitive, describe

_test = partial(describe, INT, BOOL)

_SMALL, _LARGE = tuple(range(2, 10)), (5, 8, 10, 12, 15, 20, 25, 30)
_DIVISORS, _DIGITS = (2, 3, 4, 5, 6, 7), tuple(range(10))
_DIGIT_TEXT = "[...String(Math.abs($x))]"

NUMBER_TESTS: tuple[Primitive, ...] = (
    _test("even", "is even", "$x % 2 == 0", "$x % 2 === 0"),
    _test("odd", "is odd", "$x % 2 == 1", "$x % 2 !== 0"),
    _test("positive", "is positive", "$x > 0"),
    _test("negative", "is negative", "$x < 0"),
    _test("nonzero", "is not zero", "$x != 0", "$x !== 0"),
    _test("above", "is greater than $k", "$x > $k", choices=_LARGE, argument="limit"),
    _test("below", "is less than $k", "$x < $k", choices=_LARGE, argument="limit"),
    _test("at_least", "is at least $k", "$x >= $k", choices=_LARGE, argument="minimum"),
    _test("at_most", "is at most $k", "$x <= $k", choices=_LARGE, argument="maximum"),
    _test("different", "is different from $k", "$x != $k", "$x !== $k", choices=_SMALL, argument="target"),
    _test(
        "multiple",
        "is a multiple of $k",
        "$x % $k == 0",
        "$x % $k === 0",
        choices=_DIVISORS,
        argument="divisor",
        plural="are multiples of $k",
    ),
    _test(
        "non_multiple",
        "is not a multiple of $k",
        "$x % $k != 0",
        "$x % $k !== 0",
        plural="are not multiples of $k",
        choices=_DIVISORS,
        argument="divisor",
    ),
    _test(
        "small", "is between 1 and $k inclusive", "1 <= $x <= $k", "1 <= $x && $x <= $k", choices=_LARGE, argument="end"
    ),
    _test(
        "near_zero",
        "is at most $k away from zero",
        "abs($x) <= $k",
        "Math.abs($x) <= $k",
        choices=_LARGE,
        argument="distance",
    ),
    _test("one_digit", "has exactly one digit", "abs($x) < 10", "Math.abs($x) < 10"),
    _test("two_digit", "has exactly two digits", "10 <= abs($x) <= 99", "10 <= Math.abs($x) && Math.abs($x) <= 99"),
    _test(
        "ending_in",
        "ends in the digit $k",
        "abs($x) % 10 == $k",
        "Math.abs($x) % 10 === $k",
        choices=_DIGITS,
        argument="digit",
    ),
    _test(
        "with_digit",
        "has the digit $k",
        "str($k) in str($x)",
        "String($x).includes($k)",
        choices=_DIGITS,
        argument="digit",
    ),
    _test(
        "palindromic",
        "reads the same backwards",
        "str(abs($x)) == str(abs($x))[::-1]",
        f"String(Math.abs($x)) === {_DIGIT_TEXT}.reverse().join('')",
    ),
    _test(
        "even_digit_sum",
        "has an even digit sum",
        "sum(int(d) for d in str(abs($x))) % 2 == 0",
        f"{_DIGIT_TEXT}.reduce((a, d) => a + Number(d), 0) % 2 === 0",
    ),
    _test(
        "equal_digits",
        "has no two different digits",
        "len(set(str(abs($x)))) == 1",
        f"new Set({_DIGIT_TEXT}).size === 1",
    ),
    _test(
        "distinct_digits",
        "has no repeated digit",
        "len(set(str(abs($x)))) == len(str(abs($x)))",
        "new Set(String(Math.abs($x))).size === String(Math.abs($x)).length",
    ),
    _test(
        "square",
        "is a perfect square",
        "$x >= 0 and int($x ** 0.5) ** 2 == $x",
        "$x >= 0 && Math.floor($x ** 0.5) ** 2 === $x",
        plural="are perfect squares",
    ),
    _test(
        "prime",
        "is a prime number",
        "$x > 1 and all($x % d for d in range(2, $x))",
        "$x > 1 && ![...Array($x).keys()].some((d) => d > 1 && $x % d === 0)",
        plural="are prime numbers",
    ),
    _test(
        "power_of_two",
        "is a power of two",
        "$x > 0 and $x & ($x - 1) == 0",
        "$x > 0 && ($x & ($x - 1)) === 0",
        plural="are powers of two",
    ),
    _test(
        "ascending_digits",
        "has its digits in ascending order",
        "list(str(abs($x))) == sorted(str(abs($x)))",
        f"String(Math.abs($x)) === {_DIGIT_TEXT}.sort().join('')",
    ),
)
