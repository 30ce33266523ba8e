"""Primitives from a list of whole numbers to a list, a text or a decision."""

from __future__ import annotations

from functools import partial

from codeft_assets.exercises.primitives.primitive import BOOL, INTS, ROWS, STR, Primitive, describe

_COUNTS, _VALUES = (1, 2, 3), (0, 1, 2, 3, 5, 7, 10)
_change, _test = partial(describe, INTS, INTS), partial(describe, INTS, BOOL)
_counted = partial(_change, choices=_COUNTS, argument="count")
_valued = partial(_test, choices=_VALUES, argument="target")

CHANGES: tuple[Primitive, ...] = (
    _change(
        "ascending",
        "{} in ascending order",
        "sorted($x)",
        "[...$x].sort((a, b) => a - b)",
        plural="{}, each in ascending order",
        sets_order=True,
    ),
    _change(
        "descending",
        "{} in descending order",
        "sorted($x, reverse=True)",
        "[...$x].sort((a, b) => b - a)",
        sets_order=True,
    ),
    _change(
        "reversed", "{} in reverse", "$x[::-1]", "[...$x].reverse()", plural="{}, each in reverse", sets_order=True
    ),
    _change(
        "by_absolute",
        "{} sorted by absolute value",
        "sorted($x, key=abs)",
        "[...$x].sort((a, b) => Math.abs(a) - Math.abs(b))",
        sets_order=True,
    ),
    _change(
        "by_last_digit",
        "{} sorted by their last digits",
        "sorted($x, key=lambda v: abs(v) % 10)",
        "[...$x].sort((a, b) => Math.abs(a) % 10 - Math.abs(b) % 10)",
        sets_order=True,
    ),
    _change("distinct", "{} without repetitions", "list(dict.fromkeys($x))", "[...new Set($x)]"),
    _change(
        "single",
        "those of {} that occur exactly once",
        "[v for v in $x if $x.count(v) == 1]",
        "$x.filter((v) => $x.indexOf(v) === $x.lastIndexOf(v))",
    ),
    _counted("first", "the first $k of {}", "$x[:$k]", "$x.slice(0, $k)"),
    _counted("last", "the last $k of {}", "$x[-$k:]", "$x.slice(-$k)"),
    _counted(
        "smallest",
        "the $k smallest of {} in ascending order",
        "sorted($x)[:$k]",
        "[...$x].sort((a, b) => a - b).slice(0, $k)",
        ignores_order=True,
    ),
    _counted(
        "largest",
        "the $k largest of {} in descending order",
        "sorted($x, reverse=True)[:$k]",
        "[...$x].sort((a, b) => b - a).slice(0, $k)",
        ignores_order=True,
    ),
    _counted(
        "rotated", "{} with the first $k moved to the end", "$x[$k:] + $x[:$k]", "[...$x.slice($k), ...$x.slice(0, $k)]"
    ),
    _counted("without_first", "{} without the first $k", "$x[$k:]", "$x.slice($k)"),
    _change("without_last", "{} without the last one", "$x[:-1]", "$x.slice(0, -1)"),
    _change("without_ends", "{} without the first and the last one", "$x[1:-1]", "$x.slice(1, -1)"),
    _change("even_positions", "{} at even positions (counted from 0)", "$x[::2]", "$x.filter((v, i) => i % 2 === 0)"),
    _change("odd_positions", "{} at odd positions (counted from 0)", "$x[1::2]", "$x.filter((v, i) => i % 2 === 1)"),
    _change(
        "running_totals",
        "the running totals of {}",
        "[sum($x[:i + 1]) for i in range(len($x))]",
        "$x.map((v, i) => $x.slice(0, i + 1).reduce((a, b) => a + b, 0))",
    ),
    _change(
        "running_maxima",
        "the running maxima of {}",
        "[max($x[:i + 1]) for i in range(len($x))]",
        "$x.map((v, i) => Math.max(...$x.slice(0, i + 1)))",
    ),
    _change(
        "steps",
        "the differences between each of {} and the one before it",
        "[b - a for a, b in zip($x, $x[1:])]",
        "$x.slice(1).map((v, i) => v - $x[i])",
    ),
    _change(
        "pair_sums",
        "the sums of neighbors among {}",
        "[a + b for a, b in zip($x, $x[1:])]",
        "$x.slice(1).map((v, i) => v + $x[i])",
    ),
    _change("repeated", "{} followed by the same again", "$x * 2", "[...$x, ...$x]"),
    _change(
        "above_mean",
        "those of {} that are greater than their mean",
        "[v for v in $x if v * len($x) > sum($x)]",
        "$x.filter((v) => v * $x.length > $x.reduce((a, b) => a + b, 0))",
    ),
    _change(
        "without_smallest",
        "{} without every copy of the smallest",
        "[v for v in $x if v != min($x)]",
        "$x.filter((v) => v !== Math.min(...$x))",
    ),
    _change(
        "without_largest",
        "{} without every copy of the largest",
        "[v for v in $x if v != max($x)]",
        "$x.filter((v) => v !== Math.max(...$x))",
    ),
    _change(
        "times_position",
        "the products of each of {} and its position (counted from 0)",
        "[i * v for i, v in enumerate($x)]",
        "$x.map((v, i) => i * v)",
    ),
)
TESTS: tuple[Primitive, ...] = (
    _test("ascending", "is in ascending order", "$x == sorted($x)", "$x.every((v, i) => i === 0 || $x[i - 1] <= v)"),
    _test("symmetric", "reads the same backwards", "$x == $x[::-1]", "$x.every((v, i) => v === $x[$x.length - 1 - i])"),
    _test("repetitive", "has a repeated value", "len(set($x)) < len($x)", "new Set($x).size < $x.length"),
    _valued("with", "contains $k", "$k in $x", "$x.includes($k)"),
    _valued("without", "does not contain $k", "$k not in $x", "!$x.includes($k)"),
    _test(
        "long",
        "has more than $k elements",
        "len($x) > $k",
        "$x.length > $k",
        choices=(2, 3, 4),
        argument="limit",
        ignores_order=True,
    ),
    _test(
        "even_sum", "has an even sum", "sum($x) % 2 == 0", "$x.reduce((a, b) => a + b, 0) % 2 === 0", ignores_order=True
    ),
    _test(
        "sum_above",
        "has a sum greater than $k",
        "sum($x) > $k",
        "$x.reduce((a, b) => a + b, 0) > $k",
        choices=(10, 15, 20, 25, 50),
        argument="limit",
        ignores_order=True,
    ),
)
OTHERS: tuple[Primitive, ...] = (
    describe(
        INTS, STR, "joined", "the text made of {}, divided by commas", "','.join(str(v) for v in $x)", "$x.join(',')"
    ),
    describe(
        INTS, STR, "digits", "the text made of {} one after the other", "''.join(str(v) for v in $x)", "$x.join('')"
    ),
    describe(
        INTS,
        ROWS,
        "chunks",
        "{} in groups of $k",
        "[$x[i:i + $k] for i in range(0, len($x), $k)]",
        "$x.filter((v, i) => i % $k === 0).map((v, i) => $x.slice(i * $k, i * $k + $k))",
        choices=(2, 3),
        argument="size",
    ),
    describe(
        INTS,
        ROWS,
        "pairs",
        "the pairs of neighbors among {}",
        "[[a, b] for a, b in zip($x, $x[1:])]",
        "$x.slice(1).map((v, i) => [$x[i], v])",
    ),
    describe(
        INTS,
        ROWS,
        "prefixes",
        "the lists of the first one, the first two and so on of {}",
        "[$x[:i + 1] for i in range(len($x))]",
        "$x.map((v, i) => $x.slice(0, i + 1))",
    ),
)

ON_LISTS = (*CHANGES, *TESTS, *OTHERS)
