"""Objects of the other side as they are used here: a proxy has the special methods that its object's type has.

What a method returns is the object's own answer, which a test compares as it compares any answer. What would let an
object compare itself is not forwarded: a proxy equals only another proxy, ``in`` compares here, and an operator
is never given a plain value, such as the one expected, unless the test names the object's class and so its operators.
"""

from __future__ import annotations

import operator
import types
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from codeft_eval.sandbox.python.rpc_codec import Remote

if TYPE_CHECKING:
    from codeft_eval.sandbox.python.rpc import RpcChannel

UNARY: dict[str, Callable[..., Any]] = {
    "__len__": len,
    "__getitem__": operator.getitem,
    "__setitem__": operator.setitem,
    "__delitem__": operator.delitem,
    "__reversed__": reversed,
    "__int__": int,
    "__float__": float,
    "__complex__": complex,
    "__index__": operator.index,
    "__round__": round,
    "__abs__": abs,
    "__neg__": operator.neg,
    "__pos__": operator.pos,
    "__invert__": operator.invert,
    "__bool__": bool,
    "__enter__": lambda value: type(value).__enter__(value),
    "__exit__": lambda value, *error: type(value).__exit__(value, *error),
    "__bytes__": bytes,
    "__fspath__": lambda value: type(value).__fspath__(value),
}
"""Special methods that are forwarded from every object: none is given a value to compare with."""
BINARY: dict[str, Callable[..., Any]] = {
    **{
        f"__{name.rstrip('_')}__": getattr(operator, name)
        for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and_", "or_", "xor")
    },
    **{f"__{name}__": getattr(operator, name) for name in ("lshift", "rshift", "lt", "le", "gt", "ge", "iadd", "isub")},
}
_ORDER = ("__lt__", "__le__", "__gt__", "__ge__")
_REFLECTED = {f"__r{name[2:]}": name for name in BINARY if name not in _ORDER and not name.startswith("__i")}
ALWAYS: dict[str, Callable[..., Any]] = {
    "__str__": str, "__repr__": repr, "__format__": format, "__hash__": hash, "__dir__": dir,
    "__contains__": operator.contains, "__delattr__": delattr,
}  # fmt: skip
SPECIAL = UNARY | BINARY | ALWAYS
"""What the other side may request of an exported object by name, besides call, next, iter and attributes."""
_DESCRIBED = ("__iter__", "__next__", "__call__", "__contains__", *UNARY, *BINARY, *_REFLECTED)
_KNOWN_TYPES: dict[str, type] = {
    "generator": types.GeneratorType,
    "coroutine": types.CoroutineType,
    "function": types.FunctionType,
    "method": types.MethodType,
    "module": types.ModuleType,
    "type": type,
    **{kind.__name__: kind for kind in (map, filter, zip, enumerate, reversed)},
    **{kind.__name__: kind for kind in (list, dict, set, bytearray, str, int, float, tuple)},
}
_PLAIN_KINDS = frozenset(("list", "dict", "set", "bytearray", "str", "int", "float", "tuple"))
"""An instance of a class under test that extends one of these is compared with plain values by its plain value."""
_UNDER_TEST = 1 << len(_DESCRIBED)


@cache
def describe(kind: type, *, is_under_test: bool) -> list:
    """Return what the other side must know of an object's type: its names and its special methods, as bits."""
    names = [name for name in _DESCRIBED if getattr(kind, name, None) is not None]
    if "__getitem__" in names and "__iter__" not in names:
        names.append("__iter__")
    bits = sum(1 << _DESCRIBED.index(name) for name in names) | (_UNDER_TEST if is_under_test else 0)
    known = next((name for name, real in _KNOWN_TYPES.items() if issubclass(kind, real)), "")
    return [kind.__name__[:100], bits, known]


