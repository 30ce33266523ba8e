"""Values of the standard library that cross by value: each side builds its own object of the genuine type.

So a test compares dates, views or counters by its own interpreter's rules. The names are fixed here; nothing that the
other side sends selects another type or runs code.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from codeft_eval.sandbox.python.rpc_library_values import (
    LIBRARY_TYPES,
    build_library_value,
    library_name,
    library_parts,
)


@dataclass(frozen=True, slots=True)
class StandardType:
    """Takes a value of a type apart, and builds one."""

    parts: Callable[[Any], Sequence]
    build: Callable[..., Any]
    """Called with the type and the parts."""


def _attributes(*names: str) -> StandardType:
    return StandardType(
        lambda value: [getattr(value, name) for name in names], lambda kind, *parts: kind(*parts[: len(names)])
    )


def _as_text() -> StandardType:
    return StandardType(lambda value: [str(value)], lambda kind, text: kind(text))


def _as_one(part: Callable[[Any], Any]) -> StandardType:
    return StandardType(lambda value: [part(value)], lambda kind, content: kind(content))


def _single(value: Any) -> StandardType:
    return StandardType(lambda _: [], lambda _kind: value)


def _build_datetime(kind: Any, *parts: Any) -> Any:
    return kind(*parts[:-1], fold=parts[-1])


def _factory(value: Any) -> Any:
    return value.default_factory if isinstance(value.default_factory, type) else None


_CLOCK = ("hour", "minute", "second", "microsecond", "tzinfo", "fold")
_KEYS = StandardType(lambda view: [list(view)], lambda _kind, keys: dict.fromkeys(keys).keys())
_ITEMS = StandardType(lambda view: [list(view)], lambda _kind, items: dict(items).items())
_VALUES = StandardType(lambda view: [list(view)], lambda _kind, values: dict(enumerate(values)).values())
STANDARD_TYPES: dict[str, StandardType] = {
    "datetime.date": _attributes("year", "month", "day"),
    "datetime.datetime": StandardType(_attributes("year", "month", "day", *_CLOCK).parts, _build_datetime),
    "datetime.time": StandardType(_attributes(*_CLOCK).parts, _build_datetime),
    "datetime.timedelta": _attributes("days", "seconds", "microseconds"),
    "datetime.timezone": StandardType(lambda zone: zone.__getinitargs__(), lambda kind, *parts: kind(*parts)),
    "zoneinfo.ZoneInfo": _as_one(lambda zone: zone.key),
    "uuid.UUID": StandardType(lambda value: [value.int], lambda kind, number: kind(int=number)),
    **{
        f"{module}.{kind}": _as_text()
        for module in ("pathlib", "pathlib._local")
        for kind in ("PosixPath", "PurePosixPath", "PureWindowsPath")
    },
    **{
        f"ipaddress.IPv{version}{kind}": _as_text()
        for version in (4, 6)
        for kind in ("Address", "Network", "Interface")
    },
    "collections.Counter": _as_one(dict),
    "collections.OrderedDict": _as_one(lambda value: list(value.items())),
    "collections.defaultdict": StandardType(
        lambda value: [_factory(value), dict(value)], lambda kind, *parts: kind(*parts)
    ),
    "collections.deque": StandardType(lambda value: [list(value), value.maxlen], lambda kind, *parts: kind(*parts)),
    "array.array": StandardType(lambda value: [value.typecode, list(value)], lambda kind, *parts: kind(*parts)),
    "types.SimpleNamespace": StandardType(lambda value: [vars(value)], lambda kind, fields: kind(**fields)),
    "builtins.mappingproxy": _as_one(dict),
    "builtins.slice": StandardType(
        lambda value: [value.start, value.stop, value.step], lambda kind, *parts: kind(*parts)
    ),
    "builtins.memoryview": _as_one(bytes),
    "builtins.ellipsis": _single(...),
    "builtins.NotImplementedType": _single(NotImplemented),
    **dict.fromkeys(("builtins.dict_keys", "builtins.odict_keys"), _KEYS),
    **dict.fromkeys(("builtins.dict_items", "builtins.odict_items"), _ITEMS),
    **dict.fromkeys(("builtins.dict_values", "builtins.odict_values"), _VALUES),
    "re.Pattern": StandardType(lambda value: [value.pattern, value.flags], lambda _kind, *parts: re.compile(*parts)),
    "re.Match": StandardType(lambda match: _match_parts(match), lambda _kind, *parts: Match(*parts)),
}
_NAMELESS = {"builtins.mappingproxy": type(type.__dict__)}
"""Types that no module has under their own name; of the other ones ``build`` needs none."""


def standard_name(value: Any) -> str | None:
    """Return the name of the value's type in the tables; None for another type, a subclass included."""
    kind = type(value)
    if kind.__module__ == "candidate":
        return None
    name = f"{kind.__module__}.{kind.__qualname__}"
    return name if name in STANDARD_TYPES and _is_genuine(name, kind) else library_name(value)


