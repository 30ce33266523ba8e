"""Annotation of documents: each question is answered once, and sent a second time after a malformed answer.

Invariant: a question that the journal holds an answer to is not sent again, whoever annotates and however often a run
was killed.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from codeft_assets.base.calls import CallJournal
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

    def answer(self, questions: Sequence[Question], journal: CallJournal) -> None:
        """Answer every question once and record each answer as soon as it comes.

        Raises:
            UpstreamError: the annotator cannot be reached; the answers so far are in the journal.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotations:
    """The outcome of an annotation; each question is in exactly one of the two."""

    found: dict[str, Annotation]
    """By the question's key."""
    left_out: dict[str, tuple[str, str]]
    """Drop reason and detail by the question's key."""


def annotate_questions(questions: Sequence[Question], annotator: Annotator, journal: CallJournal) -> Annotations:
    """Return an annotation for each question, from the journal where it has one.

    Raises:
        UpstreamError: the annotator cannot be reached; run again, the answers so far are kept.
        ValueError: no question has an annotation: the annotator does not follow the prompt.
    """
    for _ in range(MAX_ANSWERS):
        unanswered = [question for question in questions if _needs_answer(question, journal)]
        if unanswered:
            _log.info("%d of %d questions go to %s", len(unanswered), len(questions), annotator.identity)
            annotator.answer(unanswered, journal)
    parsed = {question.key: _parse_replies(question, journal) for question in questions}
    found = {key: answer for key, answer in parsed.items() if isinstance(answer, Annotation)}
    left_out = {key: answer for key, answer in parsed.items() if isinstance(answer, tuple)}
    if questions and not found:
        raise ValueError(
            f"none of {len(questions)} documents got a label from {annotator.identity!r}; the first answer: "
            f"{next(iter(left_out.values()))[1]}; try a model that follows instructions"
        )
    return Annotations(found=found, left_out=left_out)


def _needs_answer(question: Question, journal: CallJournal) -> bool:
    replies = journal.replies(question.key)
    is_annotated = any(is_well_formed(reply.content) for reply in replies)
    return not is_annotated and len(replies) < MAX_ANSWERS and journal.refusal(question.key) is None


def _parse_replies(question: Question, journal: CallJournal) -> Annotation | tuple[str, str]:
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
