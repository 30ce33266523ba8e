"""What an origin is: it says what upstream looks like now, and streams the rows of one file at that revision.

Invariant: everything is read at the revision that ``resolve`` returned, and ``Upstream.fingerprint`` changes exactly
when a data file does: an edited README is no change.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

import xxhash

from codeft_assets.origins.errors import UnreachableUpstreamError

Row = Mapping[str, object]
Result = TypeVar("Result")

_log = logging.getLogger(__name__)

MALFORMED = "malformed"
"""The only key of a row that upstream stores as something unreadable; its value is what stood there."""

MAX_ATTEMPTS = 5
FIRST_WAIT_SECONDS = 1.0
MAX_WAIT_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamFile:
    """The unit of incremental work: an unchanged file is never read again."""

    path: str
    """Path in the repository, file name, or URL."""
    fingerprint: str
    """Of its content, as upstream states it or as we hashed it."""
    size_bytes: int | None = None
    split: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """A source at one revision."""

    revision: str
    """Commit sha, or a content hash where upstream has no commits."""
    files: tuple[UpstreamFile, ...]
    note: str = ""
    """What a person should know, for example that the dataset has moved."""

    @property
    def fingerprint(self) -> str:
        """32 hex digits over the data files: what change detection compares."""
        return xxhash.xxh3_128_hexdigest("\n".join(f"{file.path}\t{file.fingerprint}" for file in self.files))


@runtime_checkable
class Origin(Protocol):
    """Where rows come from. Implementations are frozen dataclasses: they travel to worker processes."""

    def resolve(self) -> Upstream:
        """Return what upstream looks like now."""
        ...

    def read(self, upstream: Upstream, file: UpstreamFile) -> Iterator[tuple[str, Row]]:
        """Yield ``(source_row, row)`` of one file at ``upstream.revision``."""
        ...


class TransientError(Exception):
    """Raised inside ``with_retries`` for what may pass; carries the wait the server asked for."""

    def __init__(self, cause: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(cause)
        self.retry_after_seconds = retry_after_seconds


def with_retries(
    call: Callable[[], Result],
    *,
    what: str,
    sleep: Callable[[float], None] = time.sleep,
    max_attempts: int = MAX_ATTEMPTS,
) -> Result:
    """Return ``call()``, tried again after a growing, jittered wait, or after the wait the server asks for.

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
            _log.warning("%s: %s; attempt %d of %d, again in %.1f s", what, last, attempt + 1, max_attempts, wait)
            sleep(wait)
    raise UnreachableUpstreamError(
        f"{what} failed {max_attempts} times, last with: {last}; check the network and run the asset again, "
        f"finished files are kept"
    ) from last


def backoff_seconds(attempt: int, retry_after_seconds: float | None) -> float:
    """Return how long to wait after attempt number ``attempt`` failed: as the server asks, else longer each time."""
    if retry_after_seconds is not None:
        return retry_after_seconds
    backoff = min(FIRST_WAIT_SECONDS * 2**attempt, MAX_WAIT_SECONDS)
    return backoff * random.uniform(0.5, 1.0)  # noqa: S311  jitter, not a secret
