"""Calls to a model and their answers, on the disk before anything is made of them.

Invariant: an answer is never paid for twice, however often a run is killed; two runs never write one journal at a time.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from codeft_assets.base.answers import AnswerStore

SENT, ANSWERED, FAILED, REFUSED = "sent", "answered", "failed", "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer to a question."""

    content: str
    input_tokens: int | None = None
    """As the endpoint counts them; None where it does not count."""
    output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class CallJournal:
    """The calls to one model; each event is on the disk when its method returns."""

    store: AnswerStore

    def sent(self, key: str) -> None:
        """Record that a question goes out."""
        self.store.put(SENT, [(key, "")])

    def answered(self, key: str, reply: Reply) -> None:
        """Record an answer."""
        self.answered_all([(key, reply)])

    def answered_all(self, replies: Iterable[tuple[str, Reply]]) -> None:
        """Record several answers, all of them or none."""
        self.store.put(ANSWERED, [(key, json.dumps(asdict(reply))) for key, reply in replies])

    def failed(self, key: str, cause: str) -> None:
        """Record that a call ended in an error, without an answer."""
        self.store.put(FAILED, [(key, cause)])

    def refused(self, key: str, cause: str) -> None:
        """Record that the model's service does not accept this question."""
        self.store.put(REFUSED, [(key, cause)])

    def replies(self, key: str) -> list[Reply]:
        """Return the answers to a question, oldest first."""
        return [Reply(**json.loads(value)) for _, value in self.store.get(ANSWERED, [key])]

    def all_replies(self) -> list[Reply]:
        """Return every answer, oldest first."""
        return [Reply(**json.loads(value)) for _, value in self.store.all(ANSWERED)]

    def refusal(self, key: str) -> str | None:
        """Return why a question was refused, None if it was not."""
        return next((str(cause) for _, cause in self.store.get(REFUSED, [key])), None)


@contextmanager
def open_calls(path: Path) -> Iterator[CallJournal]:
    """Open the journal at ``path`` for this run alone.

    Raises:
        ValueError: another run has it open, or the file is no journal.
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"journal {path} is being written by another run; wait until it has ended") from error
        with AnswerStore(path) as store:
            yield CallJournal(store)
