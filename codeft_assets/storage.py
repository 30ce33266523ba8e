"""The only module that knows where things lie: tables are parquet shards plus a manifest, on a path or an fsspec URL.

Invariant: ``manifest.json`` is written last and is the commit. Readers trust manifests only, every file appears
whole or not at all, and a table that is being rewritten stays readable as it was until its new
manifest replaces the old one.
"""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import fsspec
import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from fsspec.implementations.local import LocalFileSystem

from codeft_assets.manifest import Manifest, Shard

TEMPORARY_PREFIX = ".tmp-"
_GROUP_BYTES = 1 << 20
"""About how much of a shard is decompressed to read one row; a page of parquet is as large, so nothing is lost."""
_MIN_GROUP_ROWS = 64


class MissingTableError(ValueError):
    """A table was asked for that has no manifest: it was never finished."""


class CorruptShardError(ValueError):
    """A shard's bytes are not the bytes its manifest names."""


@functools.cache
def _located(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    return fsspec.core.url_to_fs(url)


@dataclass(frozen=True, slots=True)
class Table:
    """A folder of shards committed by a manifest. Picklable: workers open it by its URL."""

    url: str
    key: str

    @property
    def filesystem(self) -> fsspec.AbstractFileSystem:
        """The file system the table lies on."""
        return _located(self.url)[0]

    def path(self, relative: str = "") -> str:
        """Return a path on ``filesystem``."""
        root = _located(self.url)[1]
        return f"{root}/{relative}" if relative else root

    # -- reading ------------------------------------------------------------------------------------------------------

    def exists(self) -> bool:
        """True if the table was committed."""
        return self.filesystem.exists(self.path("manifest.json"))

    def manifest(self) -> Manifest:
        """Return the committed manifest.

        Raises:
            MissingTableError: the table was never finished.
        """
        try:
            text = self._read_bytes("manifest.json").decode()
        except FileNotFoundError as error:
            raise MissingTableError(
                f"table {self.key!r} has no manifest at {self.path()}; materialize the asset {self.key!r} first"
            ) from error
        return Manifest.from_json(text)

    def _read_bytes(self, relative: str) -> bytes:
        with self.filesystem.open(self.path(relative), "rb") as file:
            return bytes(file.read())  # type: ignore[arg-type]

    def read_shard(self, shard: Shard, columns: Sequence[str] | None = None) -> pa.Table:
        """Return one shard, its bytes checked against the manifest.

        Raises:
            CorruptShardError: the file is gone or its bytes changed since the commit.
        """
        source = io.BytesIO(self._checked_bytes(shard))
        return pq.read_table(source, columns=None if columns is None else list(columns))

    def read_rows(self, shard: Shard, rows: npt.NDArray[np.int64], columns: Sequence[str]) -> pa.Table:
        """Return some rows of a shard by their sorted numbers; only the row groups that hold one are decompressed.

        Raises:
            CorruptShardError: the file is gone or its bytes changed since the commit.
        """
        file = pq.ParquetFile(io.BytesIO(self._checked_bytes(shard)))
        sizes = np.array([file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)])
        group_of_row = np.searchsorted(np.cumsum(sizes), rows, side="right")
        groups, group_of_row = np.unique(group_of_row, return_inverse=True)
        begins = (np.cumsum(sizes) - sizes)[groups]
        places = rows - begins[group_of_row] + (np.cumsum(sizes[groups]) - sizes[groups])[group_of_row]
        return file.read_row_groups(groups.tolist(), columns=list(columns)).take(pa.array(places))

    def _checked_bytes(self, shard: Shard) -> bytes:
        remedy = f"delete the folder {self.path()} and materialize the asset {self.key!r} again"
        try:
            data = self._read_bytes(shard.path)
        except FileNotFoundError as error:
            raise CorruptShardError(f"table {self.key!r}: shard {shard.path} is gone; {remedy}") from error
        found = xxhash.xxh3_128_hexdigest(data)
        if found != shard.content_hash:
            raise CorruptShardError(
                f"table {self.key!r}: shard {shard.path} hashes to {found}, its manifest says {shard.content_hash}; "
                f"{remedy}"
            )
        return data

    def scan(self, *, rejects: bool = False) -> pl.LazyFrame:
        """Return the table's rows (or its rejects) lazily, in the manifest's order."""
        manifest = self.manifest()
        shards = manifest.rejects if rejects else manifest.shards
        if not shards:
            raise MissingTableError(f"table {self.key!r} holds no {'rejects' if rejects else 'shards'}")
        if isinstance(self.filesystem, LocalFileSystem):
            return pl.scan_parquet([self.path(shard.path) for shard in shards])
        return pl.concat([self.scan_shard(shard) for shard in shards])

    def scan_shard(self, shard: Shard) -> pl.LazyFrame:
        """Return one shard's rows lazily: columns that nobody asks for are not read."""
        if isinstance(self.filesystem, LocalFileSystem):
            return pl.scan_parquet(self.path(shard.path))
        # polars' own object-store reader knows other credentials than fsspec's: read remote shards through fsspec
        return pl.DataFrame(self.read_shard(shard)).lazy()

    def read(self, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Return the whole table in memory: for small tables and tests."""
        lazy = self.scan()
        return (lazy if columns is None else lazy.select(columns)).collect()

    # -- writing ------------------------------------------------------------------------------------------------------

    def write_shard(self, relative: str, rows: pa.Table, *, unit: str) -> Shard:
        """Write ``rows`` as one zstd parquet file that appears whole or not at all."""
        buffer = io.BytesIO()
        # combine_chunks: the bytes, and so the hash, must not depend on how the rows were batched
        rows = rows.combine_chunks()
        rows_per_group = max(rows.num_rows * _GROUP_BYTES // max(rows.nbytes, 1), _MIN_GROUP_ROWS)
        pq.write_table(rows, buffer, compression="zstd", compression_level=3, row_group_size=rows_per_group)
        data = buffer.getvalue()
        write_atomically(self.filesystem, self.path(relative), data)
        return Shard(path=relative, num_rows=rows.num_rows, content_hash=xxhash.xxh3_128_hexdigest(data), unit=unit)

    def commit(self, manifest: Manifest) -> None:
        """Make ``manifest`` the table, then delete what neither it nor the one it replaces names."""
        previous = self.manifest() if self.exists() else None
        write_atomically(self.filesystem, self.path("manifest.json"), manifest.to_json().encode())
        named = _named_files(manifest) | (_named_files(previous) if previous else set())
        self._delete_except(named)

    def _delete_except(self, named: set[str]) -> None:
        filesystem = self.filesystem
        for folder in ("shards", "rejects", "units"):
            if not filesystem.exists(self.path(folder)):
                continue
            for path in filesystem.ls(self.path(folder), detail=False):
                name = Path(path).name
                if f"{folder}/{name}" not in named and not _is_being_written(name):
                    filesystem.rm_file(path)


def _named_files(manifest: Manifest) -> set[str]:
    units = {f"units/{fingerprint}.json" for fingerprint in manifest.fingerprints}
    return units | {shard.path for shard in (*manifest.shards, *manifest.rejects)}


def _is_being_written(name: str) -> bool:
    if not name.startswith(TEMPORARY_PREFIX):
        return False
    process_id = name.removeprefix(TEMPORARY_PREFIX).split("-", 1)[0]
    return Path(f"/proc/{process_id}").exists()


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
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Store:
    """The data root: every table and every folder of files by its asset key."""

    root: str
    """A local path or an fsspec URL such as ``s3://bucket/codeft``."""

    def table(self, key: str) -> Table:
        """Return the table of the asset ``key``, for example ``documents/o1-journey``."""
        return Table(f"{self.root.rstrip('/')}/tables/{key}", key)

    def tables(self) -> list[Table]:
        """Return every committed table, sorted by key."""
        filesystem, root = fsspec.core.url_to_fs(f"{self.root.rstrip('/')}/tables")
        manifests = filesystem.glob(f"{root}/**/manifest.json")
        keys = sorted(str(path).removeprefix(f"{root}/").removesuffix("/manifest.json") for path in manifests)
        return [self.table(key) for key in keys]

    def folder(self, key: str) -> Path:
        """Return a local folder for the files of the asset ``key``: models, packed rows, scores.

        Raises:
            ValueError: the root is not local; subprocesses memory-map these files.
        """
        if "://" in self.root:
            raise ValueError(
                f"asset {key!r} needs local files, the data root is {self.root!r}; set CODEFT_HOME to a folder"
            )
        path = Path(self.root) / "files" / key
        path.mkdir(parents=True, exist_ok=True)
        return path
