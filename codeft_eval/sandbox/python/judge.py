"""The judge, a trusted process: runs a benchmark's own tests with the candidate as a remote call.

No model-written code is ever in this process. A pass means that the test code ran to its end with the candidate's
answers, compared here by values of built-in types.
"""

from __future__ import annotations

import builtins
import importlib
import sys
import traceback
from types import CodeType
from typing import Any

from codeft_eval.sandbox.programs import NOT_ISOLATED
from codeft_eval.sandbox.python.rpc import ChannelClosed, RemoteProxy, RpcChannel, serve_call, serve_iter, serve_next
from codeft_eval.sandbox.python.rpc_batch import call_batched
from codeft_eval.sandbox.python.rpc_codec import ProtocolError
from codeft_eval.sandbox.python.rpc_errors import RemoteError

SERVED_OPERATIONS = {"call": serve_call, "next": serve_next, "iter": serve_iter}
"""The candidate may call objects that a test passed to it, and nothing else of this process."""


def run_tests(channel: RpcChannel, job: dict[str, Any]) -> dict[str, str]:
    """Return the verdict on one program: {"verdict", "reason", "detail"}."""
    try:
        channel.await_ready()
    except (ChannelClosed, ProtocolError) as error:
        detail = f"the candidate's isolation did not start: {error}"
        return {"verdict": "unscored", "reason": NOT_ISOLATED, "detail": detail}
    try:
        test = _compile(job["test"], "<test>")
        failure = _load(channel, job)
        if failure:
            return failure
        namespace = _trusted_namespace(channel, job)
    except (ChannelClosed, ProtocolError) as error:
        return _channel_failure(error)
    except KeyError:
        return _failed("no_entry_point", f"the program defines no {job['entry_point']!r}")
    return _execute(channel, job, test, namespace)


def _compile(source: str, name: str) -> CodeType:
    # dont_inherit: benchmark code must not inherit this module's own `from __future__` import.
    return compile(source, name, "exec", dont_inherit=True)


def _load(channel: RpcChannel, job: dict[str, Any]) -> dict[str, str] | None:
    try:
        channel.request("load", job["source"])
    except Exception as error:
        if isinstance(error, ProtocolError):
            raise
        return _failed("memory" if isinstance(error, MemoryError) else "load_error", _describe(error))
    return None


def _trusted_namespace(channel: RpcChannel, job: dict[str, Any]) -> dict[str, Any]:
    """Return the tests' globals: the prompt's helpers, the candidate, and classes that only the candidate defines."""
    namespace: dict[str, Any] = {"__name__": "judge", "call_batched": call_batched}
    exec(_compile(job["prelude"], "<prompt>"), namespace)  # noqa: S102  trusted, as the tests are
    namespace[job["entry_point"]] = channel.request("lookup", job["entry_point"])
    for name in set(job["names"]) - namespace.keys() - vars(builtins).keys():
        is_module = name in sys.stdlib_module_names
        namespace[name] = importlib.import_module(name) if is_module else _LazyProxy(channel, name)
    return namespace


class _LazyProxy:
    """A name of the candidate's module, looked up when a test first uses it."""

    def __init__(self, channel: RpcChannel, name: str) -> None:
        self._channel, self._name = channel, name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._remote()(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._remote(), name)

    def _remote(self) -> RemoteProxy:
        return self._channel.request("lookup", self._name)


def _execute(channel: RpcChannel, job: dict[str, Any], test: CodeType, namespace: dict[str, Any]) -> dict[str, str]:
    try:
        exec(test, namespace)  # noqa: S102  the benchmark's own
        check = namespace.get("check")
        if callable(check) and not isinstance(check, (RemoteProxy, _LazyProxy)):
            check(namespace[job["entry_point"]])
    except (ChannelClosed, ProtocolError) as error:
        return _channel_failure(error)
    except AssertionError as error:
        return _failed("wrong_answer", _failing_line(error, job["test"]) or _describe(error))
    except BaseException as error:  # noqa: BLE001  tests may raise anything: a failure with a name
        return _failed("memory" if isinstance(error, MemoryError) else "exception", _describe(error))
    if channel.is_broken:
        return _failed("protocol", "a test went on after the candidate broke the channel")
    return {"verdict": "passed", "reason": "passed", "detail": ""}


def _channel_failure(error: BaseException) -> dict[str, str]:
    return _failed("exited" if isinstance(error, ChannelClosed) else "protocol", str(error))


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
