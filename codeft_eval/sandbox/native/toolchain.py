"""The types of a toolchain: how the two programs of a language are made from a prompt, a completion and its tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

NONCE = "@NONCE@"
"""Printed by the last line of a test, and replaced by a secret when it runs: the proof that every assertion held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Canaries:
    """Three completions of one prompt and a test; a sandbox that grades one of them wrongly is not used."""

    prompt: str
    right: str
    wrong: str
    early_exit: str
    test: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """The two programs of tests and completion; templates know ``{name}``, ``{parameters}`` and the names below.

    Judge: ``header``, prompt, ``stub``, test. Candidate: ``header``, prompt and completion, the test's own text before
    ``opening``, ``driver``.
    """

    opening: str
    """Regular expression of the line that begins the test function; ``{opening}`` is the text that it matched."""
    stub: str
    """The function's body in the judge, which sends the arguments and returns the answer; ``{result}``: its type."""
    driver: str
    """The test function of the candidate, which answers the judge's calls."""
    call: str = r"\b(candidate|{name})\("
    """Regular expression of a call in a test, each of which must have been answered before the proof counts."""
    channel: str
    """The file in ``channels`` that both programs contain; ``@PACKAGE@`` becomes the prompt's own package."""
    header: str = ""
    parameter: str = "{name}"
    """One of ``{parameters}``, as the stub sends it."""
    has_names_first: bool = False
    """In signatures: ``lst []int``, not ``long lst``."""
    replaced: tuple[tuple[str, str], ...] = ()
    """(text, other text): rewritten in the prompt and the program alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """Tools and command lines for the programs of one language."""

    language: str
    title: str
    file_name: str
    tools: tuple[str, ...]
    """Executables that must be installed; steps name them as ``{tool}``."""
    version_arguments: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """tool -> the arguments that print its version, where they are not ``--version``."""
    steps: tuple[tuple[str, ...], ...]
    """Command lines, of the candidate and of the judge; all must end with status 0."""
    judge_steps: tuple[tuple[str, ...], ...] = ()
    """Those of the judge, where they are others."""
    built: tuple[str, ...] = ()
    """Patterns of the files that the last step needs: a judge's are kept for the next program of the same tests."""
    environment: dict[str, str] = field(default_factory=dict)
    support: Callable[[], dict[str, str]] = dict
    """Our own files beside both programs: path -> text."""
    programs: tuple[str, ...] = ()
    """Other programs of the system that solutions use: their versions are recorded, and they may be absent."""
    folders: tuple[str, ...] = ()
    """Host folders that the tools need besides /usr and their own."""
    split: Split
    canaries: Canaries
