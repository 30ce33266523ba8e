"""The jail's inside: executes the program's source and answers calls of its functions. Knows no test."""

import random
import sys
import traceback
import types
from collections.abc import Callable
from typing import Any

from codeft_eval.sandbox.python.rpc import Peer, serve_call, serve_iter, serve_next
from codeft_eval.sandbox.python.rpc_batch import serve_calls


def serve_program(peer: Peer) -> None:
    """Loads one program and serves it until the judge hangs up."""
    module = types.ModuleType("candidate")
    sys.modules["candidate"] = module
    random.seed(0)
    names: dict[str, list] = {}

    def load(_peer: Peer, source: Any) -> dict:
        exec(compile(source, "<candidate>", "exec"), module.__dict__)  # noqa: S102
        return {"value": None}

    def lookup(_peer: Peer, name: Any) -> dict:
        if name not in names:
            names[name] = peer.export(module.__dict__[name])
        return {"value": names[name]}

    operations = {
        "load": load,
        "lookup": lookup,
        "call": serve_call,
        "calls": serve_calls,
        "next": serve_next,
        "iter": serve_iter,
    }
    operations |= {"getattr": _serve_getattr, "setattr": _serve_setattr}
    peer.greet()
    peer.serve({name: _with_traceback(operation) for name, operation in operations.items()})


def _serve_getattr(peer: Peer, handle: Any, name: Any) -> dict:
    return {"value": peer.encode(getattr(peer.object(handle), name))}


def _serve_setattr(peer: Peer, handle: Any, name: Any, value: Any) -> dict:
    setattr(peer.object(handle), name, peer.decode(value))
    return {"value": None}


def _with_traceback(operation: Callable[..., dict]) -> Callable[..., dict]:
    """Prints the program's exceptions on its stderr, from the program's own frames on, before they are sent."""

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
