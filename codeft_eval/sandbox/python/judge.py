"""The verdict: runs a benchmark's own tests with the candidate as a remote call.

No model-written code is ever in this process. A pass means that the test code ran to its end with the candidate's
answers, compared here by values of built-in types.
"""

import builtins
import importlib
import sys
import traceback
from types import CodeType
from typing import Any

from codeft_eval.sandbox.python.rpc import Peer, PeerGone, Remote, serve_call, serve_iter, serve_next
from codeft_eval.sandbox.python.rpc_batch import at_once
from codeft_eval.sandbox.python.rpc_codec import ProtocolError
from codeft_eval.sandbox.python.rpc_errors import RemoteError

JUDGE_SERVES = {"call": serve_call, "next": serve_next, "iter": serve_iter}


def judge(peer: Peer, job: dict[str, Any]) -> dict[str, str]:
    """The verdict on one program: {"verdict", "reason", "detail"}."""
    try:
        peer.await_greeting()
    except (PeerGone, ProtocolError) as error:
        return {"verdict": "unscored", "reason": "jail", "detail": f"the candidate's jail did not start: {error}"}
    try:
        test = compile(job["test"], "<test>", "exec")
        failure = _load(peer, job)
        if failure:
            return failure
        namespace = _trusted_namespace(peer, job)
    except (PeerGone, ProtocolError) as error:
        return _channel_failure(error)
    except KeyError:
        return _failed("no_entry_point", f"the program defines no {job['entry_point']!r}")
    return _run_tests(peer, job, test, namespace)


def _load(peer: Peer, job: dict[str, Any]) -> dict[str, str] | None:
    try:
        peer.ask("load", job["source"])
    except Exception as error:
        if isinstance(error, ProtocolError):
            raise
        return _failed("memory" if isinstance(error, MemoryError) else "load_error", _describe(error))
    return None


def _trusted_namespace(peer: Peer, job: dict[str, Any]) -> dict[str, Any]:
    """What the tests see: the prompt's own helpers, the candidate, and classes that only the candidate defines."""
    namespace: dict[str, Any] = {"__name__": "judge", "at_once": at_once}
    exec(compile(job["prelude"], "<prompt>", "exec"), namespace)  # noqa: S102
    namespace[job["entry_point"]] = peer.ask("lookup", job["entry_point"])
    for name in set(job["names"]) - namespace.keys() - vars(builtins).keys():
        namespace[name] = importlib.import_module(name) if name in sys.stdlib_module_names else _Lazy(peer, name)
    return namespace


class _Lazy:
    """A name of the candidate's module, looked up when a test first uses it."""

    def __init__(self, peer: Peer, name: str) -> None:
        self._peer, self._name = peer, name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._remote()(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._remote(), name)

    def _remote(self) -> Remote:
        return self._peer.ask("lookup", self._name)


def _run_tests(peer: Peer, job: dict[str, Any], test: CodeType, namespace: dict[str, Any]) -> dict[str, str]:
    # The tests may raise anything, and every exception but none is a failure with a name.
    try:
        exec(test, namespace)  # noqa: S102
        check = namespace.get("check")
        if callable(check) and not isinstance(check, (Remote, _Lazy)):
            check(namespace[job["entry_point"]])
    except (PeerGone, ProtocolError) as error:
        return _channel_failure(error)
    except AssertionError as error:
        return _failed("wrong_answer", _failing_line(error, job["test"]) or _describe(error))
    except BaseException as error:  # noqa: BLE001
        return _failed("memory" if isinstance(error, MemoryError) else "exception", _describe(error))
    if peer.is_broken:
        return _failed("protocol", "a test went on after the candidate broke the channel")
    return {"verdict": "passed", "reason": "passed", "detail": ""}


def _channel_failure(error: BaseException) -> dict[str, str]:
    return _failed("exited" if isinstance(error, PeerGone) else "protocol", str(error))


def _failing_line(error: BaseException, test: str) -> str:
    numbers = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "<test>"]
    lines = test.splitlines()
    if not numbers or not numbers[-1] or numbers[-1] > len(lines):
        return ""
    return lines[numbers[-1] - 1].strip()[:500]


def _describe(error: BaseException) -> str:
    name = "" if isinstance(error, RemoteError) else f"{type(error).__name__}: "
    return f"{name}{error}"[:500]


def _failed(reason: str, detail: str) -> dict[str, str]:
    return {"verdict": "failed", "reason": reason, "detail": detail}
