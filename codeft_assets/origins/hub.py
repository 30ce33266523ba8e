"""Hugging Face datasets: a commit is resolved first, then every file is streamed at that commit.

The endpoint is the client's own (``HF_ENDPOINT``), the token too (``HF_TOKEN``). Code of a dataset is never run.
"""

from __future__ import annotations

import contextlib
import fnmatch
import gzip
import io
import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from codeft_assets.origins.errors import (
    EmptyUpstreamError,
    GatedUpstreamError,
    MissingUpstreamError,
    TruncatedUpstreamError,
    UnreachableUpstreamError,
    UpstreamError,
)
from codeft_assets.origins.json_rows import CountedFile, parse_json
from codeft_assets.origins.origin import Row, TransientError, Upstream, UpstreamFile, with_retries

if TYPE_CHECKING:
    from huggingface_hub.hf_api import DatasetInfo, RepoFile

_log = logging.getLogger(__name__)

_LOADER_OF_SUFFIX = {".parquet": "parquet", ".csv": "csv", ".txt": "text"}
_DATA_FILE = re.compile(r"(\.parquet|\.jsonl|\.json|\.csv|\.txt)(\.gz|\.zst)?$")
_JSON_FILE = re.compile(r"\.jsonl?(\.gz)?$")
_NOT_DATA = frozenset({"dataset_infos.json", "dataset_info.json", "state.json", "requirements.txt", "license.txt"})
_OTHER_SPLITS = ("test", "validation", "valid", "val", "eval", "dev")
_BATCH_ROWS = 1000
_BLOCK_BYTES = 8 * 2**20
_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HubOrigin:
    """A dataset repository, its splits, and how much of it to read."""

    repo_id: str
    former_ids: tuple[str, ...] = ()
    """Names it had; asked for when ``repo_id`` is not found."""
    config: str | None = None
    splits: tuple[str, ...] = ("train",)
    patterns: tuple[str, ...] = ()
    """Glob patterns of the data files; empty: what the card or the file names say of ``splits``."""
    max_files: int | None = None
    revision: str | None = None
    """A commit or tag to hold the source back at; None follows the default branch."""

    def resolve(self) -> Upstream:
        """Return the commit and its data files.

        Raises:
            UpstreamError: the repository is missing, gated, empty or cannot be reached.
        """
        info, note = self._info()
        revision = str(info.sha)
        files = self._data_files(self._tree(info.id, revision), info)
        if not files:
            raise EmptyUpstreamError(
                f"dataset {info.id!r} has no data files for splits {list(self.splits)} at {revision[:12]}; "
                f"look at {_page(info.id)} and fix splits or patterns in sources.py"
            )
        return Upstream(revision=revision, files=tuple(files[: self.max_files]), note=note)

    def read(self, upstream: Upstream, file: UpstreamFile) -> Iterator[tuple[str, Row]]:
        """Stream the rows of ``file`` in Arrow batches; the row's key is its path and number.

        Raises:
            UpstreamError: the file is gated, gone, truncated or cannot be reached.
        """
        url = f"hf://datasets/{self._current_id()}@{upstream.revision}/{file.path}"
        with _translated_errors(self.repo_id, file.path):
            rows = _json_rows(url, file) if _JSON_FILE.search(file.path) else _streamed_rows(url, file)
            for number, row in enumerate(rows):
                yield f"{file.path}#{number}", row

    def _current_id(self) -> str:
        return self._info()[0].id if self.former_ids else self.repo_id

    def _info(self) -> tuple[DatasetInfo, str]:
        missing: MissingUpstreamError | None = None
        for repo_id in (self.repo_id, *self.former_ids):
            try:
                info = self._ask(repo_id)
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

    def _ask(self, repo_id: str) -> DatasetInfo:
        from huggingface_hub import HfApi

        def call() -> DatasetInfo:
            with _translated_errors(repo_id, "", transient=True):
                return HfApi().dataset_info(repo_id, revision=self.revision, timeout=_TIMEOUT_SECONDS)

        return with_retries(call, what=f"asking for dataset {repo_id!r}")

    def _tree(self, repo_id: str, revision: str) -> list[RepoFile]:
        from huggingface_hub import HfApi
        from huggingface_hub.hf_api import RepoFile

        def call() -> list[RepoFile]:
            with _translated_errors(repo_id, "", transient=True):
                entries = HfApi().list_repo_tree(repo_id, recursive=True, revision=revision, repo_type="dataset")
                return [entry for entry in entries if isinstance(entry, RepoFile)]

        return with_retries(call, what=f"listing the files of dataset {repo_id!r}")

    def _data_files(self, tree: list[RepoFile], info: DatasetInfo) -> list[UpstreamFile]:
        split_of = self._split_patterns(info)
        found = []
        for entry in sorted(tree, key=lambda entry: entry.path):
            split = _split_of(entry.path, self.splits, self.patterns, split_of)
            if split is not None:
                fingerprint = entry.lfs.sha256 if entry.lfs else entry.blob_id
                found.append(UpstreamFile(path=entry.path, fingerprint=fingerprint, size_bytes=entry.size, split=split))
        return found

    def _split_patterns(self, info: DatasetInfo) -> list[tuple[str, str]]:
        """Return ``(split, pattern)`` as the dataset's card declares them for our config."""
        configs = (info.card_data or {}).get("configs") or []
        wanted = self.config or "default"
        chosen = [config for config in configs if config.get("config_name") == wanted] or configs[:1]
        return [pair for config in chosen for pair in _declared(config.get("data_files"))]


