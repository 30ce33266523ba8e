"""Files that you name: tables of rows by path, glob or fsspec URL, or a folder of text and code.

A table is a unit of work of its own; text files are read in one unit per folder right under the named one.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import fsspec
import xxhash
from fsspec.implementations.local import LocalFileSystem

from codeft_assets.base.files import file_hash
from codeft_assets.curation.documents import storable
from codeft_assets.curation.ingest.drafts import Reject, Row
from codeft_assets.curation.ingest.programming_languages import LANGUAGE_BY_SUFFIX
from codeft_assets.origins.errors import (
    EmptyUpstreamError,
    MissingUpstreamError,
    OversizedUpstreamError,
    TruncatedUpstreamError,
    UnreachableUpstreamError,
)
from codeft_assets.origins.folders import LeftOut
from codeft_assets.origins.json_rows import bad_row
from codeft_assets.origins.origin import Upstream, UpstreamFile
from codeft_assets.origins.table_rows import (
    COMPRESSIONS,
    TABLE_SUFFIXES,
    BombError,
    DamagedTableError,
    is_table,
    table_rows,
)

TEXT_SUFFIXES = (".txt", ".md", ".rst", ".ipynb", *LANGUAGE_BY_SUFFIX)
_ABOUT_NAMES = frozenset({"readme", "license", "licence", "notice", "changelog", "datasheet"})
_CLIENTS = frozenset(
    {"aiohttp", "botocore", "gcsfs", "httpcore", "httpcore2", "httpx", "httpx2", "requests", "urllib3"}
)
"""Modules whose errors are failures of the network or of a server."""
_CONTENT_KEYS = ("ETag", "etag", "md5Hash", "content_md5", "sha256", "sha")
"""Keys under which a remote file system lists a hash of a file's content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOrigin:
    """Rows of JSON lines, JSON, Parquet, CSV or TSV, also ``.gz``, ``.zst``, ``.bz2`` or ``.xz``; or whole text files.

    A folder that holds tables and no text gives their rows; any other gives each text or code file as one row with
    ``path`` and ``text``.
    """

    path: str
    """A file, a folder, a glob, or an fsspec URL of one, such as ``s3://bucket/rows/*.jsonl.zst``."""
    named_in: str = "the source"
    """Where a person can change ``path``, for messages."""

    def resolve(self) -> Upstream:
        """Return the files; the revision is a hash of their names and contents.

        Raises:
            MissingUpstreamError: there is no such file, or no file system of that protocol.
            EmptyUpstreamError: it holds nothing that can be read.
            UnreachableUpstreamError: the network or the server of a URL failed.
        """
        with self._reached():
            return self._resolve(*self._locate())

    def _resolve(self, system: Any, root: str) -> Upstream:
        left_out = LeftOut()
        tables, texts = _chosen(_listed(system, root, left_out))
        texts = [path for path in texts if left_out.keeps_size(path, system.size(path))]
        files = _text_files(system, root, texts) if texts else tuple(_table_file(system, path) for path in tables)
        if not files:
            raise EmptyUpstreamError(
                f"{self.path!r} holds no file that is read{f' ({left_out.note()})' if left_out.note() else ''}: tables "
                f"end in {list(TABLE_SUFFIXES)}, also compressed ({list(COMPRESSIONS)}), texts in "
                f"{list(TEXT_SUFFIXES)}; fix path of {self.named_in}"
            )
        revision = xxhash.xxh3_128_hexdigest("\n".join(f"{file.path} {file.fingerprint}" for file in files))
        beside = f"{len(tables)} tables beside text files are left out; name them by a glob" if texts and tables else ""
        note = "; ".join(filter(None, (left_out.note(), beside)))
        return Upstream(revision=f"files-{revision[:12]}", files=files, note=note)

    def read(self, upstream: Upstream, file: UpstreamFile) -> Iterator[tuple[str, Row | Reject]]:
        """Yield the rows of a table, or the text files of a folder; a file that is not UTF-8 is a reject.

        Raises:
            MissingUpstreamError: the file is gone.
            TruncatedUpstreamError: it was cut off, or is damaged.
        """
        del upstream
        system, root = self._locate()
        if file.split == _TEXTS:
            with self._reached():
                for path in _texts_of(system, root, file.path):
                    yield storable(path), _text_row(system, root, path)
            return
        try:
            with self._reached(file.path), system.open(_stored_name(system, root, file.path), "rb") as stream:
                for number, row in enumerate(table_rows(stream, file.path, file.size_bytes)):
                    yield f"{posixpath.basename(file.path)}#{number}", row
        except DamagedTableError as error:
            raise TruncatedUpstreamError(
                f"{file.path!r} {error}: it was cut off or is damaged; replace the file"
            ) from error
        except BombError as error:
            raise OversizedUpstreamError(f"{file.path!r} {error}; unpack it yourself, or leave it out") from error

    def _locate(self) -> tuple[Any, str]:
        try:
            return fsspec.url_to_fs(self.path)
        except (ImportError, ValueError) as error:
            raise MissingUpstreamError(
                f"{self.path!r} cannot be opened: {error}; fix path of {self.named_in}"
            ) from error

    @contextmanager
    def _reached(self, listed: str = "") -> Iterator[None]:
        """Raise the errors of a file system as ours: those of its client have no class that all share."""
        path = listed or self.path
        try:
            yield
        except FileNotFoundError as error:
            if listed:
                raise MissingUpstreamError(f"{listed!r} is gone; observe the source again") from error
            hint = "" if "://" in path else "; a dataset of the Hub is written hf://datasets/OWNER/NAME"
            raise MissingUpstreamError(
                f"there is no file or folder {path!r}; fix path of {self.named_in}{hint}"
            ) from error
        except Exception as error:
            if not isinstance(error, OSError) and type(error).__module__.split(".")[0] not in _CLIENTS:
                raise
            raise UnreachableUpstreamError(
                f"{path!r} cannot be reached ({type(error).__name__}: {error}); check the network, the rights and path "
                f"of {self.named_in}, and run the asset again"
            ) from error