def standard_parts(name: str, value: Any) -> Sequence:
    """Return what a value of the named type is made of."""
    return STANDARD_TYPES[name].parts(value) if name in STANDARD_TYPES else library_parts(name, value)


def build_standard(name: str, parts: Sequence) -> Any:
    """Return the value of the named type that the parts make."""
    if name in LIBRARY_TYPES:
        return build_library_value(name, parts)
    return STANDARD_TYPES[name].build(_standard_type(name), *parts)


def _is_genuine(name: str, kind: type) -> bool:
    found = _standard_type(name)
    return found is kind or (found is None and kind.__module__ == "builtins")


def _standard_type(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    if name in _NAMELESS:
        return _NAMELESS[name]
    return getattr(sys.modules.get(module) or importlib.import_module(module), attribute, None)


def _match_parts(match: re.Match) -> Sequence:
    groups = [match[0], *match.groups()]
    spans = [match.span(index) for index in range(len(groups))]
    expression = match.re
    return [match.string, groups, spans, expression.pattern, expression.flags, match.pos, match.endpos, match.lastindex]


class Match:
    """A ``re.Match`` by its findings, without a search of its own; true, and equal to nothing but itself."""

    def __init__(self, string: Any, groups: list, spans: list, pattern: Any, flags: int, *place: Any) -> None:
        self.string, self._groups, self._spans = string, groups, spans
        self.re = re.compile(pattern, flags)
        self.pos, self.endpos, self.lastindex = place

    @property
    def __class__(self) -> Any:
        return re.Match

    @property
    def lastgroup(self) -> str | None:
        """The name of the group matched last."""
        return next((name for name, index in self.re.groupindex.items() if index == self.lastindex), None)

    @property
    def regs(self) -> tuple:
        """The spans of all groups."""
        return tuple(self._spans)

    def _index(self, group: Any) -> int:
        index = self.re.groupindex.get(group, group) if isinstance(group, str) else group
        if not isinstance(index, int) or not 0 <= index < len(self._groups):
            raise IndexError("no such group")
        return index

    def group(self, *groups: Any) -> Any:
        """Return one group, or a tuple of several."""
        found = tuple(self._groups[self._index(group)] for group in groups or (0,))
        return found[0] if len(found) == 1 else found

    __getitem__ = group

    def groups(self, default: Any = None) -> tuple:
        """Return all groups, ``default`` for those that took no part."""
        return tuple(default if group is None else group for group in self._groups[1:])

    def groupdict(self, default: Any = None) -> dict:
        """Return the named groups."""
        return {name: self.groups(default)[index - 1] for name, index in self.re.groupindex.items()}

    def span(self, group: Any = 0) -> tuple:
        """Return where a group starts and ends."""
        return self._spans[self._index(group)]

    def start(self, group: Any = 0) -> int:
        """Return where a group starts."""
        return self.span(group)[0]

    def end(self, group: Any = 0) -> int:
        """Return where a group ends."""
        return self.span(group)[1]

    def __repr__(self) -> str:
        return f"<re.Match object; span={self.span()}, match={self.group()!r}>"
