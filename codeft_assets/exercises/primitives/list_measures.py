"""Primitives from a list of whole numbers to a number."""

from __future__ import annotations

from functools import partial

from codeft_assets.exercises.primitives.primitive import INT, INTS, Primitive, accumulate, describe

_measure = partial(describe, INTS, INT)
_symmetric = partial(_measure, ignores_order=True)
_VALUES = (0, 1, 2, 3, 5, 7, 10)

LIST_MEASURES: tuple[Primitive, ...] = (
    _symmetric(
        "sum", "the sum of {}", "sum($x)", "$x.reduce((a, b) => a + b, 0)", loop=accumulate("total = 0", "total += $x")
    ),
    _symmetric(
        "product",
        "the product of {}",
        "math.prod($x)",
        "$x.reduce((a, b) => a * b, 1)",
        loop=accumulate("product = 1", "product *= $x"),
    ),
    _symmetric("largest", "the largest of {}", "max($x)", "Math.max(...$x)", plural="the largest number in each of {}"),
    _symmetric(
        "smallest", "the smallest of {}", "min($x)", "Math.min(...$x)", plural="the smallest number in each of {}"
    ),
    _symmetric(
        "count",
        "the number of {}",
        "len($x)",
        "$x.length",
        plural="the lengths of {}",
        loop=accumulate("count = 0", "count += 1"),
    ),
    _symmetric(
        "spread",
        "the difference between the largest and the smallest of {}",
        "max($x) - min($x)",
        "Math.max(...$x) - Math.min(...$x)",
        plural="the differences between the largest and the smallest number in each of {}",
    ),
    _measure("first", "the first of {}", "$x[0]", plural="the first numbers in {}"),
    _measure("last", "the last of {}", "$x[-1]", "$x[$x.length - 1]", plural="the last numbers in {}"),
    _measure(
        "middle",
        "the element in the middle of {}",
        "$x[len($x) // 2]",
        "$x[Math.floor($x.length / 2)]",
        plural="the elements in the middle of {}",
    ),
    _symmetric(
        "second_largest",
        "the second largest of the different values among {}",
        "sorted(set($x))[-2]",
        "[...new Set($x)].sort((a, b) => b - a)[1]",
        plural="the second largest of the different values in each of {}",
    ),
    _symmetric(
        "second_smallest",
        "the second smallest of the different values among {}",
        "sorted(set($x))[1]",
        "[...new Set($x)].sort((a, b) => a - b)[1]",
        plural="the second smallest of the different values in each of {}",
    ),
    _symmetric(
        "median",
        "the median (the larger one of two in the middle) of {}",
        "sorted($x)[len($x) // 2]",
        "[...$x].sort((a, b) => a - b)[Math.floor($x.length / 2)]",
        plural="the medians (the larger one of two in the middle) of {}",
    ),
    _measure(
        "mode",
        "the most frequent of {} (the first one on ties)",
        "max($x, key=$x.count)",
        "$x.reduce((a, b) => $x.filter((d) => d === b).length > $x.filter((d) => d === a).length ? b : a)",
        plural="the most frequent number (the first one on ties) in each of {}",
    ),
    _symmetric(
        "distinct_count",
        "the number of different values among {}",
        "len(set($x))",
        "new Set($x).size",
        plural="the numbers of different values in {}",
    ),
    _symmetric(
        "repeated_count",
        "the number of different values that occur more than once among {}",
        "len({v for v in $x if $x.count(v) > 1})",
        "new Set($x.filter((v) => $x.indexOf(v) !== $x.lastIndexOf(v))).size",
        plural="the numbers of different values that occur more than once in {}",
    ),
    _symmetric(
        "sum_of_squares",
        "the sum of the squares of {}",
        "sum(v * v for v in $x)",
        "$x.reduce((a, b) => a + b * b, 0)",
        plural="the sums of the squares of {}",
        loop=accumulate("total = 0", "total += ($x) ** 2"),
    ),
    _measure(
        "alternating_sum",
        "the alternating sum (plus, minus, plus, ...) of {}",
        "sum($x[::2]) - sum($x[1::2])",
        "$x.reduce((a, b, i) => i % 2 ? a - b : a + b, 0)",
        plural="the alternating sums (plus, minus, plus, ...) of {}",
    ),
    _measure(
        "position_of_largest",
        "the position of the largest of {}",
        "$x.index(max($x))",
        "$x.indexOf(Math.max(...$x))",
        plural="the positions of the largest number in each of {}",
    ),
    _measure(
        "position_of_smallest",
        "the position of the smallest of {}",
        "$x.index(min($x))",
        "$x.indexOf(Math.min(...$x))",
        plural="the positions of the smallest number in each of {}",
    ),
    _symmetric(
        "mean",
        "the mean of {}, rounded down",
        "sum($x) // len($x)",
        "Math.floor($x.reduce((a, b) => a + b, 0) / $x.length)",
        plural="the means, rounded down, of {}",
    ),
    _symmetric(
        "occurrences",
        "the number of times that $k occurs among {}",
        "$x.count($k)",
        "$x.filter((v) => v === $k).length",
        plural="the numbers of times that $k occurs in {}",
        choices=_VALUES,
        argument="target",
    ),
    _measure(
        "increases",
        "the number of times that one of {} is larger than the one before it",
        "sum(a < b for a, b in zip($x, $x[1:]))",
        "$x.filter((v, i) => i > 0 && $x[i - 1] < v).length",
        plural="the numbers of times that a number is larger than the one before it in {}",
    ),
    _measure(
        "largest_step",
        "the largest difference between two neighbors among {}",
        "max(abs(a - b) for a, b in zip($x, $x[1:]))",
        "Math.max(...$x.slice(1).map((v, i) => Math.abs(v - $x[i])))",
        plural="the largest differences between two neighbors in {}",
    ),
)
