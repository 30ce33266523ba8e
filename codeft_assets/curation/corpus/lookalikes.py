"""Whether a match is a secret, or only looks like one: names, placeholders, versions, products of matrices."""

from __future__ import annotations

import ipaddress
import math
import re
from collections import Counter

_MIN_ENTROPY_BITS = 3.2  # a character; detect-secrets takes 3.0 for hex and 4.5 for base64
_WORDY = re.compile(r"(?:[A-Z]?[a-z]{2,}|[A-Z]{2,}|[_\-./ ]|[A-Z]?\d{1,4}(?!\w))+")
_PLACEHOLDER = re.compile(
    r"(?i)example|change.?me|your|placeholder|x{4}|\*{3}|\.{3}|dummy|sample|test|foo|bar\b|12345|abcdef|<|>|\$|%|\{|\}"
)
_RESERVED_DOMAINS = ("example.com", "example.org", "example.net", ".example", ".test", ".invalid", "localhost")
_GENERIC_DOMAINS = frozenset(
    ("com", "org", "net", "edu", "gov", "mil", "int", "info", "biz", "name", "dev", "app", "cloud", "tech", "online")
)
_SUFFIXES = frozenset(
    ("py", "js", "ts", "md", "rs", "sh", "cc", "so", "pl", "rb", "go", "hs", "ml", "vb", "cs", "mm", "ps", "st", "is")
)
"""Two letters that are a file's suffix or an attribute more often than a country, behind a name of one letter."""


def value_of(match: re.Match[str]) -> str:
    """Return the part of a match that would be replaced."""
    return match["secret"] if "secret" in match.re.groupindex else match[0]


def is_random(value: str) -> bool:
    """Return whether ``value`` mixes letters and digits as no name does."""
    counts = Counter(value)
    entropy = -sum(n / len(value) * math.log2(n / len(value)) for n in counts.values())
    mixed = any(c.isdigit() for c in value) and any(c.isalpha() for c in value)
    return mixed and entropy >= _MIN_ENTROPY_BITS and not _WORDY.fullmatch(value) and not _is_class_name(value)


def _is_class_name(value: str) -> bool:
    """Return whether most of an identifier is capitalized words, as of LayoutLMv3TokenizerFast: chance makes few."""
    return value.isidentifier() and 2 * sum(map(len, re.findall(r"[A-Z][a-z]{3,}", value))) > len(value)


def is_key(match: re.Match[str]) -> bool:
    """Return whether the value is random, and no placeholder."""
    value = value_of(match)
    return is_random(value) and not re.search(r"(?i)example_|your|x{6}|<|\$\{|\{\{", value)


def is_password(match: re.Match[str]) -> bool:
    """Return whether the value mixes two kinds of characters, and is neither a name nor a placeholder."""
    value = value_of(match)
    kinds = [any(map(test, value)) for test in (str.isalpha, str.isdigit, lambda c: not c.isalnum())]
    return sum(kinds) >= 2 and not _WORDY.fullmatch(value) and not _PLACEHOLDER.search(value)


def is_public_mail(match: re.Match[str]) -> bool:
    """Return whether the match is an address, no product of matrices or name of a file, and not reserved."""
    domain = match[0].rpartition("@")[2].lower()
    if match[0].startswith(("git@", "hg@", "svn@")):
        return False
    if any(domain == reserved.lstrip(".") or domain.endswith(reserved) for reserved in _RESERVED_DOMAINS):
        return False
    host, _, top = match[0].rpartition("@")[2].rpartition(".")
    if match.string[match.end() : match.end() + 1] == "(" or top != top.lower():
        return False
    return top in _GENERIC_DOMAINS or (len(top) == 2 and not (len(host) == 1 and top in _SUFFIXES))


_NUMBERS_BEFORE = re.compile(
    r"(?i)(?:[=~<>!^]=?|\bv|versions?|release|rev|sections?|sec\.|chapter|figure|fig\.|table|clause|§|rfc ?\d*,?|"
    r"paragraph|oid|build|python|driver)[\s\"':(=v]*$|[\"']version[\"']\s*:\s*[\"']$"
)


def is_public_address(match: re.Match[str]) -> bool:
    """Return whether the match is a public address, and no number of a version or a section."""
    text = match[0]
    try:
        is_public = ipaddress.ip_address(text).is_global and not text.endswith(".0")  # 12.4.1.0 is a version
    except ValueError:
        return False
    line = match.string.rfind("\n", 0, match.start()) + 1
    before = match.string[max(line, match.start() - 24) : match.start()]
    heads_a_section = not before.strip(" #*") and re.match(r"\.? +[A-Z]", match.string[match.end() : match.end() + 4])
    return is_public and not heads_a_section and not _NUMBERS_BEFORE.search(before)


def is_whole(match: re.Match[str]) -> bool:
    """Return whether the match is no part of a longer word: the plugins look at lines, this at programs."""
    before, after = match.string[max(match.start() - 1, 0) : match.start()], match.string[match.end() : match.end() + 1]
    return not (re.match(r"\w", before) or re.match(r"\w", after)) and is_random(match[match.lastindex or 0])
