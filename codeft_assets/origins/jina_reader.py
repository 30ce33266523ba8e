"""SDK documentation as Markdown: Jina Reader fetches a page and strips its chrome.

A page is cached by URL and day. Without a key the service allows 20 requests a minute, with ``JINA_API_KEY`` 500
(https://jina.ai/reader/). The key is sent as a header and never logged.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import xxhash

from codeft_assets.base.files import write_atomically
from codeft_assets.curation.ingest.drafts import Row
from codeft_assets.origins.errors import MissingUpstreamError
from codeft_assets.origins.http_file import cache_folder, fetch
from codeft_assets.origins.origin import Upstream, UpstreamFile

REQUESTS_PER_MINUTE = 20
REQUESTS_PER_MINUTE_WITH_KEY = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class JinaReaderOrigin:
    """Each page is a row: ``{"url": …, "body": …}``."""

    urls: tuple[str, ...]
    endpoint: str = "https://r.jina.ai"

    def resolve(self) -> Upstream:
        """Fetch every page that today's cache lacks; the revision is a hash of all bodies.

        Raises:
            UpstreamError: a page cannot be fetched.
        """
        pages = fetch_pages(self.urls, self.endpoint)
        files = tuple(
            UpstreamFile(path=url, fingerprint=path.stem.split("-")[-1], size_bytes=path.stat().st_size)
            for url, path in pages.items()
        )
        revision = xxhash.xxh3_128_hexdigest("\n".join(f"{file.path} {file.fingerprint}" for file in files))
        return Upstream(revision=f"pages-{revision[:12]}", files=files)

    def read(self, upstream: Upstream, file: UpstreamFile) -> Iterator[tuple[str, Row]]:
        """Yield one page.

        Raises:
            MissingUpstreamError: its body is no longer cached.
        """
        del upstream
        found = sorted(_page_folder(file.path).glob(f"*-{file.fingerprint}.md"))
        if not found:
            raise MissingUpstreamError(f"page {file.path} is no longer cached; run the asset again")
        yield file.path, {"url": file.path, "body": found[-1].read_text(encoding="utf-8")}


def fetch_pages(
    urls: tuple[str, ...],
    endpoint: str,
    *,
    today: Callable[[], str] = lambda: datetime.now(UTC).strftime("%Y%m%d"),
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Path]:
    """Return the cached body of each URL, fetching what today's cache lacks, within the service's rate."""
    key = os.environ.get("JINA_API_KEY", "")
    pause = 60.0 / (REQUESTS_PER_MINUTE_WITH_KEY if key else REQUESTS_PER_MINUTE)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    pages, fetched = {}, False
    for url in urls:
        cached = sorted(_page_folder(url).glob(f"{today()}-*.md"))
        if not cached:
            if fetched:
                sleep(pause)
            fetched = True
            cached = [_cache_page(url, today(), fetch(f"{endpoint}/{url}", headers=headers, sleep=sleep).text)]
        pages[url] = cached[-1]
    return pages


def _page_folder(url: str) -> Path:
    return cache_folder() / "reader" / xxhash.xxh3_128_hexdigest(url)


def _cache_page(url: str, day: str, body: str) -> Path:
    path = _page_folder(url) / f"{day}-{xxhash.xxh3_128_hexdigest(body)}.md"
    write_atomically(path, body)
    return path
