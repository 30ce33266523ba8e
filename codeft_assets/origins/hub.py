"""Hugging Face datasets: a commit is resolved first, then every file is streamed at that commit.

The endpoint is the client's own (``HF_ENDPOINT``), the token too (``HF_TOKEN``). Code of a dataset is never run.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from codeft_assets.base.hub_errors import causes
from codeft_assets.curation.ingest.drafts import Reject, Row
from codeft_assets.origins.data_files import is_data_file, of_one_format, resolve_splits
from codeft_assets.origins.errors import (
    EmptyUpstreamError,
    GatedUpstreamError,
    MissingUpstreamError,
    OversizedUpstreamError,
    TruncatedUpstreamError,
    UnreachableUpstreamError,
    UpstreamError,
)
from codeft_assets.origins.http_file import retry_after_seconds
from codeft_assets.origins.origin import TransientError, Upstream, UpstreamFile, with_retries
from codeft_assets.origins.table_rows import TABLE_SUFFIXES, BombError, DamagedTableError, table_rows

if TYPE_CHECKING:
    from huggingface_hub.hf_api import DatasetInfo, RepoFile

_log = logging.getLogger(__name__)

_BLOCK_BYTES = 8 * 2**20
_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HubOrigin:
    """A dataset repository, its splits, and how much of it to read."""

    repo_id: str
    former_ids: tuple[str, ...] = ()
    """Names it had; tried when ``repo_id`` is not found."""
    config: str | None = None
    """A config that the card declares; None for its default."""
    splits: tuple[str, ...] = ("train",)
    patterns: tuple[str, ...] = ()
    """Glob patterns of the data files of the first split; empty: ``splits`` by the card, else by the file names."""
    max_files: int | None = None
    revision: str | None = None
    """A commit or tag to hold the source back at; None follows the default branch."""

    def resolve(self) -> Upstream:
        """Return the commit and its data files.

        Raises:
            UpstreamError: the repository is missing, gated, empty or cannot be reached.
        """
        info, note = self._current_info()
        revision = str(info.sha)
        tree = self._tree(info.id, revision)
        found = self._data_files(tree, info)
        if not found:
            raise EmptyUpstreamError(
                f"dataset {info.id!r} has no data files for splits {list(self.splits)} at {revision[:12]}; of "
                f"{len(tree)} files the first are {[entry.path for entry in tree[:5]]}; tables end in "
                f"{list(TABLE_SUFFIXES)} or .txt; look at {_page(info.id)} and fix splits or patterns in sources.py"
            )
        chosen = of_one_format(file.path for file in found)
        files = [file for file in found if file.path in set(chosen)][: self.max_files]
        if left_out := sorted({file.path for file in found} - set(chosen)):
            note = f"{note}; " * bool(note) + f"{len(left_out)} files of another format are left out: {left_out[:5]}"
        return Upstream(revision=revision, files=tuple(files), note=note)

    def read(self, upstream: Upstream, file: UpstreamFile) -> Iterator[tuple[str, Row | Reject]]:
        """Stream the rows of ``file``; the row's key is its path and number.

        Raises:
            UpstreamError: the file is gated, gone, truncated or cannot be reached.
        """
        from huggingface_hub import HfFileSystem

        url = f"hf://datasets/{self._current_id()}@{upstream.revision}/{file.path}"
        with (
            _translated_errors(self.repo_id, file.path),
            HfFileSystem().open(url, "rb", block_size=_BLOCK_BYTES) as stream,
        ):
            for number, row in enumerate(table_rows(stream, file.path, file.size_bytes)):
                yield f"{file.path}#{number}", row

    def _current_id(self) -> str:
        return self._current_info()[0].id if self.former_ids else self.repo_id

    def _current_info(self) -> tuple[DatasetInfo, str]:
        missing: MissingUpstreamError | None = None
        for repo_id in (self.repo_id, *self.former_ids):
            try:
                info = self._request_info(repo_id)
            except MissingUpstreamError as error:
                missing = missing or error
                continue
            moved = info.id != self.repo_id
            note = f"dataset {self.repo_id!r} answered as {info.id!r}; update repo_id in sources.py" if moved else ""
            if moved:
                _log.warning(note)
            return info, note
        assert missing is not None
        raise missing

    def _request_info(self, repo_id: str) -> DatasetInfo:
        from huggingface_hub import HfApi

        def call() -> DatasetInfo:
            with _translated_errors(repo_id, "", transient=True):
                return HfApi().dataset_info(repo_id, revision=self.revision, timeout=_TIMEOUT_SECONDS)

        return with_retries(call, action=f"requesting dataset {repo_id!r}")

    def _tree(self, repo_id: str, revision: str) -> list[RepoFile]:
        from huggingface_hub import HfApi
        from huggingface_hub.hf_api import RepoFile

        def call() -> list[RepoFile]:
            with _translated_errors(repo_id, "", transient=True):
                entries = HfApi().list_repo_tree(repo_id, recursive=True, revision=revision, repo_type="dataset")
                return [entry for entry in entries if isinstance(entry, RepoFile)]

        return with_retries(call, action=f"listing the files of dataset {repo_id!r}")

    def _data_files(self, tree: list[RepoFile], info: DatasetInfo) -> list[UpstreamFile]:
        entries = {entry.path: entry for entry in tree if is_data_file(entry.path)}
        try:
            splits = resolve_splits(
                entries, info.card_data, config=self.config, splits=self.splits, patterns=self.patterns
            )
        except ValueError as error:
            raise MissingUpstreamError(
                f"dataset {info.id!r}: {' '.join(str(error).split())}; look at {_page(info.id)} and set config, splits "
                f"or patterns in sources.py"
            ) from error
        return [_upstream_file(entries[path], split) for path, split in sorted(splits.items())]


def _upstream_file(entry: RepoFile, split: str) -> UpstreamFile:
    fingerprint = entry.lfs.sha256 if entry.lfs else entry.blob_id
    return UpstreamFile(path=entry.path, fingerprint=fingerprint, size_bytes=entry.size, split=split)


def _page(repo_id: str) -> str:
    return f"https://huggingface.co/datasets/{repo_id}"


@contextlib.contextmanager
def _translated_errors(repo_id: str, path: str, *, transient: bool = False) -> Iterator[None]:
    """Turn the client's errors into ours; with ``transient``, those that may pass into a ``TransientError``."""
    from huggingface_hub.errors import HfHubHTTPError

    subject = f"dataset {repo_id!r}" + (f" file {path!r}" if path else "")
    try:
        yield
    except (UpstreamError, TransientError):
        raise
    except HfHubHTTPError as error:
        raise _http_error(error, repo_id, subject, transient=transient) from error
    except (OSError, ValueError) as error:
        raise _content_error(error, repo_id, subject, transient=transient) from error
    except Exception as error:
        # httpx and httpx2 errors share no importable base class across the client's versions; go by module name
        if type(error).__module__.split(".")[0] in {"httpx", "httpx2", "httpcore", "httpcore2"}:
            raise _unreachable(subject, error, transient=transient) from error
        raise


