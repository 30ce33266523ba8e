"""The types of a benchmark: its entry, its items and the check of its answers. Nothing here runs a test.

An entry's name, version and protocol with the hash of its data identify a score. Changing a prompt, a stop or a limit
is a new version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from codeft_eval.benchmarks.datafiles import DataFile
from codeft_eval.benchmarks.program_extraction import extract_program
from codeft_eval.sandbox.programs import Program

Rows = Sequence[Mapping[str, Any]]
ProtocolName = Literal["raw", "few-shot", "chat", "unstated"]
"""Raw: the model continues the item's text; few-shot: after solved examples; chat: it answers in its own template;
unstated: stored programs that do not say how their model was asked."""
RAW, FEW_SHOT, CHAT, UNSTATED = get_args(ProtocolName)
PROTOCOLS = (RAW, FEW_SHOT, CHAT)
"""Those by which a model can be asked."""
BASE_PROTOCOLS = (RAW, FEW_SHOT, UNSTATED)
"""Those of one completion that no chat and no strategy made."""
ALL_PROTOCOLS = "all"
"""The benchmark's own protocol, and chat where the checkpoint has a template."""
CONTINUATION, PROGRAM, REPLY = "continuation", "program", "reply"
"""Forms of a completion: it goes on from the prompt, is a whole program, or is a chat model's code block."""


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
    form: str = CONTINUATION
    """Of the completions: a key of ``_SOURCES``."""
    to_source: Callable[[str], str] = str
    """Makes the program that is run of the model's, whatever the form of its completion."""
    libraries: tuple[str, ...] = ()
    """Those that its program or its tests import, where ``may_lack_libraries`` holds for the benchmark."""

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
            source=self.to_source(_SOURCES[self.form](self, completion)),
            entry_point=self.entry_point,
            test=self.test,
            prelude=self.source_prefix if self.prelude is None else self.prelude,
            language=self.language,
        )


_SOURCES: dict[str, Callable[[Item, str], str]] = {
    CONTINUATION: lambda item, completion: item.source_prefix + completion + item.source_suffix,
    PROGRAM: lambda item, completion: completion,
    REPLY: lambda item, completion: extract_program(completion, item.entry_point),
}
"""Form of a completion -> the program that an item and such a completion make."""


@dataclass(frozen=True, slots=True)
class AnswerCheck:
    """Grades a completion by the answer that it gives; no program runs."""

    find_answer: Callable[[str], str | None]
    """From a completion to the answer in it; None when it gives none."""
    is_equal: Callable[[str, str], bool]
    """(answer given, answer expected) -> whether they are the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatTurns:
    """The words of a chat: the user's turn, and those that the assistant's turn begins with."""

    question: Callable[[str], str]
    """From an item's prompt to the user's turn."""
    answer_start: str
    """The model goes on from here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """A way to ask a model, with the end of its completions."""

    name: ProtocolName
    words: str
    """The protocol in words, shown with every score."""
    stops: tuple[str, ...]
    max_new_tokens: int
    chat: ChatTurns | None = None
    """None: the model continues the item's prompt."""


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
    kind: Literal["code", "math", "text"]
    is_composed: bool = False
    """The program that made its items makes rows of a source, too: decontamination looks for the same programs."""
    languages: tuple[str, ...]
    protocol: str
    """In words: how a model is asked without a chat template."""
    version: int
    """Of prompt, stops, limits and tests; a change is a new version."""
    data: DataFile
    read: Callable[[Rows, Rows], Iterable[Item]]
    """From the scored rows and the solved examples to items."""
    answer_check: AnswerCheck | None = None
    """None: a completion is a program, which the sandbox runs with the item's tests."""
    libraries: tuple[str, ...] = ()
    """Installed ones that programs and tests import, as ``numpy`` or ``numpy==2.4.6``; the sandbox has no other."""
    may_lack_libraries: bool = False
    """Without one of its libraries, an item is unscored; otherwise the benchmark is refused."""
    stops: tuple[str, ...]
    max_new_tokens: int
    select: Callable[[Mapping[str, Any]], bool] = lambda row: True
    """The rows that are scored."""
    shots: Callable[[], Rows] | None = None
    """Solved examples shown before each item."""
    chat: Protocol | None = None
    """How a chat model is asked; None where no such protocol is defined."""
    more_data: tuple[DataFile, ...] = ()
    """The file of the examples, where it is another one."""
    published: PublishedFigure | None = None
    failing_solutions: Mapping[str, str] = field(default_factory=dict)
    """Task id -> why its canonical solution fails."""
    needless_solutions: Mapping[str, str] = field(default_factory=dict)
    """Task id -> why its tests pass with nothing in the solution's place."""
    lm_eval_task: str = ""
    """The task of lm-eval whose prompts and metrics are used; empty for ours."""
    module_sha256: str = ""
    """Of the user's own module that defines it, whose code then identifies a score too."""

    @property
    def own_protocol(self) -> Protocol:
        """The protocol without a chat template: that of base models."""
        return Protocol(
            name=FEW_SHOT if self.shots else RAW,
            words=self.protocol,
            stops=self.stops,
            max_new_tokens=self.max_new_tokens,
        )

    def find_protocol(self, name: str = "") -> Protocol:
        """Return the protocol called ``name``, by default the benchmark's own.

        Raises:
            ValueError: the benchmark has no such protocol.
        """
        own = self.own_protocol
        known = {own.name: own} | ({CHAT: self.chat} if self.chat else {})
        if name and name not in known:
            raise ValueError(
                f"protocol {name!r}: benchmark {self.name!r} has {' and '.join(known)} only; choose one of them"
            )
        return known[name] if name else own

    def read_items(self, rows: Rows) -> list[Item]:
        """Return the items of ``rows``, after the solved examples where the benchmark has them."""
        return list(self.read(rows, self.shots() if self.shots else ()))
