"""Local copies of what lies on object storage, for programs that need paths: folders of files, and whole tables.

Invariant: ``index.json`` of a folder is written last and is the commit. Its files lie beside it under the hash of their
content, so whoever reads an index finds all of its files, whatever a writer does at that moment or dies of.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import xxhash

from codeft_assets.base.files import TEMPORARY_PREFIX, replacing_file, write_atomically
from codeft_assets.store.files import folder_lock, located, shard_hash, write_file

if TYPE_CHECKING:
    from codeft_assets.store.manifest import Shard
    from codeft_assets.store.tables import Table

INDEX = "index.json"
CACHE_VARIABLE = "CODEFT_CACHE"
_SYNCED = ".synced.json"
"""The index that the local copy was last equal to."""
_LOCKS = ".locks"
_OPENED: dict[str, Mirror] = {}
Index = Mapping[str, str]
"""Path below the folder -> hash of the file's content."""


class ConflictError(ValueError):
    """Another machine published the folder since it was read."""


def cache_folder(root: str) -> Path:
    """Return where the local copies of a remote data root lie: ``CODEFT_CACHE``, else ``~/.cache/codeft``."""
    parent = Path(os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache" / "codeft")
    return parent / xxhash.xxh3_64_hexdigest(root.rstrip("/"))


def open_mirror(root: str, key: str) -> Mirror:
    """Return the local copy of the folder of files ``key``; ``publish`` uploads it."""
    url = f"{root.rstrip('/')}/files/{key}"
    if url not in _OPENED:
        _OPENED[url] = Mirror(url, cache_folder(root) / "files" / key, key)
    return _OPENED[url]


def publish(root: str) -> None:
    """Upload what changed in the folders of this root that this process has opened.

    Raises:
        ConflictError: another machine published one of them meanwhile.
    """
    for url, mirror in sorted(_OPENED.items()):
        if url.startswith(f"{root.rstrip('/')}/files/"):
            mirror.push()


def copies_named_by(root: str, words: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the keys of the folders and of the tables whose local copies ``words`` name, for another machine."""
    words, tables = list(words), f"{cache_folder(root)}/tables/"
    opened = [mirror for url, mirror in sorted(_OPENED.items()) if url.startswith(f"{root.rstrip('/')}/files/")]
    named = [mirror.key for mirror in opened if any(f"{mirror.folder}/" in f"{word}/" for word in words)]
    return tuple(named), tuple(word.removeprefix(tables) for word in words if word.startswith(tables))


@dataclass(frozen=True, slots=True)
class Mirror:
    """A folder on object storage and its local copy."""

    url: str
    folder: Path
    key: str

    def pull(self) -> Path:
        """Make the local copy what was published last, and return it; files that were never published stay.

        Raises:
            OSError: the storage cannot be reached, or an object's bytes are not those that its name says.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._lock(), _explained(self.url):
            published, synced = self._published(), self._synced()
            if published is not None and published != synced:
                _fetch(self.url, self.folder, {name: (digest, digest) for name, digest in published.items()})
                for name in set(synced) - set(published):
                    (self.folder / name).unlink(missing_ok=True)
                write_atomically(self.folder / _SYNCED, json.dumps(published))
        return self.folder

    def push(self) -> None:
        """Publish the local copy, if it is another than the published one.

        Raises:
            ConflictError: another machine published the folder since ``pull``; the storage is left as it is.
            OSError: the storage cannot be reached; what was published before stays.
        """
        with self._lock(), _explained(self.url):
            synced, found = self._synced(), self._local()
            if found == synced:
                return
            published = self._published() or {}
            if published not in (synced, found):
                raise ConflictError(
                    f"{self.key!r} was published by another machine while this one wrote it; what is at {self.url} "
                    f"stays, and the files of this machine are in {self.folder}: delete that folder and run again"
                )
            filesystem, root = located(self.url)
            for name, digest in found.items():
                if digest not in published.values():
                    filesystem.put_file(str(self.folder / name), f"{root}/{digest}")
            write_file(filesystem, f"{root}/{INDEX}", json.dumps(found, sort_keys=True).encode())
            write_atomically(self.folder / _SYNCED, json.dumps(found))
            for digest in {*published.values()} - {*found.values()}:
                filesystem.rm_file(f"{root}/{digest}")

    def object_url(self, name: str) -> str:
        """Return the URL of a published file's content, which another version does not replace."""
        digest = (self._published() or {}).get(name, name)
        return f"{self.url}/{digest}"

    def _lock(self) -> AbstractContextManager[None]:
        return folder_lock(self.folder.parent / _LOCKS / self.folder.name, resource=self.key)

    def _published(self) -> Index | None:
        filesystem, root = located(self.url)
        try:
            return json.loads(filesystem.cat_file(f"{root}/{INDEX}"))
        except FileNotFoundError:
            return None

    def _synced(self) -> Index:
        path = self.folder / _SYNCED
        return json.loads(path.read_text()) if path.is_file() else {}

    def _local(self) -> Index:
        return {
            str(path.relative_to(self.folder)): shard_hash(str(path))
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and path.name not in {_SYNCED, ".lock"} and not _is_temporary(path, self.folder)
        }


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Turn what the clients of object stores raise into an ``OSError`` with the remedy."""
    try:
        yield
    except (ConflictError, OSError):
        raise
    except Exception as error:
        raise OSError(
            f"{url} cannot be read or written: {error}; check the network and the credentials and run again: what "
            f"was published stays, and what this machine wrote is kept"
        ) from error


def _is_temporary(path: Path, folder: Path) -> bool:
    return any(part.startswith((TEMPORARY_PREFIX, _LOCKS)) for part in path.relative_to(folder).parts)


def local_copy(table: Table, root: str) -> Path:
    """Return a local folder with the committed table, for a program that reads tables by path.

    Raises:
        MissingTableError: the table was never finished.
        OSError: the storage cannot be reached, or a shard's bytes are not those that the manifest names.
    """
    if "://" not in table.url:
        return Path(table.path())
    manifest, folder = table.manifest(), cache_folder(root) / "tables" / table.key
    with folder_lock(folder.parent / _LOCKS / folder.name, resource=table.key):
        shards: tuple[Shard, ...] = (*manifest.shards, *manifest.rejects)
        _fetch(table.url, folder, {shard.path: (shard.path, shard.content_hash) for shard in shards})
        write_atomically(folder / "manifest.json", manifest.to_json())
        named = {folder / shard.path for shard in shards}
        for path in folder.rglob("*.parquet"):
            if path not in named:
                path.unlink()
    return folder


def _fetch(url: str, folder: Path, wanted: Mapping[str, tuple[str, str]]) -> None:
    """Download files, local name -> (remote name, hash), that are not there with this hash."""
    filesystem, root = located(url)
    for name, (remote, digest) in wanted.items():
        path = folder / name
        if path.is_file() and shard_hash(str(path)) == digest:
            continue
        with replacing_file(path) as temporary:
            filesystem.get_file(f"{root}/{remote}", str(temporary))
            found = shard_hash(str(temporary))
            if found != digest:
                raise OSError(f"{url}/{remote} hashes to {found}, it should be {digest}; delete it and run again")
