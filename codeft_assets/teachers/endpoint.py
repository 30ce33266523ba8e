"""A teacher behind an OpenAI-compatible chat endpoint, by the client that annotates: its retries, its journal.

The key comes from the environment variable ``CODEFT_TEACHER_KEY``.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from codeft_assets.annotators.endpoint import EndpointAnnotator
from codeft_assets.base.calls import CallJournal
from codeft_assets.curation.quality.annotation import Question
from codeft_assets.exercises.taught.prompts import SETTINGS, Request

KEY_VARIABLE = "CODEFT_TEACHER_KEY"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointTeacher:
    """Answers by chat, a request at a time for each worker."""

    url: str
    """Including the version: ``http://127.0.0.1:8000/v1``."""
    model: str
    max_concurrency: int = 8

    @property
    def identity(self) -> str:
        """The model and its sampling; not the address, which may move."""
        return f"endpoint {self.model} {SETTINGS}"

    def answer(self, requests: Sequence[Request], journal: CallJournal) -> None:
        """Answer every request once; transient errors are retried.

        Raises:
            ValueError: the URL is no endpoint's, or carries a key.
            UpstreamError: access is refused, the model is missing, or a call failed every attempt.
        """
        for (temperature, max_tokens), group in itertools.groupby(
            requests, lambda asked: (asked.temperature, asked.max_tokens)
        ):
            client = EndpointAnnotator(
                url=self.url,
                model=self.model,
                max_concurrency=self.max_concurrency,
                temperature=temperature,
                max_answer_tokens=2 * max_tokens,  # an answer repeats the signature, or says a word before it
                key_variable=KEY_VARIABLE,
            )
            client.answer([Question(key=asked.key, name=asked.key, prompt=asked.question) for asked in group], journal)
