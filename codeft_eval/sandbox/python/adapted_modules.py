"""Modules of the standard library that need sockets or processes, adapted where a program or test imports them.

They are not imported beforehand: each would make every fork of the worker slower, and few programs use one.
"""

from __future__ import annotations

import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from codeft_eval.sandbox.python.event_loops import adapt_asyncio
from codeft_eval.sandbox.python.processes_as_threads import adapt_futures, adapt_multiprocessing

_ADAPTATIONS: dict[str, Callable[[ModuleType], None]] = {
    "asyncio": adapt_asyncio,
    "multiprocessing": adapt_multiprocessing,
    "concurrent.futures": adapt_futures,
}


class _AdaptingLoader:
    """Loads a module as its own loader does, and adapts it; importlib.abc would bring forty modules."""

    def __init__(self, loader: Any, adapt: Callable[[ModuleType], None]) -> None:
        self._loader, self._adapt = loader, adapt

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        self._adapt(module)


class AdaptingFinder:
    """Finds the modules that are adapted; put before all other finders."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the usual specification with an adapting loader."""
        if fullname not in _ADAPTATIONS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        if spec:
            spec.loader = _AdaptingLoader(spec.loader, _ADAPTATIONS[fullname])  # type: ignore[assignment]  by its methods
        return spec


def install() -> None:
    """Adapt the modules when they are imported, in this process and in those it forks; those here already, at once."""
    for name in _ADAPTATIONS.keys() & sys.modules.keys():
        _ADAPTATIONS[name](sys.modules[name])
    sys.meta_path.insert(0, AdaptingFinder())  # type: ignore[arg-type]  a finder by its one method
