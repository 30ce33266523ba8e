"""Source files of the running Python: its standard library, installed packages, or folders of the user."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import xxhash

from codeft_assets.curation.documents import storable
from codeft_assets.curation.ingest.drafts import Reject, Row
from codeft_assets.origins.errors import MissingUpstreamError
from codeft_assets.origins.folders import LEFT_OUT_FOLDERS, TEST, LeftOut
from codeft_assets.origins.json_rows import bad_row
from codeft_assets.origins.origin import Upstream, UpstreamFile

STANDARD_LIBRARY = "stdlib"
_NOT_THE_PACKAGE = frozenset({"site-packages", "dist-packages", "__pycache__", "lib2to3", "pydoc_data", "node_modules"})
"""Left out of what is installed; there is a package named ``build``."""
_TEST_FOLDERS = frozenset({"test", "tests", "idle_test"})


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalCodeOrigin:
    """Each file is a row: path, package, version, license, text."""

    packages: tuple[str, ...] = (STANDARD_LIBRARY,)
    """``stdlib``, names of installed distributions, or folders and files: absolute, or with ``./`` or ``~/``."""
    max_bytes: int | None = None
    """Stop a package after this many bytes, in path order."""
    suffixes: tuple[str, ...] = (".py",)
    with_tests: bool = False

    def resolve(self) -> Upstream:
        """Return one upstream file per package; its fingerprint covers the names and contents of the files.

        Raises:
            MissingUpstreamError: a package is not installed, or has no such files.
        """
        left_out = LeftOut()
        files = tuple(self._package(package, left_out) for package in self.packages)
        revision = xxhash.xxh3_128_hexdigest("\n".join(f"{file.path} {file.fingerprint}" for file in files))
        return Upstream(revision=f"local-{revision[:12]}", files=files, note=left_out.note())

    def read(self, upstream: Upstream, file: UpstreamFile) -> Iterator[tuple[str, Row | Reject]]:
        """Yield the files of one package; a file that is not UTF-8 yields a reject."""
        del upstream
        package = file.path
        root, version, license_name = _locate(package)
        for path in self._paths(package, LeftOut()):
            relative = storable(path.relative_to(root).as_posix())
            row = {"path": relative, "package": package, "version": version, "license": license_name}
            try:
                yield f"{package}/{relative}", row | {"text": path.read_bytes().decode("utf-8")}
            except UnicodeDecodeError as error:
                yield f"{package}/{relative}", bad_row("not_utf8", str(error), b"")
            except OSError as error:
                yield f"{package}/{relative}", bad_row("unreadable_file", str(error), b"")

    def _package(self, package: str, left_out: LeftOut) -> UpstreamFile:
        paths = self._paths(package, left_out)
        if not paths:
            raise MissingUpstreamError(
                f"package {package!r} has no files ending in {list(self.suffixes)} to read; {left_out.note()}; fix "
                f"packages= in sources.py"
            )
        digest = xxhash.xxh3_128()
        for path in paths:
            digest.update(os.fsencode(path))
            digest.update(path.read_bytes())
        return UpstreamFile(
            path=package, fingerprint=digest.hexdigest(), size_bytes=sum(path.stat().st_size for path in paths)
        )

    def _paths(self, package: str, left_out: LeftOut) -> list[Path]:
        root = _locate(package)[0]
        folders = LEFT_OUT_FOLDERS if _named_path(package) else _NOT_THE_PACKAGE
        chosen, num_bytes = [], 0
        for path in sorted(_files(package, root)):
            if path.suffix not in self.suffixes or not self._keeps(path.relative_to(root), folders, left_out):
                continue
            size = path.stat().st_size if path.is_file() else 0
            if not left_out.keeps_size(path.name, size):
                continue
            num_bytes += size
            if self.max_bytes is not None and num_bytes > self.max_bytes:
                left_out.counts[f"bytes and more behind the first {self.max_bytes:,}"] += size
                break
            chosen.append(path)
        return chosen

    def _keeps(self, relative: Path, left_out_folders: frozenset[str], left_out: LeftOut) -> bool:
        if not left_out.keeps_path(relative.as_posix(), left_out_folders=left_out_folders):
            return False
        is_test = bool(_TEST_FOLDERS & set(relative.parts[:-1])) and not self.with_tests
        left_out.counts.update([TEST] if is_test else [])
        return not is_test


def _locate(package: str) -> tuple[Path, str, str]:
    """Return root folder, version and license of ``package``."""
    if package == STANDARD_LIBRARY:
        return Path(sysconfig.get_paths()["stdlib"]), platform.python_version(), "PSF-2.0"
    if named := _named_path(package):
        if not named.exists():
            raise MissingUpstreamError(f"folder {package!r} does not exist; fix packages= in sources.py")
        return (named if named.is_dir() else named.parent), "", ""
    try:
        distribution = importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingUpstreamError(
            f"package {package!r} is not installed; install it or fix packages= in sources.py"
        ) from error
    fields = distribution.metadata
    stated = [fields[name] for name in ("License-Expression", "License") if name in fields]
    license_name = stated[0] if stated and stated[0] else "not stated"
    return Path(str(distribution.locate_file(""))), distribution.version, license_name.splitlines()[0][:80]


def _named_path(package: str) -> Path | None:
    """Return the path of a folder or a file of the user, None for the name of a package."""
    is_path = package.startswith(("~", ".")) or "/" in package
    return Path(package).expanduser().absolute() if is_path else None


def _files(package: str, root: Path) -> Iterator[Path]:
    named = _named_path(package)
    if named is not None and named.is_file():
        yield named
    elif named is not None or package == STANDARD_LIBRARY:
        yield from root.rglob("*")
    else:
        yield from (root / file for file in importlib.metadata.files(package) or [] if ".." not in file.parts)
