"""Exceptions between judge and candidate: names, a message and arguments; each side raises one of its own making.

A class of exceptions that the program defines is a class here, too, so that a test can name it in ``except``.
"""

from __future__ import annotations

import builtins
import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codeft_eval.sandbox.python.rpc import RpcChannel

_STEERING = (BaseException, Exception, StopIteration, StopAsyncIteration, GeneratorExit, KeyboardInterrupt)
"""Too general, or able to end an iteration or the judge: restored only as ``RemoteError``."""
# Tests name these in ``except``; none steers a test's run, as unittest.SkipTest would.
_STANDARD_ERRORS = frozenset((
    "json.decoder.JSONDecodeError", "statistics.StatisticsError", "dataclasses.FrozenInstanceError", "re.error",
    "decimal.InvalidOperation", "decimal.DivisionByZero", "_queue.Empty", "queue.Full", "struct.error", "_csv.Error",
    "binascii.Error", "zlib.error", "asyncio.exceptions.InvalidStateError", "asyncio.queues.QueueEmpty",
    "asyncio.queues.QueueFull", "zoneinfo._common.ZoneInfoNotFoundError", "ipaddress.AddressValueError",
    "graphlib.CycleError", "tomllib.TOMLDecodeError", "configparser.NoSectionError", "configparser.NoOptionError",
    "xml.etree.ElementTree.ParseError", "_pickle.PicklingError", "_pickle.UnpicklingError", "copy.Error",
))  # fmt: skip


class RemoteError(Exception):
    """An exception of the other side that has no built-in type."""


class RemoteExceptions:
    """Describes a channel's own exceptions, and restores those of the other side."""

    def __init__(self, channel: RpcChannel) -> None:
        self._channel = channel
        self._classes: dict[int, type[Exception]] = {}
        self.may_stop_iteration: Callable[[], bool] = lambda: False
        """Whether the call that is being answered stands where a ``StopIteration`` ends no iteration."""

    def lineage(self, kind: type) -> list:
        """Return the names of a class of exceptions and of its bases, each of the program's own with its handle."""
        return [[_full_name(base), self._own_handle(base)] for base in kind.__mro__]

    def describe(self, error: BaseException) -> list:
        """Return the lineage of an exception, its message, its arguments, and a handle of one of the program's own."""
        lineage = self.lineage(type(error))
        is_own = lineage[0][1] is not None
        try:
            text = str(error)[:2000]
        except Exception as nested:  # noqa: BLE001  the program's own __str__ may raise anything
            text = f"unprintable: {type(nested).__name__}"
        try:
            arguments = self._channel.encode(list(error.args))
        except Exception:  # noqa: BLE001  the program's own objects may raise anything
            arguments = None
        return [lineage, text, arguments, self._channel.export(error)[1] if is_own else None]

    def restore(self, description: Any) -> Exception:
        """Return the exception described: of its nearest built-in type, never one that could end or steer the judge."""
        if not isinstance(description, list) or len(description) != 4:
            return RemoteError(str(description)[:200])
        lineage, text, arguments, handle = description
        if self.may_stop_iteration() and ["StopIteration", None] in lineage:
            return StopIteration()
        kind = self.class_of(lineage)
        if kind is RemoteError:
            return RemoteError(f"{_first_name(lineage)}: {text}")
        decoded = self._channel.decode(arguments) if isinstance(arguments, list) else [text]
        error = _construct(kind, decoded)
        if isinstance(handle, int):
            error.__dict__.update(_text=str(text), _channel=self._channel, _handle=handle)
        return error

    def class_of(self, lineage: Any) -> type[Exception]:
        """Return the class here for a lineage: built-in, or made for one of the program's own."""
        entries = lineage if isinstance(lineage, list) else []
        own: list[tuple[str, int]] = []
        for entry in entries:
            name, handle = entry if isinstance(entry, list) and len(entry) == 2 else (None, None)
            if isinstance(name, str) and isinstance(handle, int):
                own.append((name, handle))
            elif _ordinary(name):
                return self._derive(own, _ordinary(name) or RemoteError)
        return self._derive(own, RemoteError)

    def _derive(self, own: list[tuple[str, int]], base: type[Exception]) -> type[Exception]:
        for name, handle in reversed(own):
            if handle not in self._classes:
                self._classes[handle] = type(name if name.isidentifier() else "Error", (base,), _REMOTE_METHODS)
            base = self._classes[handle]
        return base

    def _own_handle(self, kind: type) -> int | None:
        is_own = _ordinary(_full_name(kind)) is not kind and getattr(builtins, kind.__name__, None) is not kind
        return self._channel.handle(kind) if is_own and issubclass(kind, BaseException) else None


def _first_name(lineage: Any) -> str:
    first = lineage[0] if isinstance(lineage, list) and lineage else [""]
    return str(first[0] if isinstance(first, list) and first else first)[:100]


def _full_name(kind: type) -> str:
    name = f"{kind.__module__}.{kind.__qualname__}"
    return name if name in _STANDARD_ERRORS else kind.__name__


def _ordinary(name: Any) -> type[Exception] | None:
    """Return the class of exceptions of a name: built-in, or one of the standard ones listed here."""
    module, _, attribute = name.rpartition(".") if isinstance(name, str) else ("", "", "")
    if module and name not in _STANDARD_ERRORS:
        return None
    kind = getattr(importlib.import_module(module or "builtins"), attribute, None)
    is_ordinary = isinstance(kind, type) and issubclass(kind, BaseException) and kind not in _STEERING
    return kind if is_ordinary else None  # type: ignore[return-value]


def _construct(kind: type[Exception], arguments: list) -> Exception:
    try:
        return kind(*arguments)
    except Exception:  # noqa: BLE001  a constructor that requires more than the arguments it keeps
        return kind.__new__(kind, *arguments)


def _text(self: Any) -> str:
    return self.__dict__["_text"] if "_text" in self.__dict__ else Exception.__str__(self)


def _remote_attribute(self: Any, name: str) -> Any:
    fields = object.__getattribute__(self, "__dict__")
    if "_channel" not in fields:
        raise AttributeError(name)
    return fields["_channel"].request("getattr", fields["_handle"], name)


_REMOTE_METHODS = {"__str__": _text, "__getattr__": _remote_attribute}
