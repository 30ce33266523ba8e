"""Tables as parquet shards plus a manifest, on a path or an fsspec URL: the only module that knows where they lie.

Invariant: ``manifest.json`` is written last and is the commit. Readers trust manifests only, every file appears
complete or not at all, and a table that is being rewritten stays readable as it was until its new manifest replaces
the old one. Earlier manifests are kept in ``history/``, with their shards, until retention deletes them. One process
at a time writes a table.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import fsspec
import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import xxhash
from fsspec.implementations.local import LocalFileSystem

from codeft_assets.base.files import TEMPORARY_PREFIX, is_being_written
from codeft_assets.store import parquet
from codeft_assets.store.files import folder_lock, located, shard_hash, write_file
from codeft_assets.store.manifest import Manifest, Shard


class MissingTableError(ValueError):
    """A table has no manifest: it was never finished."""


class CorruptShardError(ValueError):
    """A shard's bytes are not the bytes its manifest names."""


@dataclass(frozen=True, slots=True)
class Table:
    """A folder of shards committed by a manifest. Picklable: workers open it by its URL."""

    url: str
    key: str

    @property
    def filesystem(self) -> fsspec.AbstractFileSystem:
        """The file system the table lies on."""
        return located(self.url)[0]

    def path(self, relative: str = "") -> str:
        """Return a path on ``filesystem``."""
        root = located(self.url)[1]
        return f"{root}/{relative}" if relative else root

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
        return parquet.read_columns(self._checked_bytes(shard), columns)

    def read_rows(self, shard: Shard, rows: npt.NDArray[np.int64], columns: Sequence[str]) -> pa.Table:
        """Return some rows of a shard by their sorted numbers; only the row groups that hold one are decompressed.

        Raises:
            CorruptShardError: the file is gone or its bytes changed since the commit.
        """
        return parquet.read_rows(self._checked_bytes(shard), rows, columns)

    def read_part(self, shard: Shard, columns: Sequence[str] | None, where: tuple[str, int] | None = None) -> pa.Table:
        """Return some columns of a shard that was written ``in_parts``; no other bytes of it are read.

        Args:
            shard: The shard.
            columns: Which columns; None for all.
            where: A column by which its rows are sorted, and the value that they have in it; None for all rows.

        Raises:
            CorruptShardError: the file is gone, or the sum of a page that is read is wrong.
        """
        try:
            is_remote = not isinstance(self.filesystem, LocalFileSystem)
            how = {"cache_type": "none"} if is_remote else {}  # fsspec reads ahead, Arrow knows what it needs
            with self.filesystem.open(self.path(shard.path), "rb", **how) as opened:
                return parquet.read_part(opened, columns, where, is_remote=is_remote)
        except FileNotFoundError as error:
            raise self._gone(shard) from error
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(shard, str(error)) from error

    def _checked_bytes(self, shard: Shard) -> bytes:
        try:
            data = self._read_bytes(shard.path)
        except FileNotFoundError as error:
            raise self._gone(shard) from error
        self._compare(shard, xxhash.xxh3_128_hexdigest(data))
        return data

    def _gone(self, shard: Shard) -> CorruptShardError:
        return CorruptShardError(
            f"table {self.key!r}: shard {shard.path} is gone; materialize the asset {self.key!r} again"
        )

    def _compare(self, shard: Shard, found: str) -> None:
        if found != shard.content_hash:
            raise self._damaged(shard, f"hashes to {found}, its manifest says {shard.content_hash}")

    def _damaged(self, shard: Shard, finding: str) -> CorruptShardError:
        return CorruptShardError(
            f"table {self.key!r}: shard {shard.path} {finding}; delete the file {self.path(shard.path)} and "
            f"materialize the asset {self.key!r} again: only its rows are computed again"
        )

    def scan(self, *, rejects: bool = False) -> pl.LazyFrame:
        """Return the table's rows (or its rejects) lazily, in the manifest's order.

        Raises:
            CorruptShardError: a file is gone or its bytes changed since the commit.
        """
        manifest = self.manifest()
        shards = manifest.rejects if rejects else manifest.shards
        if not shards:
            raise MissingTableError(f"table {self.key!r} holds no {'rejects' if rejects else 'shards'}")
        if isinstance(self.filesystem, LocalFileSystem):
            return pl.scan_parquet([self._verified(shard) for shard in shards])
        return pl.concat([self.scan_shard(shard) for shard in shards])

    def scan_shard(self, shard: Shard) -> pl.LazyFrame:
        """Return one shard's rows lazily: columns that are not selected are not read."""
        if isinstance(self.filesystem, LocalFileSystem):
            return pl.scan_parquet(self._verified(shard))
        # polars' own object-store reader knows other credentials than fsspec's: read remote shards through fsspec
        return pl.DataFrame(self.read_shard(shard)).lazy()

    def _verified(self, shard: Shard) -> str:
        """Return the path of a shard whose bytes are the manifest's: polars itself checks no sum."""
        path = self.path(shard.path)
        try:
            self._compare(shard, shard_hash(path))
        except FileNotFoundError as error:
            raise self._gone(shard) from error
        return path

    def read_parts(self, columns: Sequence[str], where: pl.Expr | None = None) -> Iterator[pl.DataFrame]:
        """Yield some columns of the table, or of the rows for which ``where`` holds, a shard at a time, in order."""
        for shard in self.manifest().shards:
            rows = self.scan_shard(shard)
            yield (rows if where is None else rows.filter(where)).select(columns).collect()

    def read(self, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Return the whole table in memory: for small tables and tests."""
        lazy = self.scan()
        return (lazy if columns is None else lazy.select(columns)).collect()

    def write_shard(self, relative: str, rows: pa.Table, *, unit: str, in_parts: bool = False) -> Shard:
        """Write ``rows`` as one zstd parquet file that appears complete or not at all.

        ``in_parts`` gives every page a sum, for ``read_part``.
        """
        data = parquet.to_parquet(rows, in_parts=in_parts)
        write_file(self.filesystem, self.path(relative), data)
        return Shard(path=relative, num_rows=rows.num_rows, content_hash=xxhash.xxh3_128_hexdigest(data), unit=unit)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes from writing this table; object storage has no locks: there, ``commit`` checks."""
        if not isinstance(self.filesystem, LocalFileSystem):
            yield
            return
        with folder_lock(Path(self.path()), resource=f"table {self.key!r}"):
            yield

    def commit(self, manifest: Manifest) -> None:
        """Make ``manifest`` the table, keep the one it replaces, and delete the files that no kept manifest names.

        Raises:
            CorruptShardError: a shard is gone: another run wrote the table at the same time.
        """
        self._check_present(manifest)
        for kept in (*([self.manifest()] if self.exists() else []), manifest):
            self._remember(kept)
        write_file(self.filesystem, self.path("manifest.json"), manifest.to_json().encode())
        self.sweep()

    def gone_shards(self, manifest: Manifest) -> list[str]:
        """Return the paths of the shards that ``manifest`` names and that are not there."""
        present = {Path(path).name for folder in ("shards", "rejects") for path in self._files(folder)}
        return [shard.path for shard in (*manifest.shards, *manifest.rejects) if Path(shard.path).name not in present]

    def _check_present(self, manifest: Manifest) -> None:
        if gone := self.gone_shards(manifest):
            raise CorruptShardError(
                f"table {self.key!r}: {len(gone)} of its shards are gone, first {gone[0]}: two runs wrote it at the "
                f"same time; the table is what it was: materialize the asset {self.key!r} again"
            )

    def snapshots(self) -> list[str]:
        """Return the content hashes of the kept manifests, oldest first; the last is the table."""
        return [_parse_hash(path) for path in self._files("history")]

    def snapshot(self, content_hash: str) -> Manifest | None:
        """Return the kept manifest with this content hash, None if there is none."""
        found = [path for path in self._files("history") if _parse_hash(path) == content_hash]
        return self._manifest_at(found[-1]) if found else None

    def _manifest_at(self, path: str) -> Manifest:
        with self.filesystem.open(path, "rb") as file:
            return Manifest.from_json(bytes(file.read()).decode())  # type: ignore[arg-type]

    def forget(self, content_hashes: set[str]) -> None:
        """Delete kept manifests, never the table's own, and the shards that only they name."""
        current = self.manifest().content_hash
        for path in self._files("history"):
            if _parse_hash(path) in content_hashes - {current}:
                self.filesystem.rm_file(path)
        self.sweep()

    def _remember(self, manifest: Manifest) -> None:
        files = self._files("history")
        if files and _parse_hash(files[-1]) == manifest.content_hash:
            return
        number = int(Path(files[-1]).name.split("-")[0]) + 1 if files else 1  # counted, not dated: clocks go wrong
        name = f"history/{number:06d}-{manifest.content_hash}.json"
        write_file(self.filesystem, self.path(name), manifest.to_json().encode())
        for path in files:
            if _parse_hash(path) == manifest.content_hash:
                self.filesystem.rm_file(path)

    def sweep(self) -> None:
        """Delete files that neither the table nor a kept manifest names: leftovers of killed and refused runs."""
        kept = [self.manifest(), *(self._manifest_at(path) for path in self._files("history"))]
        named = {file for manifest in kept for file in manifest.files()}
        for folder in ("shards", "rejects", "units", "history"):
            for path in self._files(folder, all_files=True):
                name = Path(path).name
                if name.startswith(TEMPORARY_PREFIX):
                    unnamed = not is_being_written(name)
                else:
                    unnamed = folder != "history" and f"{folder}/{name}" not in named
                if unnamed:
                    self.filesystem.rm_file(path)

    def _files(self, folder: str, *, all_files: bool = False) -> list[str]:
        if not self.filesystem.exists(self.path(folder)):
            return []
        found = sorted(str(path) for path in self.filesystem.ls(self.path(folder), detail=False))
        return [path for path in found if all_files or not Path(path).name.startswith(TEMPORARY_PREFIX)]


def _parse_hash(history_path: str) -> str:
    return Path(history_path).stem.split("-")[1]
