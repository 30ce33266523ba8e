"""An annotator behind an OpenAI-compatible chat endpoint: vLLM, llama.cpp, Ollama, or a service.

The key comes from the environment variable ``CODEFT_ANNOTATOR_KEY``, is sent as a header, and appears in no error, log,
journal or metadata. A call's ``Idempotency-Key`` names the question, so that a gateway that supports it charges once.

Requests are made by httpx and not by the ``openai`` client: its retries are not seen by the journal and hold back one
call, not all workers, so it would run with ``max_retries=0`` and replace a single ``post`` (version 3.57, read).
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from codeft_assets.base.calls import CallJournal, Reply
from codeft_assets.curation.quality.annotation import Question
from codeft_assets.origins.errors import (
    GatedUpstreamError,
    MissingUpstreamError,
    UnreachableUpstreamError,
    UpstreamError,
)
from codeft_assets.origins.http_file import retry_after_seconds
from codeft_assets.origins.origin import TransientError, backoff_seconds

if TYPE_CHECKING:
    import httpx

KEY_VARIABLE = "CODEFT_ANNOTATOR_KEY"
MAX_ATTEMPTS = 8
_TRANSIENT = frozenset({408, 409, 425, 429})
"""Timeouts, locks and rate limits: worth another attempt, as every 5xx."""
_REFUSALS = frozenset({400, 413, 422})
"""About this document alone: too long, or against the service's rules. Others may be annotated."""
_MAX_CAUSE_CHARS = 200

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointAnnotator:
    """Makes at most ``max_concurrency`` calls at a time."""

    url: str
    """Including the version: ``http://127.0.0.1:8000/v1``."""
    model: str
    max_concurrency: int = 8
    temperature: float = 0.0
    max_answer_tokens: int = 512
    timeout_seconds: float = 120.0
    key_variable: str = KEY_VARIABLE
    """The environment variable that holds the key."""
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or not self.model:
            raise ValueError(
                f"endpoint {parts.scheme}://{parts.hostname or ''} and model {self.model!r}: give the URL of an "
                f"OpenAI-compatible service such as http://127.0.0.1:8000/v1, and the name of a model it serves"
            )
        if parts.username or parts.password or parts.query:
            raise ValueError(
                f"the endpoint's URL at {parts.hostname} carries a user, password or query, which logs would show; "
                f"put the key into the environment variable {self.key_variable}"
            )
        if self.max_concurrency < 1:
            raise ValueError(f"max_concurrency {self.max_concurrency} must be at least 1")

    @property
    def identity(self) -> str:
        """The model and its sampling; not the address, which may move."""
        return f"endpoint {self.model} temperature {self.temperature:g} tokens {self.max_answer_tokens}"

    def answer(self, questions: Sequence[Question], journal: CallJournal) -> None:
        """Answer every question once; transient errors are retried, honoring ``Retry-After``.

        Raises:
            UpstreamError: access is refused, the model is missing, or a call failed every attempt. Calls in flight end
                first and their answers are kept.
        """
        asyncio.run(_Session(self, journal, os.environ.get(self.key_variable, "")).run(questions))


