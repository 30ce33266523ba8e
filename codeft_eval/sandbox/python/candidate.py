"""The isolated side: executes the program's source and answers calls of its functions. It never holds a test."""

from __future__ import annotations

import sys
import traceback
import types
from collections.abc import Callable
from typing import Any

from codeft_eval.sandbox.python.rpc import RpcChannel
from codeft_eval.sandbox.python.rpc_batch import serve_calls
from codeft_eval.sandbox.python.rpc_serving import CANDIDATE_OPERATIONS


def serve_program(channel: RpcChannel) -> None:
    """Load one program and serve its functions until the judge hangs up."""
    module = types.ModuleType("candidate")
    sys.modules["candidate"] = module

    def load(_channel: RpcChannel, source: Any) -> dict:
        # dont_inherit: the program must not inherit this module's own `from __future__` import.
        exec(compile(source, "<candidate>", "exec", dont_inherit=True), module.__dict__)  # noqa: S102  isolated
        return {"value": None}

    def lookup(_channel: RpcChannel, name: Any) -> dict:
        value = module.__dict__[name]
        if isinstance(value, type) and not issubclass(value, BaseException):
            channel.classes_under_test += (value,)
        return {"value": channel.export(value) if callable(value) else channel.encode(value)}

    operations = {"load": load, "lookup": lookup, "calls": serve_calls, **CANDIDATE_OPERATIONS}
    channel.send_ready()
    channel.serve({name: _with_traceback(operation) for name, operation in operations.items()})


def _with_traceback(operation: Callable[..., dict]) -> Callable[..., dict]:
    """Return ``operation`` printing the program's exceptions on stderr, from the program's own frames on."""

    def run(*operands: Any) -> dict:
        try:
            return operation(*operands)
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            own = [frame for frame in frames if frame.filename == "<candidate>"]
            lines = traceback.format_list(own) + traceback.format_exception_only(error)
            sys.stderr.write("".join(lines)[-8000:])
            sys.stderr.flush()
            raise

    return run
