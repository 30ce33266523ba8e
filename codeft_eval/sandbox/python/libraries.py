"""Installed libraries that a benchmark declares, such as numpy: imported once, read-only, and nothing beside them."""

from __future__ import annotations

import importlib
import importlib.machinery
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import Distribution

# Of one core and no thread pool: threads do not survive a fork, and the limits count them.
_ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True, slots=True, kw_only=True)
class Libraries:
    """Declared libraries with all that they require."""

    declared: tuple[str, ...] = ()
    """Module names that are imported before the first program."""
    versions: dict[str, str]
    """Distribution -> version, the required ones included."""
    paths: tuple[str, ...] = ()
    """Their own files and folders; nothing else of the folders that they are installed in is visible."""


NO_LIBRARIES = Libraries(versions={})


def find_libraries(requirements: Sequence[str]) -> Libraries:
    """Return the installed libraries named like ``numpy`` or ``numpy==2.4.6``.

    Raises:
        ValueError: one is not installed, or in another version.
    """
    if not requirements:
        return NO_LIBRARIES
    found: dict[str, Distribution] = {}
    for requirement in requirements:
        name, _, version = requirement.partition("==")
        _collect(name.strip(), found)
        installed = found[_canonical(name)].version
        if version and installed != version.strip():
            raise ValueError(f"library {requirement!r}: version {installed} is installed; pip install '{requirement}'")
    paths = {
        os.path.join(os.path.realpath(str(distribution.locate_file(""))), file.parts[0])
        for distribution in found.values()
        for file in distribution.files or ()
    }
    return Libraries(
        declared=tuple(name for one in requirements for name in _modules(one.partition("==")[0].strip(), found)),
        versions={name: distribution.version for name, distribution in sorted(found.items())},
        paths=tuple(sorted(filter(_is_library, paths))),
    )


class LibraryFinder:
    """Finds the libraries' modules, and no other of the folders that they are installed in."""

    def __init__(self, libraries: Libraries) -> None:
        self._folders: dict[str, list[str]] = {}
        for folder, entry in map(os.path.split, libraries.paths):
            self._folders.setdefault(entry.partition(".")[0], []).append(folder)

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> object:
        """Return the specification of a library's own module."""
        if path is not None or name not in self._folders:
            return None
        return importlib.machinery.PathFinder.find_spec(name, self._folders[name])


def import_libraries(libraries: Libraries) -> None:
    """Import the declared libraries and make all of them importable; the environment is changed for the import."""
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    sys.meta_path.append(LibraryFinder(libraries))  # type: ignore[arg-type]  a finder by its one method
    for name in libraries.declared:
        importlib.import_module(name)


def _collect(name: str, found: dict[str, Distribution]) -> None:
    """Add a distribution and all that it requires without extras; what is not installed is not required here."""
    from importlib import metadata  # here and below, since it would make every fork of the worker larger

    if _canonical(name) in found:
        return
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        raise ValueError(
            f"library {name!r} is not installed, which a benchmark declares for its programs; pip install {name}"
        ) from None
    found[_canonical(name)] = distribution
    for requirement in distribution.requires or ():
        required = re.match(r"[\w.-]+", requirement)
        if required and "extra ==" not in requirement and is_installed(required[0]):
            _collect(required[0], found)


def _modules(name: str, found: dict[str, Distribution]) -> list[str]:
    """Return the module of a distribution's own name, or all its packages, as ``sklearn`` of ``scikit-learn``."""
    files = found[_canonical(name)].files or ()
    packages = {file.parts[0] for file in files if len(file.parts) == 2 and file.name == "__init__.py"}
    modules = packages | {file.stem for file in files if len(file.parts) == 1 and file.suffix == ".py"}
    own = name.replace("-", "_")
    return [own] if own in modules else sorted(modules)


def is_installed(name: str) -> bool:
    """Return whether a library is installed, in whatever version."""
    from importlib import metadata

    return any(True for _ in metadata.distributions(name=name))


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def _is_library(path: str) -> bool:
    entry = os.path.basename(path)
    is_named = entry not in ("..", "__pycache__", "bin") and not entry.endswith((".dist-info", ".pth"))
    return is_named and os.path.exists(path)
