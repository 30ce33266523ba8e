"""The journal of an annotation: every call and every answer, written down before anything is made of it.

Invariant: the file only grows. An answer is on the disk before the next step, so a killed run pays for no answer twice;
a line that was torn by a crash is cut off; two runs never write one journal at a time.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

from codeft_assets.curation.quality.annotation import is_well_formed

SENT, ANSWERED, FAILED, REFUSED = "sent", "answered", "failed", "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back for one question."""

    content: str
    input_tokens: int | None = None
    """As the endpoint counts them; None where it does not say."""
    output_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What all calls came to, over all runs."""

    num_calls: int
    num_answers: int
    num_malformed: int
    """Answers that hold no label, those that were asked for again among them."""
    num_failed: int
    """Calls that ended in an error and were made again."""
    num_unanswered: int
    """Calls in flight when a run was killed: asked again, perhaps charged."""
    num_answers_without_usage: int
    input_tokens: int
    output_tokens: int


class Journal:
    """An open journal; use it as a context."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._calls: Counter[str] = Counter()
        self._replies: dict[str, list[Reply]] = {}
        self._refusals: dict[str, str] = {}
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Journal:
        """Open the file for this run alone and read what earlier runs wrote.

        Raises:
            ValueError: another run writes it, or a line in its middle is damaged.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            raise ValueError(
                f"journal {self._path} is being written by another run; wait until it has ended"
            ) from error
        self._read(self._file)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def _read(self, file: IO[bytes]) -> None:
        file.seek(0)
        content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            file.truncate(len(whole))
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                self._note(**json.loads(line))
            except (ValueError, TypeError) as error:
                raise ValueError(
                    f"journal {self._path} line {number} is damaged: {line[:80]!r}; delete that line, its answer is "
                    f"asked for again"
                ) from error

    def _note(self, event: str, key: str, cause: str = "", **reply: object) -> None:
        if event == ANSWERED:
            self._replies.setdefault(key, []).append(Reply(**reply))  # type: ignore[arg-type]
        elif event == REFUSED:
            self._refusals[key] = cause
        self._calls[event] += 1

    def _write(self, line: dict[str, object], *, to_disk: bool) -> None:
        assert self._file is not None, "the journal is open"
        self._file.write(json.dumps(line).encode() + b"\n")
        self._file.flush()  # survives a kill of this process
        if to_disk:
            os.fsync(self._file.fileno())  # survives a power cut
        self._note(**line)  # type: ignore[arg-type]

    # -- what a run writes ---------------------------------------------------------------------------------------------

    def sent(self, key: str) -> None:
        """Note that a question goes out."""
        self._write({"event": SENT, "key": key}, to_disk=False)

    def answered(self, key: str, reply: Reply) -> None:
        """Note an answer; it is on the disk when this returns."""
        fields = {"content": reply.content, "input_tokens": reply.input_tokens, "output_tokens": reply.output_tokens}
        self._write({"event": ANSWERED, "key": key, **fields}, to_disk=True)

    def failed(self, key: str, cause: str) -> None:
        """Note that a call ended in an error that may pass."""
        self._write({"event": FAILED, "key": key, "cause": cause}, to_disk=False)

    def refused(self, key: str, cause: str) -> None:
        """Note that the annotator will not judge this document."""
        self._write({"event": REFUSED, "key": key, "cause": cause}, to_disk=True)

    # -- what a run reads ----------------------------------------------------------------------------------------------

    def replies(self, key: str) -> list[Reply]:
        """Return the answers to a question, in the order in which they came."""
        return self._replies.get(key, [])

    def refusal(self, key: str) -> str | None:
        """Return why the annotator will not judge a document, None if it did not refuse."""
        return self._refusals.get(key)

    def totals(self) -> Totals:
        """Return what all calls came to."""
        sent, answered, failed, refused = (self._calls[event] for event in (SENT, ANSWERED, FAILED, REFUSED))
        replies = [reply for found in self._replies.values() for reply in found]
        return Totals(
            num_calls=sent,
            num_answers=answered,
            num_malformed=sum(not is_well_formed(reply.content) for reply in replies),
            num_failed=failed,
            num_unanswered=sent - answered - failed - refused,
            num_answers_without_usage=sum(reply.input_tokens is None for reply in replies),
            input_tokens=sum(reply.input_tokens or 0 for reply in replies),
            output_tokens=sum(reply.output_tokens or 0 for reply in replies),
        )
