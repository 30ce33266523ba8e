"""Many calls in one message: tests with hundreds of inputs would otherwise spend their time on messages."""

from collections.abc import Callable, Iterator
from typing import Any

from codeft_eval.sandbox.python.rpc import Peer, PeerGone, Remote
from codeft_eval.sandbox.python.rpc_codec import ProtocolError, dumps
from codeft_eval.sandbox.python.rpc_errors import describe_exception, restore_exception

_CALLS_PER_MESSAGE, _BYTES_PER_MESSAGE = 64, 4 << 20


def at_once(function: Any, calls: list[list]) -> Any:
    """A function that gives, one after another, the answers of `function` to `calls`, asked for in few messages.

    Only the order of its calls counts; the candidate gets copies, and what it does to them is not seen.
    """
    if not isinstance(function, Remote):
        return function
    peer, handle = (object.__getattribute__(function, name) for name in ("_peer", "_handle"))

    def answers() -> Iterator[Any]:
        start = 0
        while start < len(calls):
            found = _ask(peer, handle, calls[start : start + _CALLS_PER_MESSAGE])
            start += len(found)
            yield from found

    waiting = answers()
    return lambda *_: _result(peer, next(waiting))


def serve_calls(peer: Peer, handle: Any, calls: list) -> dict:
    """The "calls" operation: the value or error of each call, as many as fit a message."""
    function, answers, size = peer.object(handle), [], 0
    for encoded in calls:
        answers.append(_answer(peer, function, encoded))
        size += len(dumps(answers[-1]))
        if size > _BYTES_PER_MESSAGE:
            break
    return {"value": answers}


def _ask(peer: Peer, handle: int, calls: list[list]) -> list:
    encoded = [[peer.encode(argument) for argument in arguments] for arguments in calls]
    answers = peer.request(["calls", handle, encoded])["value"]
    if not isinstance(answers, list) or not 1 <= len(answers) <= len(calls):
        raise peer.broken(f"no list of up to {len(calls)} answers")
    return answers


def _result(peer: Peer, answer: Any) -> Any:
    if not isinstance(answer, dict) or not answer.keys() & {"value", "error"}:
        raise peer.broken("neither value nor error in an answer")
    if "error" in answer:
        raise restore_exception(answer["error"])
    return peer.decode(answer["value"])


def _answer(peer: Peer, function: Callable[..., Any], encoded: list) -> dict:
    # As for a single call, what the program raises is its answer.
    try:
        return {"value": peer.encode(function(*(peer.decode(item) for item in encoded)))}
    except (PeerGone, ProtocolError):
        raise
    except BaseException as error:  # noqa: BLE001
        return {"error": describe_exception(error)}