def _declared(data_files: Any) -> list[tuple[str, str]]:
    if isinstance(data_files, str):
        return [("train", data_files)]
    pairs = []
    for entry in data_files or []:
        if isinstance(entry, str):
            pairs.append(("train", entry))
            continue
        paths = entry["path"] if isinstance(entry["path"], list) else [entry["path"]]
        pairs += [(entry.get("split", "train"), path) for path in paths]
    return pairs


def _split_of(
    path: str, splits: tuple[str, ...], patterns: tuple[str, ...], declared: list[tuple[str, str]]
) -> str | None:
    name = path.rsplit("/", 1)[-1]
    if not _DATA_FILE.search(name) or name.lower() in _NOT_DATA or path.startswith("."):
        return None
    if patterns:
        return splits[0] if any(fnmatch.fnmatch(path, pattern) for pattern in patterns) else None
    if declared:
        return next((s for s, p in declared if s in splits and fnmatch.fnmatch(path, p)), None)
    named = next((split for split in splits if split != "train" and _names_split(path, split)), None)
    if named is not None or "train" not in splits:
        return named
    return None if any(_names_split(path, other) for other in _OTHER_SPLITS) else "train"


def _names_split(path: str, split: str) -> bool:
    return re.search(rf"(?:^|[/._-]){re.escape(split)}(?:[/._-]|$)", path) is not None


def _streamed_rows(url: str, file: UpstreamFile) -> Iterator[Row]:
    from datasets import load_dataset

    suffix = _DATA_FILE.search(file.path)
    assert suffix is not None, file.path
    loader = _LOADER_OF_SUFFIX[suffix[1]]
    options: dict[str, Any] = {"sample_by": "document"} if loader == "text" else {}
    stream = load_dataset(loader, data_files={"train": [url]}, split="train", streaming=True, **options)
    for batch in stream.with_format("arrow").iter(batch_size=_BATCH_ROWS):
        yield from batch.to_pylist()  # type: ignore[union-attr]  an Arrow table in this format


