"""The calls of an annotation: their counts, and the journals of older versions."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from codeft_assets.base.answers import AnswerStore
from codeft_assets.base.calls import ANSWERED, FAILED, REFUSED, SENT, CallJournal, Reply, open_calls
from codeft_assets.curation.quality.annotation import is_well_formed


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Counts over the calls of all runs."""

    num_calls: int
    num_malformed: int
    """Answers without a label, the first ones of questions that were sent again among them."""
    num_failed: int
    """Calls that ended in an error and were made again."""
    num_unanswered: int
    """Calls in flight when a run was killed: made again, perhaps charged."""
    num_answers_without_usage: int
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class AnnotationJournal(CallJournal):
    """The calls to one annotator with one prompt."""

    def totals(self) -> Totals:
        """Return the counts of all calls."""
        sent, answered, failed, refused = (self.store.count(kind) for kind in (SENT, ANSWERED, FAILED, REFUSED))
        replies = self.all_replies()
        return Totals(
            num_calls=sent,
            num_malformed=sum(not is_well_formed(reply.content) for reply in replies),
            num_failed=failed,
            num_unanswered=sent - answered - failed - refused,
            num_answers_without_usage=sum(reply.input_tokens is None for reply in replies),
            input_tokens=sum(reply.input_tokens or 0 for reply in replies),
            output_tokens=sum(reply.output_tokens or 0 for reply in replies),
        )


@contextmanager
def open_journal(path: Path) -> Iterator[AnnotationJournal]:
    """Open the journal at ``path`` for this run alone, with the events of a JSONL journal beside it.

    Raises:
        ValueError: another run has it open, or a line of the JSONL journal is damaged.
    """
    with open_calls(path) as journal:
        _import_jsonl(path.with_suffix(".jsonl"), journal.store)
        yield AnnotationJournal(journal.store)


def _import_jsonl(path: Path, store: AnswerStore) -> None:
    """Copy the journal of an older version, once; its answers were paid for.

    Each kind of event is one transaction, and a kind that is there is not copied again: an import that was killed is
    completed when the store is opened next, before anything new is written.
    """
    if store.count(SENT) or not path.is_file():
        return
    events: dict[str, list[tuple[str, str]]] = defaultdict(list)
    content = path.read_bytes()
    complete = content[: content.rfind(b"\n") + 1]  # a crash may have cut off the last line
    for number, line in enumerate(complete.splitlines(), start=1):
        try:
            event = json.loads(line)
            kind, key, cause = event.pop("event"), event.pop("key"), event.pop("cause", "")
            events[kind].append((key, json.dumps(asdict(Reply(**event))) if kind == ANSWERED else cause))
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise ValueError(
                f"journal {path} line {number} is damaged: {line[:80]!r}; delete that line, its question is sent again"
            ) from error
    for kind in (ANSWERED, REFUSED, FAILED, SENT):
        if not store.count(kind):
            store.put(kind, events[kind])
