"""Who judges documents, and how they are asked: each question once, a malformed answer once more, none lost.

Invariant: what the journal holds an answer to is not asked again, whoever annotates and however often a run was killed.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from codeft_assets.annotators.journal import Journal
from codeft_assets.curation.quality.annotation import (
    MAX_ANSWERS,
    Annotation,
    MalformedAnswerError,
    Question,
    is_well_formed,
    parse_answer,
)

MALFORMED_ANSWER, REFUSED_BY_ANNOTATOR = "malformed_answer", "refused_by_annotator"

_log = logging.getLogger(__name__)


class Annotator(Protocol):
    """A model that answers questions."""

    @property
    def identity(self) -> str:
        """The model, with everything that decides its answers."""
        ...

    def ask(self, questions: Sequence[Question], journal: Journal) -> None:
        """Ask every question once and write each answer into the journal as soon as it comes.

        Raises:
            UpstreamError: the annotator cannot be reached; the answers so far are in the journal.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgments:
    """What an annotation came to; each question is in exactly one of the two."""

    found: dict[str, Annotation]
    """By the question's key."""
    left_out: dict[str, tuple[str, str]]
    """Drop reason and detail by the question's key."""


def judge(questions: Sequence[Question], annotator: Annotator, journal: Journal) -> Judgments:
    """Return a judgment for each question, from the journal where it has one.

    Raises:
        UpstreamError: the annotator cannot be reached; run again, what was answered is not asked again.
        ValueError: no question has a judgment: the annotator does not do what the prompt asks.
    """
    for _ in range(MAX_ANSWERS):
        waiting = [question for question in questions if _is_open(question, journal)]
        if waiting:
            _log.info("asking %d of %d questions", len(waiting), len(questions))
            annotator.ask(waiting, journal)
    read = {question.key: _read(question, journal) for question in questions}
    found = {key: answer for key, answer in read.items() if isinstance(answer, Annotation)}
    left_out = {key: answer for key, answer in read.items() if isinstance(answer, tuple)}
    if questions and not found:
        raise ValueError(
            f"none of {len(questions)} documents got a label from {annotator.identity!r}; the first answer: "
            f"{next(iter(left_out.values()))[1]}; try a model that follows instructions"
        )
    return Judgments(found=found, left_out=left_out)


def _is_open(question: Question, journal: Journal) -> bool:
    replies = journal.replies(question.key)
    judged = any(is_well_formed(reply.content) for reply in replies)
    return not judged and len(replies) < MAX_ANSWERS and journal.refusal(question.key) is None


def _read(question: Question, journal: Journal) -> Annotation | tuple[str, str]:
    refusal = journal.refusal(question.key)
    if refusal is not None:
        return REFUSED_BY_ANNOTATOR, refusal
    detail = "no answer"
    for reply in journal.replies(question.key):
        try:
            return parse_answer(reply.content)
        except MalformedAnswerError as error:
            detail = str(error)
    return MALFORMED_ANSWER, detail
