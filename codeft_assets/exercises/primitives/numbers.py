"""Primitives from a whole number to a number, a text or a list."""

from __future__ import annotations

from functools import partial

from codeft_assets.exercises.primitives.primitive import INT, INTS, STR, Primitive, describe

_change = partial(describe, INT, INT)
_text, _list = partial(describe, INT, STR), partial(describe, INT, INTS)

_SMALL, _LARGE = tuple(range(2, 10)), (5, 8, 10, 12, 15, 20, 25, 30)
_DIGIT_TEXT = "[...String(Math.abs($x))]"

CHANGES: tuple[Primitive, ...] = (
    _change("square", "the square of {}", "$x ** 2"),
    _change("cube", "the cube of {}", "$x ** 3"),
    _change("double", "twice {}", "$x * 2", plural="the doubles of {}"),
    _change("triple", "three times {}", "$x * 3", plural="the triples of {}"),
    _change(
        "half", "half of {} rounded down", "$x // 2", "Math.floor($x / 2)", plural="the halves, rounded down, of {}"
    ),
    _change("absolute", "the absolute value of {}", "abs($x)", "Math.abs($x)"),
    _change("negated", "the negation of {}", "-$x"),
    _change(
        "plus",
        "the sum of $k and {}",
        "$x + $k",
        plural="the sums of $k and each of {}",
        choices=_SMALL,
        argument="amount",
    ),
    _change(
        "minus",
        "{} minus $k",
        "$x - $k",
        plural="the differences of each of {} and $k",
        choices=_SMALL,
        argument="amount",
    ),
    _change(
        "times",
        "the product of $k and {}",
        "$x * $k",
        plural="the products of $k and each of {}",
        choices=_SMALL,
        argument="factor",
    ),
    _change(
        "remainder",
        "the remainder of {} divided by $k",
        "$x % $k",
        "(($x % $k) + $k) % $k",
        choices=_SMALL,
        argument="divisor",
    ),
    _change(
        "quotient",
        "the quotient, rounded down, of {} and $k",
        "$x // $k",
        "Math.floor($x / $k)",
        plural="the quotients, rounded down, of each of {} and $k",
        choices=_SMALL,
        argument="divisor",
    ),
    _change(
        "distance", "the distance of {} from $k", "abs($x - $k)", "Math.abs($x - $k)", choices=_LARGE, argument="target"
    ),
    _change(
        "capped",
        "the smaller one of {} and $k",
        "min($x, $k)",
        "Math.min($x, $k)",
        plural="the smaller one of each of {} and $k",
        choices=_LARGE,
        argument="maximum",
    ),
    _change(
        "raised",
        "the larger one of {} and $k",
        "max($x, $k)",
        "Math.max($x, $k)",
        plural="the larger one of each of {} and $k",
        choices=_LARGE,
        argument="minimum",
    ),
    _change("last_digit", "the last digit of {}", "abs($x) % 10", "Math.abs($x) % 10"),
    _change("first_digit", "the first digit of {}", "int(str(abs($x))[0])", "Number(String(Math.abs($x))[0])"),
    _change(
        "digit_count",
        "the number of digits of {}",
        "len(str(abs($x)))",
        "String(Math.abs($x)).length",
        plural="the numbers of digits of {}",
    ),
    _change(
        "digit_sum",
        "the digit sum of {}",
        "sum(int(d) for d in str(abs($x)))",
        f"{_DIGIT_TEXT}.reduce((a, d) => a + Number(d), 0)",
    ),
    _change(
        "largest_digit",
        "the largest digit of {}",
        "max(int(d) for d in str(abs($x)))",
        f"Math.max(...{_DIGIT_TEXT}.map(Number))",
    ),
    _change(
        "smallest_digit",
        "the smallest digit of {}",
        "min(int(d) for d in str(abs($x)))",
        f"Math.min(...{_DIGIT_TEXT}.map(Number))",
    ),
    _change(
        "reversed_digits",
        "the reversed digits of {}",
        "int(str(abs($x))[::-1])",
        f"Number({_DIGIT_TEXT}.reverse().join(''))",
        plural="the numbers with the reversed digits of {}",
    ),
    _change(
        "divisor_count",
        "the number of divisors of {}",
        "sum(1 for d in range(1, $x + 1) if $x % d == 0)",
        "[...Array(Math.max($x, 0) + 1).keys()].filter((d) => d > 0 && $x % d === 0).length",
        plural="the numbers of divisors of {}",
    ),
    _change(
        "bit_count",
        "the number of ones in the binary digits of {}",
        "bin(abs($x)).count('1')",
        "Math.abs($x).toString(2).split('1').length - 1",
        plural="the numbers of ones in the binary digits of {}",
    ),
    _change(
        "rounded",
        "{} rounded down to a multiple of $k",
        "$x // $k * $k",
        "Math.floor($x / $k) * $k",
        plural="the multiples of $k to which each of {} is rounded down",
        choices=_SMALL,
        argument="step",
    ),
    _change(
        "sign",
        "the sign of {} (1, 0 or -1)",
        "($x > 0) - ($x < 0)",
        "Math.sign($x)",
        plural="the signs (1, 0 or -1) of {}",
    ),
)
TEXTS: tuple[Primitive, ...] = (
    _text("binary", "the binary form of {}", "format($x, 'b')", "$x.toString(2)"),
    _text("hexadecimal", "the hexadecimal form of {}", "format($x, 'x')", "$x.toString(16)"),
    _text("decimal", "the decimal form of {}", "str($x)", "String($x)"),
    _text(
        "stars",
        "the string of as many stars as {}",
        "'*' * $x",
        "'*'.repeat(Math.max($x, 0))",
        plural="the strings of as many stars as each of {}",
    ),
)
LISTS: tuple[Primitive, ...] = (
    _list(
        "up_to",
        "the whole numbers from 1 to {}",
        "list(range(1, $x + 1))",
        "[...Array(Math.max($x, 0)).keys()].map((i) => i + 1)",
        iterable=("range(1, $x + 1)", ""),
    ),
    _list(
        "below",
        "the whole numbers from 0 up to but not including {}",
        "list(range($x))",
        "[...Array(Math.max($x, 0)).keys()]",
        iterable=("range($x)", ""),
    ),
    _list(
        "countdown",
        "the whole numbers from {} down to 1",
        "list(range($x, 0, -1))",
        "[...Array(Math.max($x, 0)).keys()].map((i) => $x - i)",
        iterable=("range($x, 0, -1)", ""),
    ),
    _list(
        "divisors",
        "the divisors of {}",
        "[d for d in range(1, $x + 1) if $x % d == 0]",
        "[...Array(Math.max($x, 0) + 1).keys()].filter((d) => d > 0 && $x % d === 0)",
    ),
    _list("digits", "the digits of {}", "[int(d) for d in str(abs($x))]", f"{_DIGIT_TEXT}.map(Number)"),
    _list(
        "multiples",
        "the positive multiples of $k up to {}",
        "list(range($k, $x + 1, $k))",
        "[...Array(Math.max(Math.floor($x / $k), 0)).keys()].map((i) => (i + 1) * $k)",
        iterable=("range($k, $x + 1, $k)", ""),
        choices=_SMALL,
        argument="step",
    ),
)

ON_NUMBERS = (*CHANGES, *TEXTS, *LISTS)
