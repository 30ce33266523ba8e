"""The operations that one side performs on its objects at the request of the other.

The candidate serves everything. The judge serves calls and iteration of what a test passed to the candidate, and reads
instances of classes that the tests themselves define; nothing else of its process can be reached.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from codeft_eval.sandbox.python import event_loops
from codeft_eval.sandbox.python.rpc import MUTABLE, RpcChannel
from codeft_eval.sandbox.python.rpc_codec import plain_value
from codeft_eval.sandbox.python.rpc_proxies import BINARY, SPECIAL

TESTS_MODULE = "judge"
"""The module that classes of the tests are in."""
_CHANGES = ("__setitem__", "__delitem__", "__delattr__", "__enter__", "__exit__")


def serve_call(channel: RpcChannel, handle: Any, encoded: list, kwargs: Any) -> dict:
    """Serve "call": return the value, and the mutable arguments as they are after the call."""
    args = tuple(channel.decode(item) for item in encoded)
    value = channel.object(handle)(*args, **channel.decode(kwargs))
    changed = [
        [index, after]
        for index, (arg, before) in enumerate(zip(args, encoded, strict=True))
        if type(arg) in MUTABLE and (after := channel.encode(arg)) != before
    ]
    same = next((index for index, arg in enumerate(args) if arg is value and type(arg) in MUTABLE), None)
    answer = {"value": channel.encode(value) if same is None else ["a", same]}
    return answer | {"changed": changed} if changed else answer


def serve_next(channel: RpcChannel, handle: Any) -> dict:
    """Serve "next": return a list of the next item, or an empty one at the end."""
    for item in channel.object(handle):
        return {"value": channel.encode([item])}
    return {"value": channel.encode([])}


def serve_iter(channel: RpcChannel, handle: Any) -> dict:
    """Serve "iter": return a handle of an iterator."""
    return {"value": channel.export(iter(channel.object(handle)))}


def serve_getattr(channel: RpcChannel, handle: Any, name: Any) -> dict:
    """Serve "getattr": return the attribute's value."""
    return {"value": channel.encode(getattr(channel.object(handle), name))}


def serve_setattr(channel: RpcChannel, handle: Any, name: Any, value: Any) -> dict:
    """Serve "setattr"."""
    setattr(channel.object(handle), name, channel.decode(value))
    return {"value": None}


def serve_special(channel: RpcChannel, handle: Any, name: Any, *operands: Any) -> dict:
    """Serve "special": return what an object's special method returns."""
    decoded = [channel.decode(operand) for operand in operands]
    return {"value": channel.encode(SPECIAL[name](channel.object(handle), *decoded))}


def serve_reflected(channel: RpcChannel, handle: Any, name: Any, left: Any) -> dict:
    """Serve "reflected": return the value of an operator whose right operand is the object."""
    return {"value": channel.encode(BINARY[name](channel.decode(left), channel.object(handle)))}


def serve_plain(channel: RpcChannel, handle: Any) -> dict:
    """Serve "plain": return the value of an instance of a subclass of a built-in type, as one of that type."""
    return {"value": channel.encode(plain_value(channel.object(handle)))}


def serve_equal(channel: RpcChannel, one: Any, other: Any) -> dict:
    """Serve "equal": return whether two objects are equal by their own ``==``; false for one equal to anything."""
    left, right = channel.decode(one), channel.decode(other)
    return {"value": left is right or (bool(left == right) and not _equals_anything(left, right))}


def serve_isinstance(channel: RpcChannel, value: Any, handle: Any) -> dict:
    """Serve "isinstance"."""
    return {"value": isinstance(channel.decode(value), channel.object(handle))}


def serve_issubclass(channel: RpcChannel, kind: Any, handle: Any) -> dict:
    """Serve "issubclass"."""
    return {"value": issubclass(channel.decode(kind), channel.object(handle))}


def serve_await(channel: RpcChannel, handle: Any) -> dict:
    """Serve "await": run a coroutine to its end and return its value."""

    async def run() -> Any:
        return await channel.object(handle)

    return {"value": channel.encode(event_loops.runner().run(run()))}


def _equals_anything(left: Any, right: Any) -> bool:
    """Return whether an object is equal to an unrelated one, or to an empty one of the other's class."""
    probes = [object()]
    if getattr(right, "__dict__", None):
        # TypeError: of a built-in type, whose empty instance is an honest value.
        with contextlib.suppress(TypeError):
            probes.append(object.__new__(type(right)))
    return any(_are_equal(left, probe) for probe in probes)


def _are_equal(left: Any, right: Any) -> bool:
    try:
        return bool(left == right)
    except Exception:  # noqa: BLE001  the program's own == may raise anything for what it cannot compare
        return False


def _of_tests(serve: Callable[..., dict]) -> Callable[..., dict]:
    """Return ``serve`` for instances of classes that tests define, and public names."""

    def run(channel: RpcChannel, handle: Any, name: Any, *operands: Any) -> dict:
        value = channel.object(handle)
        is_public = isinstance(name, str) and (not name.startswith("_") or (name in SPECIAL and name not in _CHANGES))
        if type(value).__module__ != TESTS_MODULE or isinstance(value, type) or not is_public:
            raise AttributeError(f"{name!r} of an object of the tests")
        return serve(channel, handle, name, *operands)

    return run


def _refuse(_channel: RpcChannel, *_operands: Any) -> dict:
    raise TypeError("an object of the tests does not do this for a program")


CANDIDATE_OPERATIONS: dict[str, Callable[..., dict]] = {
    "call": serve_call,
    "next": serve_next,
    "iter": serve_iter,
    "getattr": serve_getattr,
    "setattr": serve_setattr,
    "special": serve_special,
    "reflected": serve_reflected,
    "plain": serve_plain,
    "equal": serve_equal,
    "isinstance": serve_isinstance,
    "issubclass": serve_issubclass,
    "await": serve_await,
}
JUDGE_OPERATIONS: dict[str, Callable[..., dict]] = {
    **dict.fromkeys(CANDIDATE_OPERATIONS, _refuse),
    "call": serve_call,
    "next": serve_next,
    "iter": serve_iter,
    "getattr": _of_tests(serve_getattr),
    "special": _of_tests(serve_special),
}
