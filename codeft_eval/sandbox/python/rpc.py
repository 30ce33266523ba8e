"""One side of the conversation between judge and candidate: calls out, and serves calls that come in.

The protocol is synchronous and symmetric, so a test may hand the candidate a callback. A `Remote` stands for an
object of the other side; it equals nothing and has no truth value, so a program proves nothing by returning one.
"""

import os
import struct
from collections.abc import Callable
from typing import Any

from codeft_eval.sandbox.isolation.descriptors import write_all
from codeft_eval.sandbox.python.rpc_codec import ProtocolError, decode, dumps, encode, loads
from codeft_eval.sandbox.python.rpc_errors import describe_exception, restore_exception

MAXIMUM_MESSAGE_BYTES = 32 << 20
_MUTABLE = (list, dict, set, bytearray)


class PeerGone(BaseException):
    """The other side closed the channel; not an Exception, so that no test swallows it by accident."""


class Remote:
    """An object that lives on the other side."""

    def __init__(self, peer: "Peer", handle: int) -> None:
        object.__setattr__(self, "_peer", peer)
        object.__setattr__(self, "_handle", handle)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the object where it lives."""
        return self._peer.call(self._handle, args, kwargs)

    def __iter__(self) -> "Remote":
        return self._peer.ask("iter", self._handle)

    def __next__(self) -> Any:
        found = self._peer.ask("next", self._handle)
        if not found:
            raise StopIteration
        return found[0]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._peer.ask("getattr", self._handle, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._peer.ask("setattr", self._handle, name, value)

    def __eq__(self, other: object) -> bool:
        return False

    def __ne__(self, other: object) -> bool:
        return False

    def __hash__(self) -> int:
        return self._handle

    def __bool__(self) -> bool:
        raise TypeError("an object of the candidate program has no truth value here; return a built-in value")


class Peer:
    """A socket's descriptor with the objects exported through it.

    read and write are all it needs: the jail has no call that names an address.

    `serves` names the operations the other side may ask for; the judge serves calls of what a test passed, only.
    """

    def __init__(self, channel: int, serves: dict[str, Callable[..., Any]]) -> None:
        self._channel = channel
        self._serves = serves
        self._exported: list[Any] = []
        self.is_broken = False

    def call(self, handle: int, args: tuple, kwargs: dict) -> Any:
        """Calls the other side's object; arguments it changed in place are changed here, too."""
        encoded = [self.encode(arg) for arg in args]
        reply = self.request(["call", handle, encoded, self.encode(kwargs)])
        for change in _list_of(reply.get("changed", [])):
            self._apply_change(args, change)
        return self.decode(reply["value"], args)

    def ask(self, operation: str, *operands: Any) -> Any:
        """Any other operation: its value."""
        return self.decode(self.request([operation, *(self.encode(operand) for operand in operands)])["value"])

    def greet(self) -> None:
        """Tells the other side that this one is confined and ready; sent before any model-written code runs."""
        self._send({"ready": True})

    def await_greeting(self) -> None:
        """Waits for `greet`; PeerGone means that the jail failed, not the program."""
        self._receive()

    def serve(self, operations: dict[str, Callable[..., Any]]) -> None:
        """Answers requests for the named operations until the other side hangs up."""
        self._serves = operations
        while True:
            try:
                message = self._receive()
            except PeerGone:
                return
            self._answer(message)

    def object(self, handle: Any) -> Any:
        """What was exported under `handle`."""
        if not isinstance(handle, int) or not 0 <= handle < len(self._exported):
            raise ProtocolError(f"no object {str(handle)[:20]!r}")
        return self._exported[handle]

    def export(self, value: Any) -> list:
        """A handle of `value`, or the other side's own handle when it is a `Remote`."""
        if isinstance(value, Remote):
            return ["o", object.__getattribute__(value, "_handle")]
        self._exported.append(value)
        return ["h", len(self._exported) - 1]

    def encode(self, value: Any) -> Any:
        """`value` as JSON-ready data.

        Raises:
            ValueError: it nests too deep to be sent.
        """
        try:
            return encode(value, self.export)
        except RecursionError:
            raise ValueError("a value nests too deep, or contains itself") from None

    def decode(self, data: Any, args: tuple = ()) -> Any:
        """The value of `data`; "a" stands for one of the arguments of the call it answers."""

        def resolve(tag: str, content: list) -> Any:
            number = content[0] if content else None
            if tag == "o":
                return self.object(number)
            if not isinstance(number, int) or (tag == "a" and not 0 <= number < len(args)):
                raise ProtocolError(f"handle {str(number)[:20]!r} does not exist")
            return args[number] if tag == "a" else Remote(self, number)

        try:
            return decode(data, resolve)
        except RecursionError:
            raise self.broken("a value nests too deep") from None
        except ProtocolError as error:
            raise self.broken(str(error)) from error

    def request(self, request: list) -> dict:
        """Asks the other side and serves what it asks meanwhile; its whole answer."""
        self._send({"ask": request})
        while True:
            message = self._receive()
            if "ask" in message:
                self._answer(message)
                continue
            if "error" in message:
                raise restore_exception(message["error"])
            if "value" not in message:
                raise self.broken("neither value nor error in an answer")
            return message

    def _apply_change(self, args: tuple, change: Any) -> None:
        index, data = change if isinstance(change, list) and len(change) == 2 else (None, None)
        if not isinstance(index, int) or not 0 <= index < len(args) or type(args[index]) not in _MUTABLE:
            raise self.broken(f"argument {str(index)[:20]!r} cannot change")
        content = self.decode(data)
        if type(content) is not type(args[index]):
            raise self.broken(f"argument {index} cannot become a {type(content).__name__}")
        _replace_content(args[index], content)

    def _answer(self, message: dict) -> None:
        request = message.get("ask")
        if not isinstance(request, list) or not request or request[0] not in self._serves:
            raise self.broken(f"request not served here: {str(request)[:60]}")
        # The program's own exceptions, SystemExit included, are its answer to the call.
        try:
            answer = self._serves[request[0]](self, *request[1:])
        except (PeerGone, ProtocolError):
            raise
        except BaseException as error:  # noqa: BLE001
            answer = {"error": describe_exception(error)}
        self._send(answer)

    def _send(self, message: dict) -> None:
        payload = dumps(message)
        if len(payload) > MAXIMUM_MESSAGE_BYTES:
            payload = dumps({"error": [["ValueError"], f"a value of {len(payload)} bytes is too large to return"]})
        try:
            write_all(self._channel, struct.pack("!I", len(payload)) + payload)
        except OSError:
            raise self._gone() from None

    def _receive(self) -> dict:
        size = struct.unpack("!I", self._read(4))[0]
        if size > MAXIMUM_MESSAGE_BYTES:
            raise self.broken(f"a message of {size} bytes; at most {MAXIMUM_MESSAGE_BYTES}")
        try:
            message = loads(self._read(size))
        except ProtocolError as error:
            raise self.broken(str(error)) from error
        if not isinstance(message, dict):
            raise self.broken("a message is an object")
        return message

    def _read(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            try:
                part = os.read(self._channel, min(size - len(data), 1 << 20))
            except OSError:
                raise self._gone() from None
            if not part:
                raise self._gone()
            data += part
        return bytes(data)

    def broken(self, why: str) -> ProtocolError:
        """Marks the channel as one that proves nothing any more; the error to raise."""
        self.is_broken = True
        return ProtocolError(why)

    def _gone(self) -> PeerGone:
        self.is_broken = True
        return PeerGone("the other side closed the channel")


def serve_call(peer: Peer, handle: Any, encoded: list, kwargs: Any) -> dict:
    """The "call" operation: the value, and the mutable arguments as they are after the call."""
    args = tuple(peer.decode(item) for item in encoded)
    value = peer.object(handle)(*args, **peer.decode(kwargs))
    changed = [
        [index, after]
        for index, (arg, before) in enumerate(zip(args, encoded, strict=True))
        if type(arg) in _MUTABLE and (after := peer.encode(arg)) != before
    ]
    same = next((index for index, arg in enumerate(args) if arg is value and type(arg) in _MUTABLE), None)
    answer = {"value": peer.encode(value) if same is None else ["a", same]}
    return answer | {"changed": changed} if changed else answer


def serve_next(peer: Peer, handle: Any) -> dict:
    """The "next" operation: a list of the next item, or an empty one at the end."""
    for item in peer.object(handle):
        return {"value": peer.encode([item])}
    return {"value": peer.encode([])}


def serve_iter(peer: Peer, handle: Any) -> dict:
    """The "iter" operation."""
    return {"value": peer.export(iter(peer.object(handle)))}


def _list_of(data: Any) -> list:
    return data if isinstance(data, list) else []


def _replace_content(target: Any, content: Any) -> None:
    if isinstance(target, (list, bytearray)):
        target[:] = content
        return
    target.clear()
    target.update(content)
