"""The isolated side: executes the program's source and answers calls of its functions. It never holds a test."""

from __future__ import annotations

import random
import sys
import traceback
import types
from collections.abc import Callable
from typing import Any

from codeft_eval.sandbox.python.rpc import RpcChannel, serve_call, serve_iter, serve_next
from codeft_eval.sandbox.python.rpc_batch import serve_calls


def serve_program(channel: RpcChannel) -> None:
    """Load one program and serve its functions until the judge hangs up."""
    module = types.ModuleType("candidate")
    sys.modules["candidate"] = module
    random.seed(0)
    names: dict[str, list] = {}

    def load(_channel: RpcChannel, source: Any) -> dict:
        # dont_inherit: the program must not inherit this module's own `from __future__` import.
        exec(compile(source, "<candidate>", "exec", dont_inherit=True), module.__dict__)  # noqa: S102  isolated
        return {"value": None}

    def lookup(_channel: RpcChannel, name: Any) -> dict:
        if name not in names:
            names[name] = channel.export(module.__dict__[name])
        return {"value": names[name]}

    operations = {
        "load": load,
        "lookup": lookup,
        "call": serve_call,
        "calls": serve_calls,
        "next": serve_next,
        "iter": serve_iter,
        "getattr": _serve_getattr,
        "setattr": _serve_setattr,
    }
    channel.send_ready()
    channel.serve({name: _with_traceback(operation) for name, operation in operations.items()})


def _serve_getattr(channel: RpcChannel, handle: Any, name: Any) -> dict:
    return {"value": channel.encode(getattr(channel.object(handle), name))}


def _serve_setattr(channel: RpcChannel, handle: Any, name: Any, value: Any) -> dict:
    setattr(channel.object(handle), name, channel.decode(value))
    return {"value": None}


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
