"""Primitives that take a character of a string, or a list of them."""

from __future__ import annotations

from functools import partial

from codeft_assets.exercises.primitives.primitive import BOOL, CHAR, CHARS, INT, STR, Primitive, accumulate, describe

_character = partial(describe, CHAR, BOOL)

CHARACTERS: tuple[Primitive, ...] = (
    _character("vowel", "is a vowel", "$x in 'aeiouAEIOU'", "'aeiouAEIOU'.includes($x)", plural="are vowels"),
    _character(
        "consonant",
        "is a consonant",
        "$x.isalpha() and $x not in 'aeiouAEIOU'",
        "/[b-df-hj-np-tv-z]/i.test($x)",
        plural="are consonants",
    ),
    _character("digit", "is a digit", "$x.isdigit()", "/[0-9]/.test($x)", plural="are digits"),
    _character("letter", "is a letter", "$x.isalpha()", "/[a-z]/i.test($x)", plural="are letters"),
    _character("upper", "is an upper case letter", "$x.isupper()", "/[A-Z]/.test($x)", plural="are upper case letters"),
    _character("lower", "is a lower case letter", "$x.islower()", "/[a-z]/.test($x)", plural="are lower case letters"),
    _character("non_letter", "is not a letter", "not $x.isalpha()", "!/[a-z]/i.test($x)", plural="are not letters"),
    _character("non_space", "is not a space", "$x != ' '", "$x !== ' '", plural="are not spaces"),
    _character(
        "other_than", "is different from $k", "$x != $k", "$x !== $k", choices=tuple("aeiorstnl"), argument="letter"
    ),
)
OF_CHARACTERS: tuple[Primitive, ...] = (
    describe(CHARS, STR, "joined", "the string made of {}", "''.join($x)", "$x.join('')"),
    describe(CHARS, STR, "joined_by", "the string made of {}, divided by hyphens", "'-'.join($x)", "$x.join('-')"),
    describe(
        CHARS,
        STR,
        "sorted",
        "the string made of {} in ascending order",
        "''.join(sorted($x))",
        "[...$x].sort().join('')",
        sets_order=True,
    ),
    describe(
        CHARS,
        STR,
        "reversed",
        "the string made of {} in reverse",
        "''.join(reversed($x))",
        "[...$x].reverse().join('')",
    ),
    describe(
        CHARS,
        INT,
        "count",
        "the number of {}",
        "len($x)",
        "$x.length",
        loop=accumulate("count = 0", "count += 1"),
        ignores_order=True,
    ),
    describe(
        CHARS,
        INT,
        "distinct_count",
        "the number of different ones among {}",
        "len(set($x))",
        "new Set($x).size",
        ignores_order=True,
    ),
    describe(CHARS, CHARS, "distinct", "{} without repetitions", "list(dict.fromkeys($x))", "[...new Set($x)]"),
)

ON_CHARACTERS = (*CHARACTERS, *OF_CHARACTERS)
