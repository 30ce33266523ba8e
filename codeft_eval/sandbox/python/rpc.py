"""RPC between judge and candidate: each side sends requests and serves those of the other.

The protocol is synchronous and symmetric, so a test may hand the candidate a callback. A ``RemoteProxy`` represents an
object of the other side; it equals nothing and has no truth value, so a program proves nothing by returning one.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from typing import Any

from codeft_eval.sandbox.isolation.descriptors import write_all
from codeft_eval.sandbox.python.rpc_codec import ProtocolError, decode, dumps, encode, loads
from codeft_eval.sandbox.python.rpc_errors import describe_exception, restore_exception

MAXIMUM_MESSAGE_BYTES = 32 << 20
_MUTABLE = (list, dict, set, bytearray)


class ChannelClosed(BaseException):
    """The other side closed the channel; not an Exception, so that no test swallows it by accident."""


class RemoteProxy:
    """An object that lives on the other side."""

    def __init__(self, channel: RpcChannel, handle: int) -> None:
        object.__setattr__(self, "_channel", channel)
        object.__setattr__(self, "_handle", handle)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the object where it lives."""
        return self._channel.call(self._handle, args, kwargs)

    def __iter__(self) -> RemoteProxy:
        return self._channel.request("iter", self._handle)

    def __next__(self) -> Any:
        found = self._channel.request("next", self._handle)
        if not found:
            raise StopIteration
        return found[0]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._channel.request("getattr", self._handle, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._channel.request("setattr", self._handle, name, value)

    def __eq__(self, other: object) -> bool:
        return False

    def __ne__(self, other: object) -> bool:
        return False

    def __hash__(self) -> int:
        return self._handle

    def __bool__(self) -> bool:
        raise TypeError("an object of the candidate program has no truth value here; return a built-in value")


class RpcChannel:
    """A socket's descriptor with the objects exported through it.

    It needs no more than read and write: an isolated process has no call that names an address. ``operations`` are
    those that the other side may request; the judge serves calls of objects that a test passed, only.
    """

    def __init__(self, descriptor: int, operations: dict[str, Callable[..., Any]]) -> None:
        self._descriptor = descriptor
        self._operations = operations
        self._exported: list[Any] = []
        self.is_broken = False

    def call(self, handle: int, args: tuple, kwargs: dict) -> Any:
        """Call the other side's object; arguments it changed in place are changed here, too."""
        encoded = [self.encode(arg) for arg in args]
        reply = self.exchange(["call", handle, encoded, self.encode(kwargs)])
        for change in _list_or_empty(reply.get("changed", [])):
            self._apply_change(args, change)
        return self.decode(reply["value"], args)

    def request(self, operation: str, *operands: Any) -> Any:
        """Return the value of any other operation."""
        return self.decode(self.exchange([operation, *(self.encode(operand) for operand in operands)])["value"])

    def send_ready(self) -> None:
        """Report to the other side that this one is confined; sent before any model-written code runs."""
        self._send({"ready": True})

    def await_ready(self) -> None:
        """Wait for ``send_ready``; ChannelClosed means that the isolation failed, not the program."""
        self._receive()

    def serve(self, operations: dict[str, Callable[..., Any]]) -> None:
        """Answer requests for the named operations until the other side hangs up."""
        self._operations = operations
        while True:
            try:
                message = self._receive()
            except ChannelClosed:
                return
            self._answer(message)

    def object(self, handle: Any) -> Any:
        """Return the object exported under ``handle``."""
        if not isinstance(handle, int) or not 0 <= handle < len(self._exported):
            raise ProtocolError(f"no object {str(handle)[:20]!r}")
        return self._exported[handle]

    def export(self, value: Any) -> list:
        """Return a handle of ``value``, or the other side's own handle when it is a ``RemoteProxy``."""
        if isinstance(value, RemoteProxy):
            return ["o", object.__getattribute__(value, "_handle")]
        self._exported.append(value)
        return ["h", len(self._exported) - 1]

    def encode(self, value: Any) -> Any:
        """Return ``value`` as JSON-ready data.

        Raises:
            ValueError: it nests too deep to be sent.
        """
        try:
            return encode(value, self.export)
        except RecursionError:
            raise ValueError("a value nests too deep, or contains itself") from None

    def decode(self, data: Any, args: tuple = ()) -> Any:
        """Return the value of ``data``; tag "a" refers to an argument of the call that it answers."""

        def resolve(tag: str, content: list) -> Any:
            number = content[0] if content else None
            if tag == "o":
                return self.object(number)
            if not isinstance(number, int) or (tag == "a" and not 0 <= number < len(args)):
                raise ProtocolError(f"handle {str(number)[:20]!r} does not exist")
            return args[number] if tag == "a" else RemoteProxy(self, number)

        try:
            return decode(data, resolve)
        except RecursionError:
            raise self.mark_broken("a value nests too deep") from None
        except ProtocolError as error:
            raise self.mark_broken(str(error)) from error

    def exchange(self, request: list) -> dict:
        """Send a request, serve the other side's requests meanwhile, and return the complete answer."""
        self._send({"request": request})
        while True:
            message = self._receive()
            if "request" in message:
                self._answer(message)
                continue
            if "error" in message:
                raise restore_exception(message["error"])
            if "value" not in message:
                raise self.mark_broken("neither value nor error in an answer")
            return message

    def _apply_change(self, args: tuple, change: Any) -> None:
        index, data = change if isinstance(change, list) and len(change) == 2 else (None, None)
        if not isinstance(index, int) or not 0 <= index < len(args) or type(args[index]) not in _MUTABLE:
            raise self.mark_broken(f"argument {str(index)[:20]!r} cannot change")
        content = self.decode(data)
        if type(content) is not type(args[index]):
            raise self.mark_broken(f"argument {index} cannot become a {type(content).__name__}")
        _replace_content(args[index], content)

    def _answer(self, message: dict) -> None:
        request = message.get("request")
        if not isinstance(request, list) or not request or request[0] not in self._operations:
            raise self.mark_broken(f"request not served here: {str(request)[:60]}")
        try:
            answer = self._operations[request[0]](self, *request[1:])
        except (ChannelClosed, ProtocolError):
            raise
        except BaseException as error:  # noqa: BLE001  the program's own, SystemExit included, is its answer
            answer = {"error": describe_exception(error)}
        self._send(answer)

    def _send(self, message: dict) -> None:
        payload = dumps(message)
        if len(payload) > MAXIMUM_MESSAGE_BYTES:
            payload = dumps({"error": [["ValueError"], f"a value of {len(payload)} bytes is too large to return"]})
        try:
            write_all(self._descriptor, struct.pack("!I", len(payload)) + payload)
        except OSError:
            raise self._closed() from None

    def _receive(self) -> dict:
        size = struct.unpack("!I", self._read(4))[0]
        if size > MAXIMUM_MESSAGE_BYTES:
            raise self.mark_broken(f"a message of {size} bytes; at most {MAXIMUM_MESSAGE_BYTES}")
        try:
            message = loads(self._read(size))
        except ProtocolError as error:
            raise self.mark_broken(str(error)) from error
        if not isinstance(message, dict):
            raise self.mark_broken("a message is an object")
        return message

    def _read(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            try:
                part = os.read(self._descriptor, min(size - len(data), 1 << 20))
            except OSError:
                raise self._closed() from None
            if not part:
                raise self._closed()
            data += part
        return bytes(data)

    def mark_broken(self, why: str) -> ProtocolError:
        """Mark the channel as one that proves nothing any more; return the error to raise."""
        self.is_broken = True
        return ProtocolError(why)

    def _closed(self) -> ChannelClosed:
        self.is_broken = True
        return ChannelClosed("the other side closed the channel")


def serve_call(channel: RpcChannel, handle: Any, encoded: list, kwargs: Any) -> dict:
    """Serve "call": return the value, and the mutable arguments as they are after the call."""
    args = tuple(channel.decode(item) for item in encoded)
    value = channel.object(handle)(*args, **channel.decode(kwargs))
    changed = [
        [index, after]
        for index, (arg, before) in enumerate(zip(args, encoded, strict=True))
        if type(arg) in _MUTABLE and (after := channel.encode(arg)) != before
    ]
    same = next((index for index, arg in enumerate(args) if arg is value and type(arg) in _MUTABLE), None)
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


def _list_or_empty(data: Any) -> list:
    return data if isinstance(data, list) else []


def _replace_content(target: Any, content: Any) -> None:
    if isinstance(target, (list, bytearray)):
        target[:] = content
        return
    target.clear()
    target.update(content)