def _json_rows(url: str, file: UpstreamFile) -> Iterator[Row]:
    """Yield the rows of JSON lines, of a JSON array, or of a file that is one object.

    The loader of ``datasets`` turns a column of mixed types into JSON text, refuses a file for one bad line and takes a
    cut-off file for a short one (measured with 5.2), so JSON is read here: bad lines become rejects.
    """
    from huggingface_hub import HfFileSystem

    with HfFileSystem().open(url, "rb", block_size=_BLOCK_BYTES) as raw:
        counted: Any = CountedFile(raw)
        stream = gzip.GzipFile(fileobj=counted) if file.path.endswith(".gz") else io.BufferedReader(counted)
        yield from parse_json(stream)
        if file.size_bytes is not None and counted.num_bytes != file.size_bytes:
            raise TruncatedUpstreamError(
                f"file {file.path!r} should have {file.size_bytes} bytes, {counted.num_bytes} came; run the asset again"
            )


def _page(repo_id: str) -> str:
    return f"https://huggingface.co/datasets/{repo_id}"


@contextlib.contextmanager
def _translated_errors(repo_id: str, path: str, *, transient: bool = False) -> Iterator[None]:
    """Turn the client's errors into ours; with ``transient``, what may pass becomes a ``TransientError``."""
    from datasets.exceptions import DatasetGenerationError
    from huggingface_hub.errors import HfHubHTTPError

    what = f"dataset {repo_id!r}" + (f" file {path!r}" if path else "")
    try:
        yield
    except (UpstreamError, TransientError):
        raise
    except HfHubHTTPError as error:
        raise _http_error(error, repo_id, what, transient=transient) from error
    except (ConnectionError, TimeoutError) as error:
        cause = _root(error)
        if isinstance(cause, HfHubHTTPError):
            raise _http_error(cause, repo_id, what, transient=transient) from error
        raise _unreachable(what, error, transient=transient) from error
    except (OSError, EOFError, json.JSONDecodeError, DatasetGenerationError, ValueError) as error:
        raise _content_error(error, repo_id, what, transient=transient) from error
    except Exception as error:
        # httpx and httpx2 errors share no importable base class across the client's versions; go by module name
        if type(error).__module__.split(".")[0] in {"httpx", "httpx2", "httpcore", "httpcore2"}:
            raise _unreachable(what, error, transient=transient) from error
        raise


def _root(error: BaseException) -> BaseException:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error


def _http_error(error: Any, repo_id: str, what: str, *, transient: bool) -> Exception:
    from huggingface_hub.errors import GatedRepoError

    status = getattr(error.response, "status_code", None)
    if isinstance(error, GatedRepoError) or status == 403:
        return GatedUpstreamError(
            f"{what} is gated: accept the terms at {_page(repo_id)}, then set HF_TOKEN to a token of that account"
        )
    if status in {401, 404}:
        return MissingUpstreamError(
            f"{what} was not found, or HF_TOKEN may not see it; look at {_page(repo_id)} and fix repo_id in sources.py"
        )
    if transient and (status == 429 or (status or 0) >= 500):
        after = error.response.headers.get("Retry-After", "")
        return TransientError(f"status {status}", float(after) if after.isdigit() else None)
    return _unreachable(what, error, transient=False)


def _unreachable(what: str, error: BaseException, *, transient: bool) -> Exception:
    cause = f"{type(error).__name__}: {error}"[:300]
    if transient:
        return TransientError(cause)
    return UnreachableUpstreamError(f"{what} cannot be reached ({cause}); check the network and run the asset again")


def _content_error(error: Exception, repo_id: str, what: str, *, transient: bool) -> Exception:
    from huggingface_hub.errors import HfHubHTTPError

    cause = _root(error)
    if isinstance(cause, HfHubHTTPError):
        return _http_error(cause, repo_id, what, transient=transient)
    if isinstance(error, FileNotFoundError):
        return MissingUpstreamError(f"{what} is gone; observe the source again and run the asset again")
    return TruncatedUpstreamError(
        f"{what} does not parse ({type(cause).__name__}: {str(cause)[:200]}): it was cut off or is damaged; run the "
        f"asset again, and if it stays so hold the source back with revision= in sources.py"
    )
