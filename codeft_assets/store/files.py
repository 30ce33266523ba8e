"""The store's own needs of files: any fsspec file system, one writer a folder, and hashes computed once a process."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import fsspec
import xxhash
from fsspec.implementations.local import LocalFileSystem

from codeft_assets.base.files import write_atomically

_log = logging.getLogger(__name__)
_BLOCK_BYTES = 2**22


@functools.cache
def located(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """Return the file system of a path or URL, and the path on it."""
    if "://" not in url:
        return fsspec.core.url_to_fs(url)
    # other machines write, too: listings must not be remembered. A store may be away for a minute: the waits between
    # botocore's attempts are random up to 1, 2, 4, 8, 16, 20, 20 ... s. Ten are over after 55 s in the mean, twenty 165
    os.environ.setdefault("AWS_RETRY_MODE", "standard")
    os.environ.setdefault("AWS_MAX_ATTEMPTS", "20")
    return fsspec.core.url_to_fs(url, use_listings_cache=False)


@contextlib.contextmanager
def folder_lock(folder: Path, *, resource: str) -> Iterator[None]:
    """Hold ``folder/.lock``, waiting for the process that holds it; a process that dies releases it.

    Args:
        folder: Created where there is none.
        resource: Its name in the warning that another run holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _log.warning("another run is writing %s: waiting for it to end", resource)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def shard_hash(path: str) -> str:
    """Return the xxh3-128 of a file in hex; read again only if its size, time or inode changed.

    xxh3 and not ``base.files.file_hash``'s SHA-256: every read of a table hashes its shards, against accidents and not
    against forgery, and xxh3 runs at the speed of memory.

    Raises:
        FileNotFoundError: there is no such file.
    """
    stat = os.stat(path)
    return _cached_hash(path, stat.st_size, stat.st_mtime_ns, stat.st_ino)


@functools.lru_cache(maxsize=100_000)
def _cached_hash(path: str, *_identity: int) -> str:
    digest = xxhash.xxh3_128()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def write_file(filesystem: fsspec.AbstractFileSystem, path: str, data: bytes) -> None:
    """Write ``data`` so that ``path`` holds all of it or is untouched, also after a crash.

    Raises:
        OSError: the disk is full or cannot be written; no partial file is left behind.
    """
    if isinstance(filesystem, LocalFileSystem):
        write_atomically(Path(path), data)
    else:
        filesystem.pipe_file(path, data)  # object stores show an object only once it is complete
