"""The types of a benchmark: its entry, its items and the check of its answers. Nothing here runs a test.

An entry's name, version and protocol with the hash of its data identify a score. Changing a prompt, a stop or a limit
is a new version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from codeft_eval.benchmarks.datafiles import DataFile
from codeft_eval.sandbox.programs import Program

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One problem as the model and the grader see it."""

    task_id: str
    prompt: str
    """The text that the model continues, solved examples included."""
    solution: str
    """The canonical continuation: scored in bits per byte, and run by the harness check; empty where there is none."""
    entry_point: str = ""
    test: str = ""
    answer: str = ""
    """The expected answer, where answers are compared."""
    source_prefix: str = ""
    """The program's text before the completion."""
    source_suffix: str = ""
    """The program's text after the completion."""
    prelude: str | None = None
    """Trusted code that the tests need, such as helpers of the prompt; None: ``source_prefix``."""
    suffix: str = ""
    """The text after the gap, where a model fills one; ``prompt`` is then the text before it."""
    question: str = ""
    """The statement alone, for decontamination."""
    language: str = "python"
    """Of the program; answers that are compared have none."""

    @property
    def is_gradable(self) -> bool:
        """Whether a completion can be graded; a problem without an answer is scored by likelihood only."""
        return bool(self.test or self.answer)

    @property
    def loglikelihood_text(self) -> str:
        """The text whose log-likelihood is taken: lm-eval moves white space at the prompt's end to the solution."""
        return self.prompt[len(self.prompt.rstrip()) :] + self.solution

    def to_program(self, completion: str) -> Program:
        """Return the program that a completion makes."""
        return Program(
            key=self.task_id,
            source=self.source_prefix + completion + self.source_suffix,
            entry_point=self.entry_point,
            test=self.test,
            prelude=self.source_prefix if self.prelude is None else self.prelude,
            language=self.language,
        )


@dataclass(frozen=True, slots=True)
class AnswerCheck:
    """Grades a completion by the answer that it gives; no program runs."""

    find_answer: Callable[[str], str | None]
    """From a completion to the answer in it; None when it gives none."""
    is_equal: Callable[[str, str], bool]
    """(answer given, answer expected) -> whether they are the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedFigure:
    """The published figure that a benchmark may be set beside, and how far the protocols agree."""

    benchmark: str
    """As the reference table calls it."""
    protocol: str
    """The published protocol, in words."""
    difference: str
    """From our protocol; shown wherever the two stand together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """One benchmark."""

    name: str
    title: str
    kind: Literal["code", "math"]
    languages: tuple[str, ...]
    protocol: str
    version: int
    """Of prompt, stops, limits and tests; a change is a new version."""
    data: DataFile
    read: Callable[[Rows, Rows], Iterable[Item]]
    """From the scored rows and the solved examples to items."""
    answer_check: AnswerCheck | None = None
    """None: a completion is a program, which the sandbox runs with the item's tests."""
    stops: tuple[str, ...]
    max_new_tokens: int
    select: Callable[[Mapping[str, Any]], bool] = lambda row: True
    """The rows that are scored."""
    shots: Callable[[], Rows] = lambda: ()
    """Solved examples shown before each item."""
    more_data: tuple[DataFile, ...] = ()
    """The file of the examples, where it is another one."""
    published: PublishedFigure | None = None
    failing_solutions: Mapping[str, str] = field(default_factory=dict)
    """Task id -> why its canonical solution fails."""
    needless_solutions: Mapping[str, str] = field(default_factory=dict)
    """Task id -> why its tests pass with nothing in the solution's place."""
    module_sha256: str = ""
    """Of the user's own module that defines it, whose code then identifies a score too."""
