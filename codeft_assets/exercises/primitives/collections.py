"""Primitives that take a dictionary from words to whole numbers, or rows of whole numbers."""

from __future__ import annotations

from functools import partial

from codeft_assets.exercises.primitives.primitive import BOOL, COUNTS, INT, INTS, ROWS, STR, STRS, Primitive, describe

_number, _keys, _key = partial(describe, COUNTS, INT), partial(describe, COUNTS, STRS), partial(describe, COUNTS, STR)
_entries = partial(describe, COUNTS, COUNTS)
_VALUES, _KEYS, _BY_VALUE = "Object.values($x)", "Object.keys($x)", "Object.keys($x).sort((a, b) => $x[a] - $x[b])"
_SUM = f"{_VALUES}.reduce((a, b) => a + b, 0)"
_LIMITS = (2, 3, 5, 8, 10, 20)

DICTIONARIES: tuple[Primitive, ...] = (
    describe(COUNTS, INTS, "values", "the values of {}", "list($x.values())", _VALUES, iterable=("$x.values()", "")),
    describe(
        COUNTS,
        INTS,
        "sorted_values",
        "the values of {} in ascending order",
        "sorted($x.values())",
        f"{_VALUES}.sort((a, b) => a - b)",
    ),
    _keys("keys", "the keys of {}", "list($x)", _KEYS, iterable=("$x", "")),
    _keys("sorted_keys", "the keys of {} in ascending order", "sorted($x)", f"{_KEYS}.sort()"),
    _keys("keys_by_value", "the keys of {} sorted by their values", "sorted($x, key=$x.get)", _BY_VALUE),
    _keys(
        "keys_by_value_descending",
        "the keys of {} sorted by their values, largest first",
        "sorted($x, key=$x.get, reverse=True)",
        f"{_KEYS}.sort((a, b) => $x[b] - $x[a])",
    ),
    _keys(
        "top_keys",
        "the keys of {} that have the largest value",
        "[k for k in $x if $x[k] == max($x.values())]",
        f"{_KEYS}.filter((k) => $x[k] === Math.max(...{_VALUES}))",
    ),
    _keys(
        "keys_above",
        "the keys of {} whose value is greater than $k",
        "[k for k in $x if $x[k] > $k]",
        f"{_KEYS}.filter((k) => $x[k] > $k)",
        choices=_LIMITS,
        argument="limit",
    ),
    _key(
        "top_key",
        "the key of {} with the largest value (the first one on ties)",
        "max($x, key=$x.get)",
        f"{_KEYS}.reduce((a, b) => $x[b] > $x[a] ? b : a)",
    ),
    _key(
        "bottom_key",
        "the key of {} with the smallest value (the first one on ties)",
        "min($x, key=$x.get)",
        f"{_KEYS}.reduce((a, b) => $x[b] < $x[a] ? b : a)",
    ),
    _key(
        "longest_key",
        "the longest key of {} (the first one on ties)",
        "max($x, key=len)",
        f"{_KEYS}.reduce((a, b) => b.length > a.length ? b : a)",
    ),
    _number("total", "the sum of the values of {}", "sum($x.values())", _SUM),
    _number("size", "the number of entries of {}", "len($x)", f"{_KEYS}.length"),
    _number("largest_value", "the largest value of {}", "max($x.values())", f"Math.max(...{_VALUES})"),
    _number("smallest_value", "the smallest value of {}", "min($x.values())", f"Math.min(...{_VALUES})"),
    _number(
        "spread",
        "the difference between the largest and the smallest value of {}",
        "max($x.values()) - min($x.values())",
        f"Math.max(...{_VALUES}) - Math.min(...{_VALUES})",
    ),
    _number(
        "distinct_values", "the number of different values of {}", "len(set($x.values()))", f"new Set({_VALUES}).size"
    ),
    describe(
        COUNTS,
        BOOL,
        "unique_values",
        "has no repeated value",
        "len(set($x.values())) == len($x)",
        f"new Set({_VALUES}).size === {_KEYS}.length",
    ),
    _entries(
        "without_largest",
        "{} without the entries that have the largest value",
        "{k: v for k, v in $x.items() if v != max($x.values())}",
        f"Object.fromEntries(Object.entries($x).filter(([k, v]) => v !== Math.max(...{_VALUES})))",
    ),
    _entries(
        "above_mean",
        "the entries of {} whose value is greater than the mean",
        "{k: v for k, v in $x.items() if v * len($x) > sum($x.values())}",
        f"Object.fromEntries(Object.entries($x).filter(([k, v]) => v * {_KEYS}.length > {_SUM}))",
    ),
    _entries(
        "with_length",
        "the entries of {} with the length of the key added to each value",
        "{k: v + len(k) for k, v in $x.items()}",
        "Object.fromEntries(Object.entries($x).map(([k, v]) => [k, v + k.length]))",
    ),
    _entries(
        "upper_keys",
        "the entries of {} with their keys in upper case",
        "{k.upper(): v for k, v in $x.items()}",
        "Object.fromEntries(Object.entries($x).map(([k, v]) => [k.toUpperCase(), v]))",
    ),
)