def _http_error(error: Any, repo_id: str, subject: str, *, transient: bool) -> Exception:
    from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, RevisionNotFoundError

    status = getattr(error.response, "status_code", None)
    if isinstance(error, GatedRepoError) or status == 403:
        return GatedUpstreamError(
            f"{subject} is gated: accept the terms at {_page(repo_id)}, then set HF_TOKEN to a token of that account"
        )
    if isinstance(error, RevisionNotFoundError):
        return MissingUpstreamError(
            f"{subject}: the revision is gone, the dataset is there; observe the source again, or fix revision= in "
            f"sources.py where it is held back"
        )
    if isinstance(error, EntryNotFoundError):
        return MissingUpstreamError(f"{subject} is gone at this revision; observe the source again")
    if status in {401, 404}:
        return MissingUpstreamError(
            f"{subject} was not found, or HF_TOKEN may not see it; look at {_page(repo_id)} and fix repo_id in "
            f"sources.py"
        )
    if transient and (status == 429 or (status or 0) >= 500):
        return TransientError(f"status {status}", retry_after_seconds(error.response.headers.get("Retry-After")))
    return _unreachable(subject, error, transient=False)


def _unreachable(subject: str, error: BaseException, *, transient: bool) -> Exception:
    cause = f"{type(error).__name__}: {error}"[:300]
    if transient:
        return TransientError(cause)
    return UnreachableUpstreamError(f"{subject} cannot be reached ({cause}); check the network and run the asset again")


def _content_error(error: Exception, repo_id: str, subject: str, *, transient: bool) -> Exception:
    from huggingface_hub.errors import HfHubHTTPError

    *_, cause = causes(error)
    if isinstance(cause, HfHubHTTPError):
        return _http_error(cause, repo_id, subject, transient=transient)
    if isinstance(error, BombError):
        return OversizedUpstreamError(f"{subject} {error}; leave it out with patterns= in sources.py")
    if isinstance(error, ConnectionError | TimeoutError):
        return _unreachable(subject, error, transient=transient)
    if isinstance(error, FileNotFoundError):
        return MissingUpstreamError(f"{subject} is gone; observe the source again and run the asset again")
    what = str(error) if isinstance(error, DamagedTableError) else f"cannot be read ({type(cause).__name__}: {cause})"
    return TruncatedUpstreamError(
        f"{subject} {what[:300]}: it was cut off or is damaged; run the asset again, and if it stays so hold the "
        f"source back with revision= in sources.py"
    )
