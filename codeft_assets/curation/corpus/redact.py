"""Keys, passwords, mail addresses and IP addresses in text, replaced by typed placeholders.

Invariant: redaction is idempotent (no detector matches a placeholder) and changes only the matches of detectors.
Addresses under the reserved example domains and IP addresses that are private, loopback, documentation, version or
section numbers stay: they identify nobody.
"""

from __future__ import annotations

import functools
import itertools
import operator
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import polars as pl

from codeft_assets.curation.corpus.detectors import BLOCK_DETECTORS, Detector, line_detectors

_NAMES = (
    r"(?i:secret|token|api[_\-. ]?key|access[_-]?key|auth[_-]?key|private[_-]?key|account[_-]?key|client[_-]?key|"
    r"credential|passw|passphrase|_pass|pwd)"
)
# Cheap Rust scans find the lines that need the detectors. They are several, because a pattern that begins with literals
# runs at the speed of memory and one that begins with a class does not; they know no look-around. (?-u): Unicode's
# classes would make a compiled scan several hundred times as large.
_SCANS = (
    r"(?-u)[\w.%+-]@[A-Za-z0-9-]+\.[A-Za-z]",
    r"(?-u)(?:AKIA|ASIA|ABIA|ACCA|A3T[A-Z0-9])[A-Z0-9]{16}|(?:AC|SK)[a-z0-9]{32}|AKC\w{10}|eyJ[\w=-]{8}|hooks\.slack\.com"
    r"|xox[a-z]-|xoxe|SG\.[\w-]{22}|sq0|T3BlbkFJ|pypi-Ag|_authToken|NPM[ _-]?TOKEN|npm_|GR1348941"
    r"|gl(?:pat|dt|ft|soat|rt|cbt|imt|ptt|agent|oas|ffct|rtr)-[\w-]{16}"
    r"|(?:sk-|AIza|GOCSPX-|ya29\.|hf_|gsk_|xai-|pplx-|r8_|nvapi-|do[opr]_v1_|shp(?:at|ca|pa|ss)_|xapp-|EAAA|key-"
    r"|dckr_pat_|lin_api_|ntn_|secret_|PMAK-|ATATT3|figd_|sntry[su]_|dapi|rubygems_|xkeysib-|dp\.pt\.|hvs\.|pscale_"
    r"|NRAK-|glsa_|glc_|sbp_|nfp_|aio_|pat|gh[pousr]_|github_pat_|[sr]k_live_|[sr]k_test_|whsec_|AGE-SECRET|tskey-"
    r"|vercel_|CFPAT-)[\w-]{14}|\.atlasv1\.",
    r"(?-u)[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]|[23][0-9A-Fa-f]{3}:[0-9A-Fa-f]{1,4}:",
    r"(?-u)[0-9]{8}:[\w-]{10}|\.[\w-]{6}\.[\w-]{27}|[A-Za-z0-9+/]==|[0-9a-z]-us[0-9]",
    rf"(?-u){_NAMES}\w*[\"'`]?\]?\)?\s{{0,3}}(?::\s?\w{{1,12}}\s?=|:=|=>|[:=,]|==)\s{{0,3}}[rbuf]?@?[\"'`]",
    rf"(?-u){_NAMES}\w*[ \t]?[:=][ \t]?[\w+/=.~!#&*-]{{6}}",
    r"(?-u)(?i:authorization|x-[a-z-]*(?:key|token))[\"']?\]?\s?[:=,]",
    r"(?-u)[?&](?i:api_?key|key|[a-z_]*token|sig|signature|[a-z_]*secret|x-amz-signature|appid)=[\w%]",
    r"(?-u)://[!#&(-.0-9;=?A-Z\[\]^_a-z|~]*:[!#&(-.0-9;=?A-Z\[\]^_a-z|~]{3}",
    r"(?-u)(?i:aws|artif|jfrog|buildkit|ibm|cloudant)[ -~]{0,20}(?i:key|pass|pwd|secret)",
    r"PRIVATE KEY|PuTTY-User-Key",
)


def redact(text: str) -> tuple[str, dict[str, int]]:
    """Return ``text`` with every secret replaced by its placeholder, and how many of each kind there were."""
    return redact_all([text])[0]


def redact_all(texts: Sequence[str]) -> list[tuple[str, dict[str, int]]]:
    """Return what ``redact`` returns of each text; the lines of all are scanned together, which is much faster."""
    counts: list[Counter[str]] = [Counter() for _ in texts]
    whole = [_replace_all(text, BLOCK_DETECTORS, found) for text, found in zip(texts, counts, strict=True)]
    lines = [text.split("\n") for text in whole]
    for text, line in _suspect_lines(whole, lines):
        lines[text][line] = _replace_all(lines[text][line], line_detectors(), counts[text])
    return [("\n".join(part), dict(found)) for part, found in zip(lines, counts, strict=True)]


def _suspect_lines(texts: list[str], lines: list[list[str]]) -> Iterator[tuple[int, int]]:
    """Yield the numbers of text and line of the lines that need the detectors."""
    lengths = [len(part) for part in lines]
    text_of_line = np.repeat(np.arange(len(lines)), lengths)
    every = pl.Series(list(itertools.chain.from_iterable(lines)), dtype=pl.String)
    is_suspect = np.zeros(len(every), dtype=np.bool_)
    for scan in _SCANS:  # lines of the few texts that this one finds
        found = pl.Series(texts, dtype=pl.String).str.contains(scan).to_numpy()
        rows = np.flatnonzero(found[text_of_line])
        is_suspect[rows] |= every.gather(rows).str.contains(scan).to_numpy()
    first_line = np.cumsum([0, *lengths])
    for row in np.flatnonzero(is_suspect).tolist():
        text = int(text_of_line[row])
        yield text, row - int(first_line[text])


def _replace_all(text: str, detectors: Iterable[Detector], counts: Counter[str]) -> str:
    folded = text.lower()
    for detector in detectors:
        if any(hint in folded for hint in detector.hints):
            text = _replace(text, detector, counts)
    return text


def _replace(text: str, detector: Detector, counts: Counter[str]) -> str:
    def replace(match: re.Match[str]) -> str:
        group = "secret" if "secret" in match.re.groupindex else 0
        if detector.accepts is not None and not detector.accepts(match):
            return match[0]
        counts[detector.kind] += 1
        begin, end = match.start(group) - match.start(0), match.end(group) - match.start(0)
        return match[0][:begin] + detector.placeholder + match[0][end:]

    return detector.pattern.sub(replace, text)


def find_suspects(text: pl.Series) -> pl.Series:
    """Return which texts may hold a secret: true for every text that ``redact`` would change."""
    scans = [text.str.contains(scan) for scan in _SCANS]
    return functools.reduce(operator.or_, scans)


def count_secrets(text: pl.Series) -> dict[str, int]:
    """Return how many secrets of each kind all of ``text`` holds: none after redaction."""
    counts: Counter[str] = Counter()
    for _, found in redact_all(text.filter(find_suspects(text)).to_list()):
        counts.update(found)
    return dict(counts)
