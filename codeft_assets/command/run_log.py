"""The log of a command of Dagster, and why the command ended, read from it."""

from __future__ import annotations

import ast
import contextlib
import fcntl
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from codeft_assets.command.typed import typed_asset_list

FIRST_LOG = "command.log"
_HAS_RUN = "Error: Materialization failed."
"""Dagster's last line after a run that began; what failed in it has been printed while it ran."""
_FRAMES = "Traceback (most recent call last):"
_MAX_LINES = 20
"""Of a message; more lines after a traceback are the output of a program that went on."""
_CLASS = re.compile(r"^[A-Za-z_][\w.]*(?:Error|Exception|Failure): ")
_MISSING = re.compile(r"AssetKey\(s\) (\[.*?\]) were selected")


@contextlib.contextmanager
def own_log(folder: Path) -> Iterator[TextIO]:
    """Yield the file of ``folder`` for the output of a run, emptied: where other runs write, ``command-2.log``, ..."""
    for name in itertools.chain([FIRST_LOG], (f"command-{number}.log" for number in itertools.count(2))):
        with (folder / name).open("a", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # also the command's: it inherits the file
            except BlockingIOError:
                continue
            file.truncate(0)
            yield file
            return


def reason(log: str) -> str:
    """Return the message of the error that kept a run from its beginning; "" where the run itself said what failed.

    That is the last error of the log without its frames and its class, else the last line.
    """
    lines = log.rstrip().splitlines() or [""]
    if lines[-1] == _HAS_RUN:
        return ""
    start = next((n for n in reversed(range(len(lines))) if lines[n].strip() == _FRAMES), len(lines) - 1)
    first = next((n for n in range(start + 1, len(lines)) if lines[n] and not lines[n][0].isspace()), len(lines))
    message_lines = lines[first:] if 0 < len(lines) - first <= _MAX_LINES else lines[-1:]
    text = _CLASS.sub("", "\n".join(message_lines)).removeprefix("Error: ")
    missing = _MISSING.search(text)
    return _no_such_asset(ast.literal_eval(missing[1]), text) if missing else text


def _no_such_asset(keys: list[str], text: str) -> str:
    """Return which assets were asked for, and the near ones that Dagster lists as JSON."""
    listed = re.findall(r'\["[^]]*"\]', text.partition("did you mean")[2])
    near = dict.fromkeys("/".join(json.loads(key)) for key in listed)
    asked = "there is no asset " + ", ".join(map(repr, keys))
    if near:
        return f"{asked}; did you mean {' or '.join(near)}?"
    return f"{asked}; this lists all: {typed_asset_list()}"