class RemoteProxy(Remote):
    """An object that lives on the other side."""

    __slots__ = ("_channel", "_handle")

    def __init__(self, channel: RpcChannel, handle: int) -> None:
        object.__setattr__(self, "_channel", channel)
        object.__setattr__(self, "_handle", handle)

    def __getattr__(self, name: str) -> Any:
        return channel_of(self).request("getattr", handle_of(self), name)

    def __setattr__(self, name: str, value: Any) -> None:
        channel_of(self).request("setattr", handle_of(self), name, value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Remote):
            return False
        return handle_of(self) == handle_of(other) or _are_equal(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return forward(self, "__hash__")

    def __instancecheck__(self, instance: Any) -> bool:
        return isinstance(instance, Remote) and bool(channel_of(self).request("isinstance", instance, handle_of(self)))

    def __subclasscheck__(self, kind: Any) -> bool:
        return isinstance(kind, Remote) and bool(channel_of(self).request("issubclass", kind, handle_of(self)))


def channel_of(remote: Any) -> RpcChannel:
    """Return the channel behind which a remote object lives."""
    return object.__getattribute__(remote, "_channel")


def handle_of(remote: Any) -> int:
    """Return the number under which the other side knows a remote object."""
    return object.__getattribute__(remote, "_handle")


def forward(remote: Any, name: str, *operands: Any) -> Any:
    """Return what the special method returns where the object lives."""
    return channel_of(remote).request("special", handle_of(remote), name, *operands)


def make_proxy(channel: RpcChannel, handle: int, name: Any = "", bits: Any = 0, known: Any = "") -> RemoteProxy:
    """Return a proxy for a described object."""
    is_described = isinstance(name, str) and isinstance(bits, int) and isinstance(known, str)
    return _proxy_class(name, bits, known)(channel, handle) if is_described else RemoteProxy(channel, handle)


@cache
def _proxy_class(name: str, bits: int, known: str) -> type[RemoteProxy]:
    names = [special for index, special in enumerate(_DESCRIBED) if bits >> index & 1]
    methods = {special: _METHODS[special] for special in names if special in _METHODS}
    methods |= {special: _forwarded(special) for special in (*UNARY, *ALWAYS) if special in (*names, *_TEXTS)}
    binary = _operator if bits & _UNDER_TEST else _operator_between_remotes
    methods |= {special: binary(special) for special in names if special in (*BINARY, *_REFLECTED)}
    if bits & _UNDER_TEST and "__contains__" in names:
        methods["__contains__"] = lambda self, item: forward(self, "__contains__", item)
    if known in _PLAIN_KINDS:
        methods |= {special: _compared_by_value(special) for special in ("__eq__", *_ORDER)}
        methods["__hash__"] = _forwarded("__hash__")
    if known in _KNOWN_TYPES:
        methods["__class__"] = property(lambda _: _KNOWN_TYPES[known])  # type: ignore[assignment]  read by isinstance
    return type(name if name.isidentifier() else "object", (RemoteProxy,), {"__slots__": (), **methods})


_TEXTS = ("__str__", "__repr__", "__format__", "__dir__", "__delattr__")


def _forwarded(name: str) -> Callable[..., Any]:
    return lambda self, *operands: forward(self, name, *operands)


def _operator(name: str) -> Callable[..., Any]:
    """Return an operator of a class under test, whose other operand may be plain, but not where it orders the two."""

    def run(self: Any, other: Any) -> Any:
        if name in _ORDER and not isinstance(other, Remote):
            return NotImplemented
        if name in _REFLECTED:
            return channel_of(self).request("reflected", handle_of(self), _REFLECTED[name], other)
        return forward(self, name, other)

    return run


def _operator_between_remotes(name: str) -> Callable[..., Any]:
    run = _operator(name)
    return lambda self, other: run(self, other) if isinstance(other, Remote) else NotImplemented


def _compared_by_value(name: str) -> Callable[..., Any]:
    compare = getattr(operator, name)

    def run(self: Any, other: Any) -> Any:
        if isinstance(other, Remote):
            return RemoteProxy.__eq__(self, other) if name == "__eq__" else forward(self, name, other)
        return compare(channel_of(self).request("plain", handle_of(self)), other)

    return run


def _call(self: Any, *args: Any, **kwargs: Any) -> Any:
    return channel_of(self).call(handle_of(self), args, kwargs)


def _iterate(self: Any) -> Any:
    return channel_of(self).request("iter", handle_of(self))


def _next(self: Any) -> Any:
    found = channel_of(self).request("next", handle_of(self))
    if not found:
        raise StopIteration
    return found[0]


def _contains(self: Any, item: Any) -> bool:
    """Compare here: the object itself would say yes to anything."""
    return any(item is found or item == found for found in self)


_METHODS: dict[str, Callable[..., Any]] = {
    "__call__": _call,
    "__iter__": _iterate,
    "__next__": _next,
    "__contains__": _contains,
}


def _are_equal(one: Any, other: Any) -> bool:
    """Return whether two remote objects are equal by their own ``==``, unless one is equal to anything."""
    answer = channel_of(one).request("equal", one, other)
    return answer is True


def make_value(channel: RpcChannel, plain: Any, handle: int) -> Any:
    """Return a value of a subclass of a built-in type: it compares as the built-in type, its attributes are remote."""
    try:
        value = _value_class(type(plain))(plain)
    except TypeError:
        return plain
    value._channel, value._handle = channel, handle
    return value


@cache
def _value_class(base: type) -> type:
    def get(self: Any, name: str) -> Any:
        return channel_of(self).request("getattr", handle_of(self), name)

    texts = {name: _forwarded(name) for name in ("__str__", "__repr__")}
    return type(base.__name__, (base, Remote), {"__getattr__": get, **texts})
