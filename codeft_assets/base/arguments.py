"""Command lines: one error of one line for what is wrong, with what was probably meant; inputs that must exist."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, and leaves the list of all options to ``--help``."""

    def error(self, message: str) -> NoReturn:
        """Raise a ValueError, which a program reports as any other that the user can fix."""
        raise ValueError(f"{message.removeprefix('argument ')}; see {self.prog} --help")


def near_name(name: str, known: Collection[str]) -> str:
    """Return ``; did you mean NAME?`` of the name in ``known`` that ``name`` resembles; "" where none does."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def existing_folder(remedy: str) -> Callable[[str], Path]:
    """Return the type of an option that takes a folder; ``remedy`` is said where it does not exist."""
    return lambda text: _existing(text, "folder", Path.is_dir, remedy)


def existing_file(remedy: str) -> Callable[[str], Path]:
    """Return the type of an option that takes a file; ``remedy`` is said where it does not exist."""
    return lambda text: _existing(text, "file", Path.is_file, remedy)


def existing_path(remedy: str) -> Callable[[str], Path]:
    """Return the type of an option that takes a file or a folder; ``remedy`` is said where it does not exist."""
    return lambda text: _existing(text, "file or folder", Path.exists, remedy)


def _existing(text: str, kind: str, is_there: Callable[[Path], bool], remedy: str) -> Path:
    path = Path(text)
    if is_there(path):
        return path
    raise argparse.ArgumentTypeError(f"{text!r} {f'is no {kind}' if path.exists() else 'does not exist'}; {remedy}")
