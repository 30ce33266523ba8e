"""Primitives that take a string."""

from __future__ import annotations

from functools import partial

from codeft_assets.exercises.primitives.primitive import BOOL, CHARS, COUNTS, INT, STR, STRS, Primitive, describe

_test, _change = partial(describe, STR, BOOL), partial(describe, STR, STR)
_measure = partial(describe, STR, INT)

_LETTERS, _SHORT, _LENGTHS = tuple("aeiorstnl"), (1, 2, 3), (2, 3, 4, 5, 6)
_IN_ORDER = "[...$x].sort().join('')"
_letter = partial(_test, choices=_LETTERS, argument="letter")
_length = partial(_test, choices=_LENGTHS, argument="length")

TESTS: tuple[Primitive, ...] = (
    _test("vowel_start", "starts with a vowel", "$x[:1].lower() in ('a', 'e', 'i', 'o', 'u')", "/^[aeiou]/i.test($x)"),
    _test("vowel_end", "ends with a vowel", "$x[-1:].lower() in ('a', 'e', 'i', 'o', 'u')", "/[aeiou]$/i.test($x)"),
    _letter("starting_with", "starts with $k", "$x.startswith($k)", "$x.startsWith($k)"),
    _letter("ending_with", "ends with $k", "$x.endswith($k)", "$x.endsWith($k)"),
    _letter("with", "contains $k", "$k in $x", "$x.includes($k)"),
    _letter("without", "does not contain $k", "$k not in $x", "!$x.includes($k)"),
    _length("longer", "is longer than $k characters", "len($x) > $k", "$x.length > $k"),
    _length("shorter", "is shorter than $k characters", "len($x) < $k", "$x.length < $k"),
    _length("of_length", "has exactly $k characters", "len($x) == $k", "$x.length === $k"),
    _test("even_length", "has an even length", "len($x) % 2 == 0", "$x.length % 2 === 0"),
    _test("odd_length", "has an odd length", "len($x) % 2 == 1", "$x.length % 2 === 1"),
    _test("palindromic", "reads the same backwards", "$x == $x[::-1]", "$x === [...$x].reverse().join('')"),
    _test("upper", "is in upper case", "$x.isupper()", "$x === $x.toUpperCase() && $x !== $x.toLowerCase()"),
    _test("lower", "is in lower case", "$x.islower()", "$x === $x.toLowerCase() && $x !== $x.toUpperCase()"),
    _test("capitalized", "begins with a capital letter", "$x[:1].isupper()", "/^[A-Z]/.test($x)"),
    _test("distinct", "has no repeated character", "len(set($x)) == len($x)", "new Set($x).size === $x.length"),
    _test("alphabetic", "consists of letters only", "$x.isalpha()", "/^[A-Za-z]+$/.test($x)"),
    _test("with_digit", "has a digit", "any(c.isdigit() for c in $x)", "/[0-9]/.test($x)"),
    _test(
        "same_ends",
        "begins and ends with the same character",
        "$x[:1] == $x[-1:]",
        "$x.slice(0, 1) === $x.slice(-1)",
        plural="begin and end with the same character",
    ),
    _test("sorted", "has its characters in ascending order", "list($x) == sorted($x)", f"$x === {_IN_ORDER}"),
    _test(
        "with_vowels",
        "has at least $k vowels",
        "sum(c in 'aeiou' for c in $x) >= $k",
        "[...$x].filter((c) => 'aeiou'.includes(c)).length >= $k",
        choices=_SHORT,
        argument="minimum",
    ),
    _test(
        "double",
        "has the same character twice in a row",
        "any(a == b for a, b in zip($x, $x[1:]))",
        "[...$x].some((c, i) => i > 0 && c === $x[i - 1])",
    ),
)
CHANGES: tuple[Primitive, ...] = (
    _change("upper", "{} in upper case", "$x.upper()", "$x.toUpperCase()"),
    _change("lower", "{} in lower case", "$x.lower()", "$x.toLowerCase()"),
    _change("reversed", "the reversal of {}", "$x[::-1]", "[...$x].reverse().join('')"),
    _change(
        "capitalized",
        "{} with a capital first letter and the rest in lower case",
        "$x.capitalize()",
        "$x.slice(0, 1).toUpperCase() + $x.slice(1).toLowerCase()",
    ),
    _change(
        "swapped_case",
        "{} with upper and lower case swapped",
        "$x.swapcase()",
        "[...$x].map((c) => c === c.toUpperCase() ? c.toLowerCase() : c.toUpperCase()).join('')",
    ),
    _change("twice", "{} written twice", "$x * 2", "$x.repeat(2)"),
    _change("repeated", "{} written $k times", "$x * $k", "$x.repeat($k)", choices=(2, 3, 4), argument="times"),
    _change(
        "without_vowels",
        "{} without its vowels",
        "''.join(c for c in $x if c not in 'aeiouAEIOU')",
        "$x.replace(/[aeiou]/gi, '')",
        plural="{} without their vowels",
    ),
    _change(
        "vowels",
        "the vowels of {}, joined",
        "''.join(c for c in $x if c in 'aeiouAEIOU')",
        "$x.replace(/[^aeiou]/gi, '')",
        plural="the vowels of each of {}, joined",
    ),
    _change(
        "letters",
        "the letters of {}, joined",
        "''.join(c for c in $x if c.isalpha())",
        "$x.replace(/[^a-z]/gi, '')",
        plural="the letters of each of {}, joined",
    ),
    _change(
        "sorted",
        "{} with its characters in ascending order",
        "''.join(sorted($x))",
        _IN_ORDER,
        plural="{} with their characters in ascending order",
        sets_order=True,
    ),
    _change("unique", "{} without repeated characters", "''.join(dict.fromkeys($x))", "[...new Set($x)].join('')"),
    _change("first", "the first character of {}", "$x[:1]", "$x.slice(0, 1)"),
    _change("last", "the last character of {}", "$x[-1:]", "$x.slice(-1)"),
    _change(
        "beginning",
        "the first $k characters of {}",
        "$x[:$k]",
        "$x.slice(0, $k)",
        plural="the first $k characters of each of {}",
        choices=_SHORT,
        argument="count",
    ),
    _change(
        "ending",
        "the last $k characters of {}",
        "$x[-$k:]",
        "$x.slice(-$k)",
        plural="the last $k characters of each of {}",
        choices=_SHORT,
        argument="count",
    ),
    _change(
        "without_first",
        "{} without the first character",
        "$x[1:]",
        "$x.slice(1)",
        plural="{} without their first characters",
    ),
    _change(
        "without_last",
        "{} without the last character",
        "$x[:-1]",
        "$x.slice(0, -1)",
        plural="{} without their last characters",
    ),
    _change(
        "followed",
        "{} followed by $k",
        "$x + $k",
        choices=_LETTERS,
        argument="suffix",
        plural="{}, each followed by $k",
    ),
    _change(
        "preceded",
        "{} preceded by $k",
        "$k + $x",
        choices=_LETTERS,
        argument="prefix",
        plural="{}, each preceded by $k",
    ),
    _change(
        "without",
        "{} without every $k",
        "$x.replace($k, '')",
        "$x.replaceAll($k, '')",
        choices=_LETTERS,
        argument="letter",
    ),
    _change(
        "starred",
        "{} with every $k replaced by a star",
        "$x.replace($k, '*')",
        "$x.replaceAll($k, '*')",
        choices=_LETTERS,
        argument="letter",
    ),
    _change("joined_words", "{} with a hyphen for every space", "$x.replace(' ', '-')", "$x.replaceAll(' ', '-')"),
    _change(
        "doubled_letters",
        "{} with every character doubled",
        "''.join(c * 2 for c in $x)",
        "[...$x].map((c) => c + c).join('')",
    ),
    _change(
        "mirrored",
        "{} followed by its reversal",
        "$x + $x[::-1]",
        "$x + [...$x].reverse().join('')",
        plural="{}, each followed by its reversal",
    ),
    _change(
        "rotated", "{} with the first character moved to the end", "$x[1:] + $x[:1]", "$x.slice(1) + $x.slice(0, 1)"
    ),
)
MEASURES: tuple[Primitive, ...] = (
    _measure("length", "the length of {}", "len($x)", "$x.length", ignores_order=True),
    _measure(
        "vowel_count",
        "the number of vowels in {}",
        "sum(c in 'aeiouAEIOU' for c in $x)",
        "[...$x].filter((c) => 'aeiouAEIOU'.includes(c)).length",
        plural="the numbers of vowels in {}",
        ignores_order=True,
    ),
    _measure(
        "upper_count",
        "the number of upper case letters in {}",
        "sum(c.isupper() for c in $x)",
        "$x.replace(/[^A-Z]/g, '').length",
        plural="the numbers of upper case letters in {}",
        ignores_order=True,
    ),
    _measure(
        "digit_count",
        "the number of digits in {}",
        "sum(c.isdigit() for c in $x)",
        "$x.replace(/[^0-9]/g, '').length",
        plural="the numbers of digits in {}",
        ignores_order=True,
    ),
    _measure(
        "digit_sum",
        "the sum of the digits in {}",
        "sum(int(c) for c in $x if c.isdigit())",
        "[...$x].reduce((a, c) => a + (Number(c) || 0), 0)",
        plural="the sums of the digits in {}",
        ignores_order=True,
    ),
    _measure(
        "distinct_count",
        "the number of different characters in {}",
        "len(set($x))",
        "new Set($x).size",
        plural="the numbers of different characters in {}",
        ignores_order=True,
    ),
    _measure(
        "letter_count",
        "the number of times that $k occurs in {}",
        "$x.count($k)",
        "$x.split($k).length - 1",
        plural="the numbers of times that $k occurs in {}",
        choices=_LETTERS,
        argument="letter",
        ignores_order=True,
    ),
    _measure(
        "word_count",
        "the number of words in {}",
        "len($x.split())",
        "$x.split(/\\s+/).filter(Boolean).length",
        plural="the numbers of words in {}",
    ),
    _measure(
        "position",
        "the position of the first $k in {} (-1 if there is none)",
        "$x.find($k)",
        "$x.indexOf($k)",
        plural="the positions of the first $k (-1 if there is none) in {}",
        choices=_LETTERS,
        argument="letter",
    ),
)
PARTS: tuple[Primitive, ...] = (
    describe(STR, CHARS, "characters", "the characters of {}", "list($x)", "[...$x]", iterable=("$x", "")),
    describe(STR, STRS, "words", "the words of {}", "$x.split()", "$x.split(/\\s+/).filter(Boolean)"),
    describe(
        STR,
        COUNTS,
        "letter_counts",
        "the dictionary from each letter of {} to the number of times that it occurs",
        "{c: $x.count(c) for c in $x if c.isalpha()}",
        "Object.fromEntries([...$x].filter((c) => /[A-Za-z]/.test(c)).map((c) => [c, $x.split(c).length - 1]))",
    ),
)

ON_STRINGS = (*TESTS, *CHANGES, *MEASURES, *PARTS)
