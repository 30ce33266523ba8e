"""Local files and folders that appear complete or not at all, and their hashes.

Invariant: a reader never sees half a file, also after a crash or a power cut. Content is written under a temporary name
in the same folder, synced to the disk, and renamed.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

TEMPORARY_PREFIX = ".tmp-"
_TEMPORARY_NAME = re.compile(rf"{re.escape(TEMPORARY_PREFIX)}(?P<process>\d+)(?P<old>\.old)?-(?P<name>.+)", re.DOTALL)
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a file that is complete or untouched.

    Raises:
        OSError: it cannot be written; the earlier content is untouched.
    """
    with replacing_file(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path for a writer that wants a path; its file replaces ``path`` when the block ends.

    Raises:
        OSError: it cannot be written; the earlier content is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(path)
    with explain_write_errors(path, temporary):
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)


@contextmanager
def replacing_folder(path: Path, *, also: tuple[type[Exception], ...] = ()) -> Iterator[Path]:
    """Yield an empty temporary folder, which replaces the folder ``path`` when the block ends.

    Args:
        path: The folder.
        also: As for ``explain_write_errors``.

    Raises:
        OSError: it cannot be written; the earlier content is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(path)
    with explain_write_errors(path, temporary, also=also):
        _clear_leftovers(path)
        temporary.mkdir()
        yield temporary
        replace_folder(temporary, path)


def replace_folder(temporary: Path, path: Path) -> None:
    """Put the synced folder ``temporary`` in the place of ``path``.

    A folder cannot be renamed over another, so the old one steps aside first and is removed last. It returns if the new
    one cannot take its place; after a crash between the two renames, when ``path`` is written next.
    """
    for file in temporary.rglob("*"):
        sync(file)
    sync(temporary)
    old = path.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}.old-{path.name}")
    existed = os.path.lexists(path)
    if existed:
        path.rename(old)
    try:
        temporary.rename(path)
    except BaseException:
        if existed:
            old.rename(path)
        raise
    sync(path.parent)
    _remove(old)


def temporary_path(path: Path) -> Path:
    """Return the name, beside ``path``, under which this process writes it."""
    return path.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{path.name}")


def _clear_leftovers(path: Path) -> None:
    """Remove what killed processes left of ``path``: packed rows may be most of a disk.

    In a container a process often has the number of the one before it.
    """
    for leftover in list(path.parent.iterdir()):
        found = _TEMPORARY_NAME.fullmatch(leftover.name)
        if found is None or found["name"] != path.name:
            continue
        if int(found["process"]) != os.getpid() and is_being_written(leftover.name):
            continue
        if found["old"] and not os.path.lexists(path):
            leftover.rename(path)
        else:
            _remove(leftover)


def is_being_written(name: str) -> bool:
    """True for the temporary name of a process that is alive."""
    if not name.startswith(TEMPORARY_PREFIX):
        return False
    process_id = re.split("[.-]", name.removeprefix(TEMPORARY_PREFIX), maxsplit=1)[0]
    return Path(f"/proc/{process_id}").exists()


@contextmanager
def explain_write_errors(
    path: Path, temporary: Path | None = None, *, also: tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """Turn a failure to write into an ``OSError`` that names ``path`` and the remedy; partial output is removed.

    Args:
        path: The file or folder that is written.
        temporary: Where it is written first; if left out, ``path`` itself, which stays if it was there before.
        also: Exception types of libraries that do not report a full disk by an ``OSError``.

    Raises:
        OSError: the block failed to write.
    """
    existed = path.exists()  # a failed append must not cost what is there
    try:
        yield
    except (OSError, *also) as error:
        if temporary is not None or not existed:
            _remove(temporary or path)
        number = getattr(error, "errno", None) or errno.EIO
        raise OSError(number, f"cannot write {path}: {_cause(error)}; {_remedy(error)}") from error
    except BaseException:
        if temporary is not None:
            _remove(temporary)
        raise


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _cause(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error).strip() or type(error).__name__).splitlines()[0]


def _remedy(error: Exception) -> str:
    causes = (*map(os.strerror, _DISK_FULL), "disk is full")  # the second is SQLite's
    full = getattr(error, "errno", None) in _DISK_FULL or any(cause in str(error) for cause in causes)
    found = "the disk or the quota is full: free space" if full else "check that disk"
    return f"{found} and run again: finished work is kept"


def sync(path: Path) -> None:
    """Flush a file, or the entries of a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file in hex.

    Raises:
        FileNotFoundError: there is no such file.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_hash(folder: Path, names: Iterable[str]) -> str:
    """Return one SHA-256 over the named files of a folder, independent of their order."""
    lines = [f"{name} {file_hash(folder / name)}" for name in sorted(names)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
