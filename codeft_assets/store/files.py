"""Files that appear whole or not at all, one writer at a time, and hashes that are computed once a process."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import fsspec
import xxhash
from fsspec.implementations.local import LocalFileSystem

_log = logging.getLogger(__name__)
TEMPORARY_PREFIX = ".tmp-"
_BLOCK_BYTES = 2**22
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextlib.contextmanager
def exclusive(folder: Path, *, what: str) -> Iterator[None]:
    """Hold ``folder/.lock``, waiting for whoever holds it; a process that dies lets go of it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _log.warning("another run is writing %s: waiting for it to end", what)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def file_hash(path: str) -> str:
    """Return the xxh3-128 of a file in hex; read again only if its size, time or inode changed.

    Raises:
        FileNotFoundError: there is no such file.
    """
    stat = os.stat(path)
    return _hash(path, stat.st_size, stat.st_mtime_ns, stat.st_ino)


@functools.lru_cache(maxsize=100_000)
def _hash(path: str, *_identity: int) -> str:
    digest = xxhash.xxh3_128()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def write_atomically(filesystem: fsspec.AbstractFileSystem, path: str, data: bytes) -> None:
    """Write ``data`` so that ``path`` holds all of it or is untouched, also after a crash.

    Raises:
        OSError: the disk is full or the place cannot be written; nothing is left behind.
    """
    if not isinstance(filesystem, LocalFileSystem):
        filesystem.pipe_file(path, data)  # object stores show an object only once it is complete
        return
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{target.name}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        remedy = "free space on that disk" if error.errno in _FULL else "look at that disk"
        raise OSError(
            error.errno,
            f"cannot write {target}: {error.strerror}; {remedy} and run again: what is finished is kept",
        ) from error
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_being_written(name: str) -> bool:
    """True for the temporary file of a process that lives."""
    if not name.startswith(TEMPORARY_PREFIX):
        return False
    process_id = name.removeprefix(TEMPORARY_PREFIX).split("-", 1)[0]
    return Path(f"/proc/{process_id}").exists()