_TEXTS = "texts"
"""The ``split`` of an upstream file that is a folder of text files."""


def _listed(system: Any, root: str, left_out: LeftOut) -> list[str]:
    """Return the files under ``root``, which may be a glob, in order; hidden ones only where they were named."""
    if any(mark in root for mark in "*?["):
        base = next(i for i, part in enumerate(root.split("/")) if any(mark in part for mark in "*?["))
        inside = {path: "/".join(path.split("/")[base:]) for path in system.glob(root) if system.isfile(path)}
    elif system.isfile(root):
        return [root]
    elif system.isdir(root):
        inside = {path: path.removeprefix(root) for path in system.find(root)}
    else:
        raise FileNotFoundError(root)
    return sorted(path for path, relative in inside.items() if left_out.keeps_path(relative))


def _stored_name(system: Any, root: str, path: str) -> str:
    """Return the name of a file as it is stored: where it is no UTF-8, ``path`` has escapes."""
    if "\\" not in path or system.exists(path):
        return path
    return next((stored for stored in _listed(system, root, LeftOut()) if storable(stored) == path), path)


def _chosen(paths: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return tables and text files; beside tables, a README or a license is no text to train on."""
    paths = list(paths)
    tables = [path for path in paths if is_table(path)]
    texts = [path for path in paths if _is_text(path)]
    about = [path for path in texts if posixpath.splitext(posixpath.basename(path))[0].lower() in _ABOUT_NAMES]
    return tables, ([] if tables and len(about) == len(texts) else texts)


def _is_text(path: str) -> bool:
    return posixpath.splitext(path)[1].lower() in TEXT_SUFFIXES


def _table_file(system: Any, path: str) -> UpstreamFile:
    return UpstreamFile(path=storable(path), fingerprint=_fingerprint(system, path), size_bytes=system.size(path))


def _text_files(system: Any, root: str, paths: Iterable[str]) -> tuple[UpstreamFile, ...]:
    """Return one upstream file for each folder right under ``root``, and one for the files in it."""
    groups: dict[str, list[str]] = {}
    for path in paths:
        groups.setdefault(_group(root, path), []).append(path)
    return tuple(
        UpstreamFile(
            path=group,
            fingerprint=xxhash.xxh3_128_hexdigest(
                "\n".join(f"{storable(path)} {_fingerprint(system, path)}" for path in groups[group])
            ),
            size_bytes=sum(system.size(path) for path in groups[group]),
            split=_TEXTS,
        )
        for group in sorted(groups)
    )


def _group(root: str, path: str) -> str:
    """Return the folder right under ``root`` that holds ``path``, with a slash at its end; ``./`` for none."""
    folder, _, rest = storable(_relative(root, path)).partition("/")
    return f"{folder}/" if rest else "./"


def _relative(root: str, path: str) -> str:
    folder = root if path.startswith(f"{root.rstrip('/')}/") else posixpath.dirname(path)
    return path.removeprefix(folder.rstrip("/")).lstrip("/")


def _texts_of(system: Any, root: str, group: str) -> list[str]:
    left_out = LeftOut()
    listed = [path for path in _listed(system, root, left_out) if _is_text(path) and _group(root, path) == group]
    return [path for path in listed if left_out.keeps_size(path, system.size(path))]


def _text_row(system: Any, root: str, path: str) -> Row | Reject:
    try:
        return {"path": storable(_relative(root, path)), "text": system.cat_file(path).decode("utf-8")}
    except UnicodeDecodeError as error:
        return bad_row("not_utf8", str(error), b"")


def _fingerprint(system: Any, path: str) -> str:
    """Return the hash of a file's content: listed by a remote file system, else computed once per size and time."""
    info = system.info(path)
    if isinstance(system, LocalFileSystem):
        return _local_hash(path, info["size"], info["mtime"], info.get("ino"))
    listed = next((str(info[key]) for key in _CONTENT_KEYS if info.get(key)), "")
    return listed or str(system.ukey(path))


@lru_cache(maxsize=100_000)
def _local_hash(path: str, *_identity: object) -> str:
    return file_hash(Path(path))
