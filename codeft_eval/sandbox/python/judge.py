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
from codeft_eval.sandbox.python.assertions import RAN, without_marks
from codeft_eval.sandbox.python.rpc import ChannelClosed, RpcChannel
from codeft_eval.sandbox.python.rpc_batch import call_batched
from codeft_eval.sandbox.python.rpc_codec import ProtocolError
from codeft_eval.sandbox.python.rpc_errors import RemoteError
from codeft_eval.sandbox.python.rpc_proxies import RemoteProxy
from codeft_eval.sandbox.python.rpc_serving import TESTS_MODULE
from codeft_eval.sandbox.python.stop_iteration import StopIterationPlaces
from codeft_eval.sandbox.python.unittest_cases import run_test_cases


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
        namespace = _trusted_namespace(job)
        failure = _look_up(channel, job, namespace)
        if failure:
            return failure
    except (ChannelClosed, ProtocolError) as error:
        return _channel_failure(error)
    return _execute(channel, job, test, namespace)


def _compile(source: str, name: str) -> CodeType:
    # dont_inherit: benchmark code must not inherit this module's own `from __future__` import.
    return compile(source, name, "exec", dont_inherit=True)


def _load(channel: RpcChannel, job: dict[str, Any]) -> dict[str, str] | None:
    try:
        channel.request("load", job["source"])
    except ProtocolError:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001  a program may raise anything
        return _failed("memory" if isinstance(error, MemoryError) else "load_error", _describe(error))
    return None


def _trusted_namespace(job: dict[str, Any]) -> dict[str, Any]:
    """Return the tests' globals that are not the program's: the prompt's helpers and standard modules."""
    namespace: dict[str, Any] = {"__name__": TESTS_MODULE, "call_batched": call_batched}
    exec(_compile(job["prelude"], "<prompt>"), namespace)  # noqa: S102  trusted, as the tests are
    for name in _unknown(job["names"], namespace):
        if name in sys.stdlib_module_names:
            namespace[name] = importlib.import_module(name)
    return namespace


def _unknown(names: list[str], namespace: dict[str, Any]) -> list[str]:
    """Return the names that are neither in the namespace nor built in; names are sorted."""
    return [name for name in names if name not in namespace and not hasattr(builtins, name)]


def _look_up(channel: RpcChannel, job: dict[str, Any], namespace: dict[str, Any]) -> dict[str, str] | None:
    """Add the candidate, and what else of the program the tests name; return a failure to find the candidate."""
    own = [name for name in _unknown(job["names"], namespace) if name != job["entry_point"]]
    for name in (job["entry_point"], *own):
        try:
            namespace[name] = channel.request("lookup", name)
        except KeyError:
            if name == job["entry_point"]:
                return _failed("no_entry_point", f"the program defines no {name!r}")
        except ProtocolError:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001  a program's metaclass may raise anything
            return _failed("exception", _describe(error))
    return None


def _execute(channel: RpcChannel, job: dict[str, Any], test: CodeType, namespace: dict[str, Any]) -> dict[str, str]:
    channel.exceptions.may_stop_iteration = StopIterationPlaces(job["test"]).is_caught
    ran: set[int] = set()
    namespace[RAN] = ran.add
    try:
        exec(test, namespace)  # noqa: S102  the benchmark's own
        check = namespace.get("check")
        if callable(check) and not isinstance(check, RemoteProxy):
            check(namespace[job["entry_point"]])
        run_test_cases(namespace)
    except (ChannelClosed, ProtocolError) as error:
        return _channel_failure(error)
    except AssertionError as error:
        return _failed("wrong_answer", _failing_line(error, job["test"]) or _describe(error))
    except BaseException as error:  # noqa: BLE001  tests may raise anything: a failure with a name
        return _failed("memory" if isinstance(error, MemoryError) else "exception", _describe(error))
    if channel.is_broken:
        return _failed("protocol", "a test went on after the candidate broke the channel")
    never = [line for line in job["assertions"] if line not in ran]
    if never:
        return _failed("wrong_answer", f"never ran: {_line(job['test'], never[0])}")
    return {"verdict": "passed", "reason": "passed", "detail": ""}


def _channel_failure(error: BaseException) -> dict[str, str]:
    return _failed("exited" if isinstance(error, ChannelClosed) else "protocol", str(error))


def _failing_line(error: BaseException, test: str) -> str:
    numbers = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "<test>"]
    return _line(test, numbers[-1] or 0) if numbers else ""


def _line(test: str, number: int) -> str:
    lines = test.splitlines()
    return without_marks(lines[number - 1]).strip()[:500] if 0 < number <= len(lines) else ""


def _describe(error: BaseException) -> str:
    name = "" if isinstance(error, RemoteError) else f"{type(error).__name__}: "
    return f"{name}{error}"[:500]


def _failed(reason: str, detail: str) -> dict[str, str]:
    return {"verdict": "failed", "reason": reason, "detail": detail}
