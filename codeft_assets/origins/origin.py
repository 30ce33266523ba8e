"""The interface of origins: resolve upstream to a revision and its files, then stream the rows of one file at it.

Invariant: everything is read at the revision that ``resolve`` returned, and ``Upstream.fingerprint`` changes exactly
when a data file does: an edited README is no change.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

import xxhash

from codeft_assets.curation.ingest.drafts import Reject, Row
from codeft_assets.origins.errors import UnreachableUpstreamError

Result = TypeVar("Result")

_log = logging.getLogger(__name__)

MAX_ATTEMPTS = 5
FIRST_WAIT_SECONDS = 1.0
MAX_WAIT_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamFile:
    """The unit of incremental work: an unchanged file is never read again."""

    path: str
    """Path in the repository, file name, or URL."""
    fingerprint: str
    """Hash of its content, by upstream or by us."""
    size_bytes: int | None = None
    split: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """A source at one revision."""

    revision: str
    """Commit sha, or a content hash where upstream has no commits."""
    files: tuple[UpstreamFile, ...]
    note: str = ""
    """A notice for the operator, for example that the dataset has moved."""

    @property
    def fingerprint(self) -> str:
        """Hash over the data files, 32 hex digits, by which changes are detected."""
        return xxhash.xxh3_128_hexdigest("\n".join(f"{file.path}\t{file.fingerprint}" for file in self.files))


@runtime_checkable
class Origin(Protocol):
    """A place that rows are read from. Implementations are frozen dataclasses: they are pickled to worker processes."""

    def resolve(self) -> Upstream:
        """Return the current revision and its files."""
        ...

    def read(self, upstream: Upstream, file: UpstreamFile) -> Iterator[tuple[str, Row | Reject]]:
        """Yield ``(source_row, row)`` of one file at ``upstream.revision``; a row that cannot be parsed is a reject."""
        ...


class TransientError(Exception):
    """A failure that may pass, raised inside ``with_retries``; carries the wait that the server requested."""

    def __init__(self, cause: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(cause)
        self.retry_after_seconds = retry_after_seconds


def with_retries(
    call: Callable[[], Result],
    *,
    action: str,
    sleep: Callable[[float], None] = time.sleep,
    max_attempts: int = MAX_ATTEMPTS,
) -> Result:
    """Return ``call()``, retried with exponential backoff and jitter, or after the wait that the server requests.

    Raises:
        UnreachableUpstreamError: every attempt failed.
    """
    last: TransientError | None = None
    for attempt in range(max_attempts):
        try:
            return call()
        except TransientError as error:
            last = error
        if attempt + 1 < max_attempts:
            wait = backoff_seconds(attempt, last.retry_after_seconds)
            _log.warning("%s: %s; attempt %d of %d, again in %.1f s", action, last, attempt + 1, max_attempts, wait)
            sleep(wait)
    raise UnreachableUpstreamError(
        f"{action} failed {max_attempts} times, last with: {last}; check the network and run the asset again, "
        f"finished files are kept"
    ) from last


def backoff_seconds(attempt: int, retry_after_seconds: float | None) -> float:
    """Return the seconds to wait after attempt ``attempt``: the server's request, else exponential with jitter."""
    if retry_after_seconds is not None:
        return retry_after_seconds
    backoff = min(FIRST_WAIT_SECONDS * 2**attempt, MAX_WAIT_SECONDS)
    return backoff * random.uniform(0.5, 1.0)  # noqa: S311  jitter, not a secret
