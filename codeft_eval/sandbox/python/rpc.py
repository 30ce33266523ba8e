"""RPC between judge and candidate: each side sends requests and serves those of the other.

The protocol is synchronous and symmetric, so a test may hand the candidate a callback. What is no plain value stays
where it lives, and a proxy (``rpc_proxies``) represents it on the other side.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from typing import Any

from codeft_eval.sandbox.isolation.descriptors import write_all
from codeft_eval.sandbox.python.rpc_codec import ProtocolError, Remote, decode, dumps, encode, loads
from codeft_eval.sandbox.python.rpc_errors import RemoteExceptions
from codeft_eval.sandbox.python.rpc_proxies import describe, handle_of, make_proxy, make_value

MAXIMUM_MESSAGE_BYTES = 32 << 20
MUTABLE = (list, dict, set, bytearray)


class ChannelClosed(BaseException):
    """The other side closed the channel; not an Exception, so that no test swallows it by accident."""


class RpcChannel:
    """A socket's descriptor with the objects exported through it.

    It needs no more than read and write: an isolated process has no call that names an address. ``operations`` are
    those that the other side may request; the judge serves calls of objects that a test passed, only.
    """

    def __init__(self, descriptor: int, operations: dict[str, Callable[..., Any]]) -> None:
        self._descriptor = descriptor
        self._operations = operations
        self._exported: list[Any] = []
        self._handles: dict[int, int] = {}
        self._remotes: dict[int, Any] = {}
        self.exceptions = RemoteExceptions(self)
        self.classes_under_test: tuple[type, ...] = ()
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
        """Return a described handle of ``value``, or the other side's own handle of what lives there."""
        kind = type(value)
        if issubclass(kind, Remote):
            return ["o", handle_of(value)]
        handle = self.handle(value)
        if issubclass(kind, type) and issubclass(value, BaseException):
            return ["h", handle, value.__name__, 0, "exception", self.exceptions.lineage(value)]
        return ["h", handle, *describe(kind, is_under_test=self.is_under_test(kind))]

    def handle(self, value: Any) -> int:
        """Return the number of an object of this side, the same one each time."""
        handle = self._handles.setdefault(id(value), len(self._exported))
        if handle == len(self._exported):
            self._exported.append(value)
        return handle

    def is_under_test(self, kind: type) -> bool:
        """Return whether tests name the class or one that it extends."""
        return bool(self.classes_under_test) and issubclass(kind, self.classes_under_test)

    def encode(self, value: Any) -> Any:
        """Return ``value`` as JSON-ready data.

        Raises:
            ValueError: it nests too deep to be sent.
        """
        try:
            return encode(value, self)
        except RecursionError:
            raise ValueError("a value nests too deep, or contains itself") from None

    def decode(self, data: Any, args: tuple = ()) -> Any:
        """Return the value of ``data``; tag "a" refers to an argument of the call that it answers."""

        def resolve(tag: str, content: list) -> Any:
            if tag == "x":
                return self._remote(content[1][1:], content[0])
            number = content[0] if content else None
            if tag == "o":
                return self.object(number)
            if not isinstance(number, int) or (tag == "a" and not 0 <= number < len(args)):
                raise ProtocolError(f"handle {str(number)[:20]!r} does not exist")
            return args[number] if tag == "a" else self._remote(content)

        try:
            return decode(data, resolve)
        except RecursionError:
            raise self.mark_broken("a value nests too deep") from None
        except ProtocolError as error:
            raise self.mark_broken(str(error)) from error

    def _remote(self, described: list, plain: Any = None) -> Any:
        """Return what stands for an object of the other side, the same one for each handle."""
        handle, *description = described
        if handle not in self._remotes:
            self._remotes[handle] = self._make_remote(handle, description, plain)
        return self._remotes[handle]

    def _make_remote(self, handle: int, description: list, plain: Any) -> Any:
        if plain is not None:
            return make_value(self, plain, handle)
        known = description[2] if len(description) > 2 else ""
        if known == "exception":
            return self.exceptions.class_of(description[3])
        if known == "coroutine":
            return _await_remote(self, handle)
        return make_proxy(self, handle, *description[:3])

    def exchange(self, request: list) -> dict:
        """Send a request, serve the other side's requests meanwhile, and return the complete answer."""
        self._send({"request": request})
        while True:
            message = self._receive()
            if "request" in message:
                self._answer(message)
                continue
            if "error" in message:
                raise self.exceptions.restore(message["error"])
            if "value" not in message:
                raise self.mark_broken("neither value nor error in an answer")
            return message

    def _apply_change(self, args: tuple, change: Any) -> None:
        index, data = change if isinstance(change, list) and len(change) == 2 else (None, None)
        if not isinstance(index, int) or not 0 <= index < len(args) or type(args[index]) not in MUTABLE:
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
            answer = {"error": self.exceptions.describe(error)}
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


async def _await_remote(channel: RpcChannel, handle: int) -> Any:
    """Stand for a coroutine of the other side, which runs it to its end there."""
    return channel.request("await", handle)


def _list_or_empty(data: Any) -> list:
    return data if isinstance(data, list) else []


def _replace_content(target: Any, content: Any) -> None:
    if isinstance(target, (list, bytearray)):
        target[:] = content
        return
    target.clear()
    target.update(content)
