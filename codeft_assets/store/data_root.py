"""The data root: every table and every folder of files by its asset key, on a path or an fsspec URL."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from codeft_assets.store.files import folder_lock, located
from codeft_assets.store.mirror import cache_folder, local_copy, open_mirror, publish
from codeft_assets.store.tables import Table

STEPS = "steps/"
"""Keys of tables between the stages of one asset: nobody asks them questions, so they are not in the catalog."""


@dataclass(frozen=True, slots=True)
class Store:
    """The data root: every table and every folder of files by its asset key."""

    root: str
    """A local path or an fsspec URL such as ``s3://bucket/codeft``."""

    @property
    def is_remote(self) -> bool:
        """True where the root is a URL."""
        return "://" in self.root

    def table(self, key: str) -> Table:
        """Return the table of the asset ``key``, for example ``documents/o1-journey``."""
        return Table(f"{self.root.rstrip('/')}/tables/{key}", key)

    def tables(self) -> list[Table]:
        """Return every committed table, sorted by key."""
        filesystem, root = located(f"{self.root.rstrip('/')}/tables")
        manifests = filesystem.glob(f"{root}/**/manifest.json")
        keys = sorted(str(path).removeprefix(f"{root}/").removesuffix("/manifest.json") for path in manifests)
        return [self.table(key) for key in keys]

    def folder(self, key: str) -> Path:
        """Return a local folder for the files of the asset ``key``: models, packed rows, scores.

        Of a root on object storage it is a local copy; ``publish`` uploads what is written into it.

        Raises:
            OSError: the storage cannot be reached.
        """
        if self.is_remote:
            return open_mirror(self.root, key).pull()
        path = Path(self.root) / "files" / key
        path.mkdir(parents=True, exist_ok=True)
        return path

    def lock(self, key: str) -> AbstractContextManager[None]:
        """Keep other runs from writing the folder of files ``key``; a second lock of the same process waits, too.

        Of a root on object storage the runs of this machine alone wait: ``publish`` tells those of other machines.
        """
        root = cache_folder(self.root) if self.is_remote else Path(self.root)
        return folder_lock(root / "locks" / key, resource=key)  # not in the folder: a program may replace it

    def place(self, key: str, name: str) -> str:
        """Return the path, or the URL of the published content, of a file of ``folder(key)``: any node can read it."""
        if self.is_remote:
            return open_mirror(self.root, key).object_url(name)
        return str(self.folder(key) / name)

    def publish(self) -> None:
        """Upload what this process has written into folders; nothing for a local root.

        Raises:
            ConflictError: another machine published one of them meanwhile.
        """
        if self.is_remote:
            publish(self.root)

    def local_table(self, key: str) -> Path:
        """Return a local folder with the committed table, for a program that reads tables by path."""
        return local_copy(self.table(key), self.root)
