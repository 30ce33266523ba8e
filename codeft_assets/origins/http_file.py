"""One text file behind a URL, kept in a cache folder by its content."""

from __future__ import annotations

import email.utils
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeft_assets.base.files import write_atomically
from codeft_assets.curation.ingest.drafts import Row
from codeft_assets.origins.errors import (
    GatedUpstreamError,
    MissingUpstreamError,
    OversizedUpstreamError,
    TruncatedUpstreamError,
)
from codeft_assets.origins.origin import TransientError, Upstream, UpstreamFile, with_retries

if TYPE_CHECKING:
    import httpx

TIMEOUT_SECONDS = 60.0
MAX_RESPONSE_BYTES = 256 * 2**20
"""A response is held in memory."""
NOT_MODIFIED = 304
_CONDITIONS = {"ETag": "If-None-Match", "Last-Modified": "If-Modified-Since"}


def cache_folder() -> Path:
    """Return the folder of fetched files: ``CODEFT_CACHE``, else ``~/.cache/codeft``."""
    return Path(os.environ.get("CODEFT_CACHE") or Path.home() / ".cache" / "codeft")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpFileOrigin:
    """The file is one row: ``{"text": …}``."""

    url: str

    def resolve(self) -> Upstream:
        """Return the content hash as the revision; what the server says is unchanged is not downloaded again.

        Raises:
            UpstreamError: it is missing, truncated or cannot be reached.
        """
        known = self._known()
        response = fetch(self.url, headers=known.get("conditions"))
        if response.status_code == NOT_MODIFIED:
            digest = known["digest"]
        else:
            digest = hashlib.sha256(response.content).hexdigest()
            write_atomically(_cached(digest), response.content)
            conditions = {
                header: response.headers[name] for name, header in _CONDITIONS.items() if name in response.headers
            }
            write_atomically(self._state(), json.dumps({"digest": digest, "conditions": conditions}))
        file = UpstreamFile(path=self.url, fingerprint=digest, size_bytes=_cached(digest).stat().st_size)
        return Upstream(revision=digest[:40], files=(file,))

    def _state(self) -> Path:
        return _cached(f"{hashlib.sha256(self.url.encode()).hexdigest()}.json")

    def _known(self) -> dict[str, Any]:
        """Return the digest of the last answer and the headers that ask for another; empty if it is not cached."""
        try:
            known = json.loads(self._state().read_bytes())
            return known if _cached(known["digest"]).is_file() else {}
        except (OSError, ValueError, KeyError):
            return {}

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
        with httpx.stream("GET", url, headers=headers, timeout=TIMEOUT_SECONDS, follow_redirects=True) as streamed:
            response = _held(streamed)
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
    if stated and status != NOT_MODIFIED and int(stated) != len(response.content):
        raise TruncatedUpstreamError(f"{url} stated {stated} bytes and sent {len(response.content)}; run it again")
    return response


def _held(streamed: httpx.Response) -> httpx.Response:
    """Return the response with its content, unpacked.

    Raises:
        OversizedUpstreamError: it has more than ``MAX_RESPONSE_BYTES``, whatever it states.
    """
    import httpx

    content = bytearray()
    for chunk in streamed.iter_bytes():
        content += chunk
        if len(content) > MAX_RESPONSE_BYTES:
            raise OversizedUpstreamError(
                f"{streamed.url} has more than {MAX_RESPONSE_BYTES:,} bytes; download it and name it as your own file"
            )
    headers = [(name, value) for name, value in streamed.headers.items() if name != "content-encoding"]
    packed = "Content-Encoding" in streamed.headers
    return httpx.Response(
        streamed.status_code,
        headers=[pair for pair in headers if not (packed and pair[0] == "content-length")],
        content=bytes(content),
    )


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
