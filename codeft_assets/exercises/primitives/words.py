"""Primitives that take a list of words."""

from __future__ import annotations

from functools import partial

from codeft_assets.exercises.primitives.primitive import BOOL, COUNTS, INT, STR, STRS, Primitive, accumulate, describe

_words, _word = partial(describe, STRS, STRS), partial(describe, STRS, STR)

_COUNTS = (1, 2, 3)
_BY_LENGTH = "[...$x].sort((a, b) => a.length - b.length)"
WORDS: tuple[Primitive, ...] = (
    _words("alphabetical", "{} in ascending order", "sorted($x)", "[...$x].sort()", sets_order=True),
    _words(
        "reverse_alphabetical",
        "{} in descending order",
        "sorted($x, reverse=True)",
        "[...$x].sort().reverse()",
        sets_order=True,
    ),
    _words("by_length", "{} sorted by length", "sorted($x, key=len)", _BY_LENGTH, sets_order=True),
    _words(
        "longest_first",
        "{} sorted by length, longest first",
        "sorted($x, key=len, reverse=True)",
        "[...$x].sort((a, b) => b.length - a.length)",
        sets_order=True,
    ),
    _words("reversed", "{} in reverse order", "$x[::-1]", "[...$x].reverse()", sets_order=True),
    _words("distinct", "{} without repetitions", "list(dict.fromkeys($x))", "[...new Set($x)]"),
    _words("first", "the first $k of {}", "$x[:$k]", "$x.slice(0, $k)", choices=_COUNTS, argument="count"),
    _words("last", "the last $k of {}", "$x[-$k:]", "$x.slice(-$k)", choices=_COUNTS, argument="count"),
    _words("without_first", "{} without the first one", "$x[1:]", "$x.slice(1)"),
    _words("even_positions", "{} at even positions (counted from 0)", "$x[::2]", "$x.filter((v, i) => i % 2 === 0)"),
    _word("joined", "the text made of {}, divided by spaces", "' '.join($x)", "$x.join(' ')"),
    _word("hyphenated", "the text made of {}, divided by hyphens", "'-'.join($x)", "$x.join('-')"),
    _word("concatenated", "the text made of {} one after the other", "''.join($x)", "$x.join('')"),
    _word(
        "longest",
        "the longest of {} (the first one on ties)",
        "max($x, key=len)",
        "$x.reduce((a, b) => b.length > a.length ? b : a)",
    ),
    _word(
        "shortest",
        "the shortest of {} (the first one on ties)",
        "min($x, key=len)",
        "$x.reduce((a, b) => b.length < a.length ? b : a)",
    ),
    _word("first", "the first of {}", "$x[0]"),
    _word("last", "the last of {}", "$x[-1]", "$x[$x.length - 1]"),
    _word(
        "alphabetical_first",
        "the first of {} in alphabetical order",
        "min($x)",
        "[...$x].sort()[0]",
        ignores_order=True,
    ),
    _word(
        "acronym",
        "the text made of the first characters of {}",
        "''.join(w[:1] for w in $x)",
        "$x.map((w) => w.slice(0, 1)).join('')",
    ),
)
OF_WORDS: tuple[Primitive, ...] = (
    describe(
        STRS,
        INT,
        "count",
        "the number of {}",
        "len($x)",
        "$x.length",
        loop=accumulate("count = 0", "count += 1"),
        ignores_order=True,
    ),
    describe(
        STRS,
        INT,
        "total_length",
        "the total length of {}",
        "sum(len(w) for w in $x)",
        "$x.join('').length",
        loop=accumulate("total = 0", "total += len($x)", "total += ($x).length"),
        ignores_order=True,
    ),
    describe(
        STRS,
        INT,
        "distinct_count",
        "the number of different ones among {}",
        "len(set($x))",
        "new Set($x).size",
        ignores_order=True,
    ),
    describe(
        STRS,
        INT,
        "longest_length",
        "the length of the longest of {}",
        "max(len(w) for w in $x)",
        "Math.max(...$x.map((w) => w.length))",
        ignores_order=True,
    ),
    describe(
        STRS,
        BOOL,
        "repetitive",
        "has a repeated word",
        "len(set($x)) < len($x)",
        "new Set($x).size < $x.length",
        ignores_order=True,
    ),
    describe(
        STRS,
        BOOL,
        "alphabetical",
        "is in ascending order",
        "$x == sorted($x)",
        "$x.every((w, i) => i === 0 || $x[i - 1] <= w)",
    ),
    describe(
        STRS,
        COUNTS,
        "lengths",
        "the dictionary from each of {} to its length",
        "{w: len(w) for w in $x}",
        "Object.fromEntries($x.map((w) => [w, w.length]))",
        ignores_order=True,
    ),
    describe(
        STRS,
        COUNTS,
        "occurrences",
        "the dictionary from each of {} to the number of times that it occurs",
        "{w: $x.count(w) for w in $x}",
        "Object.fromEntries($x.map((w) => [w, $x.filter((v) => v === w).length]))",
        ignores_order=True,
    ),
    describe(
        STRS,
        COUNTS,
        "positions",
        "the dictionary from each of {} to its first position",
        "{w: $x.index(w) for w in $x}",
        "Object.fromEntries($x.map((w) => [w, $x.indexOf(w)]))",
    ),
)

ON_WORDS = (*WORDS, *OF_WORDS)
