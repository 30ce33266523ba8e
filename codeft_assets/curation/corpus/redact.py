"""Keys, mail addresses and IP addresses in text, replaced by typed placeholders.

Invariant: redaction is idempotent (no detector matches a placeholder) and changes only the matches of detectors.
Addresses under the reserved example domains and IP addresses that are private, loopback, documentation or version
numbers stay: they identify nobody.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """One kind of secret."""

    kind: str
    pattern: str
    """The whole match is replaced, or the group ``secret`` where there is one."""
    accepts: Callable[[str], bool] | None = None
    """Whether a match is a secret; None accepts every match."""
    origin: str

    @property
    def placeholder(self) -> str:
        """The text that replaces the secret."""
        return f"<{self.kind.upper()}>"


_RESERVED_DOMAINS = ("example.com", "example.org", "example.net", ".example", ".test", ".invalid", "localhost")
_MIN_ENTROPY_BITS = 3.5  # a character; detect-secrets takes 3.0 for hex and 4.5 for base64


def _is_public_mail(address: str) -> bool:
    domain = address.rpartition("@")[2].lower()
    return not any(domain == reserved.lstrip(".") or domain.endswith(reserved) for reserved in _RESERVED_DOMAINS)


def _is_public_address(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).is_global and not text.endswith(".0")  # 12.4.1.0 is a version
    except ValueError:
        return False


def _is_random(value: str) -> bool:
    counts = Counter(value)
    entropy = -sum(n / len(value) * math.log2(n / len(value)) for n in counts.values())
    has_both = any(c.isdigit() for c in value) and any(c.isalpha() for c in value)
    return has_both and entropy >= _MIN_ENTROPY_BITS


DETECTORS: tuple[Detector, ...] = (
    Detector(
        kind="private_key",
        pattern=r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----[\s\S]{20,8000}?-----END (?:[A-Z]+ )*PRIVATE KEY-----",
        origin="RFC 7468",
    ),
    Detector(kind="aws_key", pattern=r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b", origin="AWS IAM identifiers"),
    Detector(
        kind="github_token",
        pattern=r"\b(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255})\b",
        origin="GitHub token formats",
    ),
    Detector(
        kind="jwt",
        pattern=r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
        origin="RFC 7519",
    ),
    Detector(
        kind="secret",
        pattern=r"(?i:secret|token|passwd|password|api_?key|access_?key|private_?key)\w{0,20}[\"']?\s{0,3}[:=]\s{0,3}"
        r"[\"'](?P<secret>[A-Za-z0-9+/=_-]{16,200})[\"']",
        accepts=_is_random,
        origin="detect-secrets' keyword and entropy plugins",
    ),
    Detector(
        kind="email",
        pattern=r"\b[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,4}\.[A-Za-z]{2,24}\b",
        accepts=_is_public_mail,
        origin="RFC 5322, the usual subset",
    ),
    Detector(
        kind="ip_address",
        pattern=r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.]|\.\d)",
        accepts=_is_public_address,
        origin="RFC 791",
    ),
    Detector(
        kind="ip_address",
        # 2000::/3 is all that is public so far
        pattern=r"(?<![\w:.])[23][0-9A-Fa-f]{3}(?::[0-9A-Fa-f]{1,4}){1,6}:(?::?[0-9A-Fa-f]{1,4}){1,6}(?![\w:])",
        accepts=_is_public_address,
        origin="RFC 4291",
    ),
)
_COMPILED = tuple((detector, re.compile(detector.pattern)) for detector in DETECTORS)
# One cheap Rust scan finds the documents that need the detectors: most have no '@', no key mark and no dotted quad.
_SUSPECT = (
    r"@[A-Za-z0-9-]+\.|PRIVATE KEY|AKIA|ASIA|gh[pousr]_|github_pat_|eyJ|\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}"
    r"|[23][0-9A-Fa-f]{3}:[0-9A-Fa-f]{1,4}:"
    r"|(?i:secret|token|passw|api_?key|access_?key|private_?key)\w{0,20}[\"']?\s{0,3}[:=]\s{0,3}[\"']"
)


def redact(text: str) -> tuple[str, dict[str, int]]:
    """Return ``text`` with every secret replaced by its placeholder, and how many of each kind there were."""
    counts: Counter[str] = Counter()
    for detector, pattern in _COMPILED:

        def replace(match: re.Match[str], detector: Detector = detector) -> str:
            group = "secret" if "secret" in match.re.groupindex else 0
            value = match.group(group)
            if detector.accepts is not None and not detector.accepts(value):
                return match.group(0)
            counts[detector.kind] += 1
            whole, begin = match.group(0), match.start(group) - match.start(0)
            return whole[:begin] + detector.placeholder + whole[begin + len(value) :]

        text = pattern.sub(replace, text)
    return text, dict(counts)


def find_suspects(text: pl.Series) -> pl.Series:
    """Return which texts may hold a secret: true for every text that ``redact`` would change."""
    return text.str.contains(_SUSPECT)


def count_secrets(text: pl.Series) -> dict[str, int]:
    """Return how many secrets of each kind all of ``text`` holds: none after redaction."""
    counts: Counter[str] = Counter()
    for suspect in text.filter(find_suspects(text)):
        counts.update(redact(suspect)[1])
    return dict(counts)
