"""Source files of the running Python: its standard library, installed packages, or folders of the user."""

from __future__ import annotations

import importlib.metadata
import platform
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import xxhash

from codeft_assets.origins.errors import MissingUpstreamError
from codeft_assets.origins.files import MAX_TEXT_BYTES
from codeft_assets.origins.origin import Row, Upstream, UpstreamFile

STANDARD_LIBRARY = "stdlib"
_LEFT_OUT_FOLDERS = frozenset(
    {"site-packages", "dist-packages", "__pycache__", "lib2to3", "pydoc_data", "node_modules"}
)
_TEST_FOLDERS = frozenset({"test", "tests", "idle_test"})


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalCodeOrigin:
    """Each file is a row: path, package, version, license, text."""

    packages: tuple[str, ...] = (STANDARD_LIBRARY,)
    """``stdlib``, names of installed distributions, or folders (an absolute path)."""
    max_bytes: int | None = None
    """Stop a package after this many bytes, in path order."""
    suffixes: tuple[str, ...] = (".py",)
    with_tests: bool = False

    def resolve(self) -> Upstream:
        """Return one upstream file per package; its fingerprint covers the names and contents of the files.

        Raises:
            MissingUpstreamError: a package is not installed, or has no such files.
        """
        files = tuple(self._package(package) for package in self.packages)
        revision = xxhash.xxh3_128_hexdigest("\n".join(f"{file.path} {file.fingerprint}" for file in files))
        return Upstream(revision=f"local-{revision[:12]}", files=files)

    def read(self, upstream: Upstream, file: UpstreamFile) -> Iterator[tuple[str, Row]]:
        """Yield the files of one package; a file that is not UTF-8 yields a row with ``error`` and no text."""
        del upstream
        package = file.path
        root, version, license_name = _locate(package)
        for path in self._paths(package):
            relative = path.relative_to(root).as_posix()
            row: dict[str, object] = {"path": relative, "package": package, "version": version, "license": license_name}
            try:
                row["text"] = path.read_bytes().decode("utf-8")
            except (UnicodeDecodeError, OSError) as error:
                row |= {"text": None, "error": f"{type(error).__name__}: {error}"}
            yield f"{package}/{relative}", row

    def _package(self, package: str) -> UpstreamFile:
        paths = self._paths(package)
        if not paths:
            raise MissingUpstreamError(
                f"package {package!r} has no files ending in {list(self.suffixes)}; fix packages= in sources.py"
            )
        digest = xxhash.xxh3_128()
        for path in paths:
            digest.update(path.as_posix())
            digest.update(path.read_bytes())
        return UpstreamFile(
            path=package, fingerprint=digest.hexdigest(), size_bytes=sum(path.stat().st_size for path in paths)
        )

    def _paths(self, package: str) -> list[Path]:
        root = _locate(package)[0]
        chosen, num_bytes = [], 0
        for path in sorted(_files(package, root)):
            size = path.stat().st_size if path.is_file() else 0
            if not self._keeps(path.relative_to(root)) or not 0 < size <= MAX_TEXT_BYTES:
                continue
            num_bytes += size
            if self.max_bytes is not None and num_bytes > self.max_bytes:
                break
            chosen.append(path)
        return chosen

    def _keeps(self, relative: Path) -> bool:
        folders = set(relative.parts[:-1])
        if relative.suffix not in self.suffixes or folders & _LEFT_OUT_FOLDERS:
            return False
        return self.with_tests or not (folders & _TEST_FOLDERS)


def _locate(package: str) -> tuple[Path, str, str]:
    """Return root folder, version and license of ``package``."""
    if package == STANDARD_LIBRARY:
        return Path(sysconfig.get_paths()["stdlib"]), platform.python_version(), "PSF-2.0"
    if Path(package).is_absolute():
        if not Path(package).is_dir():
            raise MissingUpstreamError(f"folder {package!r} does not exist; fix packages= in sources.py")
        return Path(package), "", ""
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


def _files(package: str, root: Path) -> Iterator[Path]:
    if package == STANDARD_LIBRARY or Path(package).is_absolute():
        yield from root.rglob("*")
        return
    for file in importlib.metadata.files(package) or []:
        if ".." not in file.parts:
            yield root / file
