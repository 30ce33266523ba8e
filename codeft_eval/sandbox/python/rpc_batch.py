"""Batches of calls in one message: tests with hundreds of inputs would otherwise spend their time on messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from codeft_eval.sandbox.python.rpc import ChannelClosed, RpcChannel
from codeft_eval.sandbox.python.rpc_codec import ProtocolError, dumps
from codeft_eval.sandbox.python.rpc_proxies import RemoteProxy, channel_of, handle_of

_CALLS_PER_MESSAGE, _BYTES_PER_MESSAGE = 64, 4 << 20


def call_batched(function: Any, calls: list[list]) -> Any:
    """Return a function that returns, call by call, the answers of ``function`` to ``calls``, sent in few messages.

    Only the order of its calls counts; the candidate gets copies of the arguments, and changes to them are not seen.
    """
    if not isinstance(function, RemoteProxy):
        return function
    channel, handle = channel_of(function), handle_of(function)

    def answers() -> Iterator[Any]:
        start = 0
        while start < len(calls):
            found = _exchange_batch(channel, handle, calls[start : start + _CALLS_PER_MESSAGE])
            start += len(found)
            yield from found

    remaining = answers()
    return lambda *_: _result(channel, next(remaining))


def serve_calls(channel: RpcChannel, handle: Any, calls: list) -> dict:
    """Serve "calls": return the value or error of each call, as many as fit a message."""
    function, answers, size = channel.object(handle), [], 0
    for encoded in calls:
        answers.append(_answer(channel, function, encoded))
        size += len(dumps(answers[-1]))
        if size > _BYTES_PER_MESSAGE:
            break
    return {"value": answers}


def _exchange_batch(channel: RpcChannel, handle: int, calls: list[list]) -> list:
    encoded = [[channel.encode(argument) for argument in arguments] for arguments in calls]
    answers = channel.exchange(["calls", handle, encoded])["value"]
    if not isinstance(answers, list) or not 1 <= len(answers) <= len(calls):
        raise channel.mark_broken(f"no list of up to {len(calls)} answers")
    return answers


def _result(channel: RpcChannel, answer: Any) -> Any:
    if not isinstance(answer, dict) or not answer.keys() & {"value", "error"}:
        raise channel.mark_broken("neither value nor error in an answer")
    if "error" in answer:
        raise channel.exceptions.restore(answer["error"])
    return channel.decode(answer["value"])


def _answer(channel: RpcChannel, function: Callable[..., Any], encoded: list) -> dict:
    try:
        return {"value": channel.encode(function(*(channel.decode(item) for item in encoded)))}
    except (ChannelClosed, ProtocolError):
        raise
    except BaseException as error:  # noqa: BLE001  the program's own is its answer, as for a single call
        return {"error": channel.exceptions.describe(error)}
