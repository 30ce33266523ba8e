"""One text file behind a URL, kept in a cache folder by its content."""

from __future__ import annotations

import email.utils
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from codeft_assets.base.files import write_atomically
from codeft_assets.curation.ingest.drafts import Row
from codeft_assets.origins.errors import GatedUpstreamError, MissingUpstreamError, TruncatedUpstreamError
from codeft_assets.origins.origin import TransientError, Upstream, UpstreamFile, with_retries

if TYPE_CHECKING:
    import httpx

TIMEOUT_SECONDS = 60.0


def cache_folder() -> Path:
    """Return the folder of fetched files: ``CODEFT_CACHE``, else ``~/.cache/codeft``."""
    return Path(os.environ.get("CODEFT_CACHE") or Path.home() / ".cache" / "codeft")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpFileOrigin:
    """The file is one row: ``{"text": …}``."""

    url: str

    def resolve(self) -> Upstream:
        """Fetch the file and return its content hash as the revision.

        Raises:
            UpstreamError: it is missing, truncated or cannot be reached.
        """
        content = fetch(self.url).content
        digest = hashlib.sha256(content).hexdigest()
        path = _cached(digest)
        if not path.exists():
            write_atomically(path, content)
        file = UpstreamFile(path=self.url, fingerprint=digest, size_bytes=len(content))
        return Upstream(revision=digest[:40], files=(file,))

    def read(self, upstream: Upstream, file: UpstreamFile) -> Iterator[tuple[str, Row]]:
        """Yield the file's text as one row.

        Raises:
            MissingUpstreamError: the cached content is gone.
        """
        del upstream
        path = _cached(file.fingerprint)
        try:
            content = path.read_bytes()
        except FileNotFoundError as error:
            raise MissingUpstreamError(f"{self.url} is no longer cached at {path}; run the asset again") from error
        yield f"{self.url.rsplit('/', 1)[-1]}#0", {"text": content.decode("utf-8", errors="replace")}


def _cached(digest: str) -> Path:
    return cache_folder() / "http" / digest


def fetch(
    url: str, *, headers: dict[str, str] | None = None, sleep: Callable[[float], None] = time.sleep
) -> httpx.Response:
    """Return the response to GET ``url``; transient errors are retried, honoring ``Retry-After``.

    Raises:
        UpstreamError: the response is a permanent error, or every attempt failed.
    """

    def call() -> httpx.Response:
        return _get(url, headers or {})

    return with_retries(call, action=f"fetching {url}", sleep=sleep)


def _get(url: str, headers: dict[str, str]) -> httpx.Response:
    import httpx

    try:
        response = httpx.get(url, headers=headers, timeout=TIMEOUT_SECONDS, follow_redirects=True)
    except httpx.RemoteProtocolError as error:
        raise TransientError(f"the connection was cut: {error}") from error
    except httpx.TransportError as error:
        raise TransientError(f"{type(error).__name__}: {error}") from error
    status = response.status_code
    if status == 429 or status >= 500:
        raise TransientError(f"status {status}", retry_after_seconds(response.headers.get("Retry-After")))
    if status in {401, 403}:
        raise GatedUpstreamError(f"{url} answered {status}: access is refused; check the key or the page's terms")
    if status >= 400:
        raise MissingUpstreamError(f"{url} answered {status}; fix the URL in sources.py")
    stated = response.headers.get("Content-Length")
    if stated and "Content-Encoding" not in response.headers and int(stated) != len(response.content):
        raise TruncatedUpstreamError(f"{url} stated {stated} bytes and sent {len(response.content)}; run it again")
    return response


def retry_after_seconds(value: str | None, *, now: Callable[[], datetime] | None = None) -> float | None:
    """Return the seconds to wait by a ``Retry-After`` header, which holds seconds or an HTTP date; None without one."""
    if not value:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    current = now() if now else datetime.now(UTC)
    return max((moment - current).total_seconds(), 0.0)