_rows, _numbers = partial(describe, ROWS, ROWS), partial(describe, ROWS, INTS)
_row_number = partial(describe, ROWS, INT, ignores_order=True)
_TOTAL = "(a, b) => a + b, 0"

NESTED: tuple[Primitive, ...] = (
    _numbers("flat", "the numbers in all rows of {}", "[v for row in $x for v in row]", "$x.flat()"),
    _numbers(
        "column_sums",
        "the sums of the columns of {}",
        "[sum(row[i] for row in $x) for i in range(len($x[0]))]",
        f"$x[0].map((v, i) => $x.map((row) => row[i]).reduce({_TOTAL}))",
    ),
    _numbers(
        "column_maxima",
        "the largest number in each column of {}",
        "[max(row[i] for row in $x) for i in range(len($x[0]))]",
        "$x[0].map((v, i) => Math.max(...$x.map((row) => row[i])))",
    ),
    _numbers("diagonal", "the diagonal of {}", "[$x[i][i] for i in range(len($x))]", "$x.map((row, i) => row[i])"),
    _numbers("first_column", "the first number in each row of {}", "[row[0] for row in $x]", "$x.map((row) => row[0])"),
    _numbers(
        "last_column",
        "the last number in each row of {}",
        "[row[-1] for row in $x]",
        "$x.map((row) => row[row.length - 1])",
    ),
    _numbers(
        "longest_row",
        "the longest row of {} (the first one on ties)",
        "max($x, key=len)",
        "$x.reduce((a, b) => b.length > a.length ? b : a)",
    ),
    _numbers(
        "richest_row",
        "the row of {} with the largest sum (the first one on ties)",
        "max($x, key=sum)",
        f"$x.reduce((a, b) => b.reduce({_TOTAL}) > a.reduce({_TOTAL}) ? b : a)",
    ),
    _numbers("first_row", "the first row of {}", "$x[0]"),
    _numbers("last_row", "the last row of {}", "$x[-1]", "$x[$x.length - 1]"),
    _rows(
        "transposed",
        "{} with rows and columns exchanged",
        "[[row[i] for row in $x] for i in range(len($x[0]))]",
        "$x[0].map((v, i) => $x.map((row) => row[i]))",
    ),
    _rows("reversed", "{} with the rows in reverse", "$x[::-1]", "[...$x].reverse()", sets_order=True),
    _rows(
        "by_sum",
        "{} with the rows sorted by their sums",
        "sorted($x, key=sum)",
        f"[...$x].sort((a, b) => a.reduce({_TOTAL}) - b.reduce({_TOTAL}))",
        sets_order=True,
    ),
    _rows(
        "by_length",
        "{} with the rows sorted by length",
        "sorted($x, key=len)",
        "[...$x].sort((a, b) => a.length - b.length)",
        sets_order=True,
    ),
    _rows(
        "by_first",
        "{} with the rows sorted by their first numbers",
        "sorted($x, key=lambda row: row[0])",
        "[...$x].sort((a, b) => a[0] - b[0])",
        sets_order=True,
    ),
    _row_number(
        "total",
        "the sum of the numbers in all rows of {}",
        "sum(sum(row) for row in $x)",
        f"$x.flat().reduce({_TOTAL})",
    ),
    _row_number("size", "the number of numbers in all rows of {}", "sum(len(row) for row in $x)", "$x.flat().length"),
    _row_number("row_count", "the number of rows of {}", "len($x)", "$x.length"),
    _row_number(
        "largest", "the largest number in all rows of {}", "max(max(row) for row in $x)", "Math.max(...$x.flat())"
    ),
    _row_number(
        "smallest", "the smallest number in all rows of {}", "min(min(row) for row in $x)", "Math.min(...$x.flat())"
    ),
    _row_number(
        "longest_length",
        "the length of the longest row of {}",
        "max(len(row) for row in $x)",
        "Math.max(...$x.map((row) => row.length))",
    ),
    describe(
        ROWS,
        BOOL,
        "square",
        "has as many rows as columns",
        "all(len(row) == len($x) for row in $x)",
        "$x.every((row) => row.length === $x.length)",
        ignores_order=True,
    ),
)

ON_COLLECTIONS = (*DICTIONARIES, *NESTED)