class _Session:
    """The state that the workers of one ``answer`` share."""

    def __init__(self, annotator: EndpointAnnotator, journal: CallJournal, api_key: str) -> None:
        self._annotator, self._journal, self._api_key = annotator, journal, api_key
        self._resume_at = 0.0
        self._failure: UpstreamError | None = None

    async def run(self, questions: Sequence[Question]) -> None:
        import httpx

        headers = {"Authorization": f"Bearer {self._api_key}"} if self._api_key else {}
        num_workers = min(self._annotator.max_concurrency, len(questions))
        limits = httpx.Limits(max_connections=num_workers)
        queue = iter(questions)
        async with httpx.AsyncClient(headers=headers, timeout=self._annotator.timeout_seconds, limits=limits) as client:
            await asyncio.gather(*(self._work(client, queue) for _ in range(num_workers)))
        if self._failure is not None:
            raise self._failure

    async def _work(self, client: httpx.AsyncClient, queue: Iterator[Question]) -> None:
        for question in queue:
            if self._failure is not None:
                return  # the others end what they have in flight: it may be charged
            try:
                await self._call_with_retries(client, question)
            except UpstreamError as error:
                self._failure = self._failure or error

    async def _call_with_retries(self, client: httpx.AsyncClient, question: Question) -> None:
        last: TransientError | None = None
        for attempt in range(MAX_ATTEMPTS):
            await self._wait_until_resumed()
            if self._failure is not None:
                return
            try:
                await self._call(client, question)
                return
            except TransientError as error:
                last = error
            self._journal.failed(question.key, str(last))
            wait = backoff_seconds(attempt, last.retry_after_seconds)
            _log.warning("annotator: %s; attempt %d of %d, again in %.1f s", last, attempt + 1, MAX_ATTEMPTS, wait)
            if last.retry_after_seconds is not None:
                self._resume_at = max(self._resume_at, time.monotonic() + wait)  # all workers wait
            elif attempt + 1 < MAX_ATTEMPTS:
                await self._annotator.sleep(wait)
        raise UnreachableUpstreamError(
            f"{self._annotator.url} failed {MAX_ATTEMPTS} times about {question.name}, last with: {last}; run the "
            f"asset again when the endpoint answers: the answers so far are kept"
        )

    async def _wait_until_resumed(self) -> None:
        wait = self._resume_at - time.monotonic()
        if wait > 0:
            await self._annotator.sleep(wait)

    async def _call(self, client: httpx.AsyncClient, question: Question) -> None:
        import httpx

        body = {
            "model": self._annotator.model,
            "messages": [{"role": "user", "content": question.prompt}],
            "temperature": self._annotator.temperature,
            "max_tokens": self._annotator.max_answer_tokens,
        }
        idempotency_key = f"{question.key}-{len(self._journal.replies(question.key))}"
        self._journal.sent(question.key)
        try:
            response = await client.post(
                f"{self._annotator.url.rstrip('/')}/chat/completions",
                json=body,
                headers={"Idempotency-Key": idempotency_key},
            )
        except httpx.HTTPError as error:
            raise TransientError(f"{type(error).__name__}: {self._redacted(str(error))}") from error
        self._record(question, response)

    def _record(self, question: Question, response: httpx.Response) -> None:
        status, where = response.status_code, f"{self._annotator.url}, model {self._annotator.model!r}"
        if status == 200:
            self._journal.answered(question.key, _parse_response(response))
            return
        cause = f"status {status}: {self._redacted(response.text)}"
        if status in _TRANSIENT or status >= 500:
            raise TransientError(f"status {status}", retry_after_seconds(response.headers.get("Retry-After")))
        if status in _REFUSALS:
            self._journal.refused(question.key, cause)
            return
        self._journal.failed(question.key, f"status {status}")
        if status in {401, 403}:  # services repeat the key in the body of this answer
            raise GatedUpstreamError(
                f"{where}: status {status}, access is refused; set {self._annotator.key_variable} to a valid key"
            )
        raise MissingUpstreamError(f"{where}: {cause}; correct endpoint and model in the launchpad")

    def _redacted(self, text: str) -> str:
        shown = text.replace(self._api_key, "[key]") if self._api_key else text
        return " ".join(shown.split())[:_MAX_CAUSE_CHARS]


def _parse_response(response: httpx.Response) -> Reply:
    """Return the answer in a response; one that is no chat completion is an answer too, and a malformed one."""
    try:
        completion = response.json()
        content = completion["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError):
        return Reply(content=response.text)
    usage = completion.get("usage") or {}
    return Reply(
        content=content if isinstance(content, str) else "",
        input_tokens=_token_count(usage, "prompt_tokens"),
        output_tokens=_token_count(usage, "completion_tokens"),
    )


def _token_count(usage: Any, name: str) -> int | None:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) else None
