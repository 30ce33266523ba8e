"""The Python worker: a fork server that isolates itself and forks a judge and a candidate for each program.

Started by ``worker_process`` as a script of its own. It holds no secret: tests reach only the judge
that it forks, through a socket it does not read, so a candidate forked from it has nothing to find in its memory.
"""

from __future__ import annotations

import gc
import importlib
import itertools
import json
import os
import random
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable

from codeft_eval.sandbox.isolation import levels, syscalls
from codeft_eval.sandbox.isolation.descriptors import read_line, write_all
from codeft_eval.sandbox.isolation.levels import IsolationLevel
from codeft_eval.sandbox.programs import Limits
from codeft_eval.sandbox.python import adapted_modules, candidate, judge
from codeft_eval.sandbox.python.libraries import Libraries, import_libraries
from codeft_eval.sandbox.python.rpc import RpcChannel
from codeft_eval.sandbox.python.rpc_serving import JUDGE_OPERATIONS

# The most imported modules, loaded once; each program imports the rest of the standard library by itself.
PRELOADED = (
    *("abc", "ast", "base64", "bisect", "calendar", "cmath", "collections", "contextlib", "copy"),
    *("ctypes", "dataclasses", "datetime", "decimal", "enum", "fractions", "functools", "heapq"),
    *("inspect", "io", "itertools", "json", "math", "numbers", "operator", "queue", "random", "re"),
    *("statistics", "string", "struct", "textwrap", "threading", "time", "traceback", "typing"),
)

OUT_OF_MEMORY = 71
"""Exit status of a child that ran out of memory; the interpreter itself exits with 0, 1, 2 or 120."""
_WARM_UP = "import math\ndef f(items, x):\n    items.append(x)\n    return {items[0]: (x,)}\n"


def main() -> None:
    """Serve programs until the pool closes the control socket."""
    control = socket.socket(fileno=int(sys.argv[1]))
    name, libraries = _configuration(sys.argv[2])
    for module in PRELOADED:
        importlib.import_module(module)
    adapted_modules.install()
    import_libraries(libraries)
    _warm_up()
    try:
        level = levels.enter(name, libraries.paths)
    except OSError as error:
        control.send(json.dumps({"refused": str(error)}).encode())
        return
    os.environ.clear()
    sys.dont_write_bytecode = True
    sys.path[:] = levels.standard_library_folders() + [
        path for path in sys.path if path.endswith("lib-dynload") and "codeft" not in path
    ]
    sys.argv[:] = ["candidate"]
    random.seed(0)
    gc.collect()
    gc.freeze()
    gc.disable()
    assert threading.active_count() == 1, threading.enumerate()  # syscalls.fork skips Python's fork handlers
    control.send(json.dumps({"ready": os.getpid()}).encode())
    while _serve_one(control, level):
        pass


def _configuration(text: str) -> tuple[str, Libraries]:
    configuration = json.loads(text)
    return configuration["level"], Libraries(**configuration["libraries"])


def _warm_up() -> None:
    """Run one trusted program a few times, so that the interpreter's caches are filled before they are shared.

    The interpreter specializes bytecode in place, and every page that a child writes is copied.
    """
    job = {
        "source": _WARM_UP,
        "entry_point": "f",
        "prelude": "",
        "test": "def check(f):\n    assert f([1], x=2) == {1: (2,)}",
        "names": [],
        "assertions": [],
    }
    for _ in range(16):
        judge_end, candidate_end = socket.socketpair()
        inside = threading.Thread(target=candidate.serve_program, args=(RpcChannel(candidate_end.fileno(), {}),))
        inside.start()
        verdict = judge.run_tests(RpcChannel(judge_end.fileno(), JUDGE_OPERATIONS), job)
        judge_end.close()
        inside.join()
        candidate_end.close()
        assert verdict["verdict"] == "passed", verdict
    del sys.modules["candidate"]


def _serve_one(control: socket.socket, level: IsolationLevel) -> bool:
    message, descriptors, _, _ = socket.recv_fds(control, 4096, 2)
    if not message:
        return False
    limits = Limits(**json.loads(message))
    levels.bounds(limits)  # kept before the fork: each child would compute them again
    job_descriptor, stderr = descriptors
    judge_end, candidate_end = socket.socketpair()
    children = {
        "candidate": _fork(level.fork_candidate, lambda: _run_candidate(level, limits, candidate_end.fileno(), stderr)),
        "judge": _fork(syscalls.fork, lambda: _run_judge(level, limits, judge_end.fileno(), job_descriptor)),
    }
    for descriptor in (job_descriptor, stderr):
        os.close(descriptor)
    judge_end.close()
    candidate_end.close()
    report = _wait(children, limits.wall_seconds, control)
    control.send(json.dumps(report).encode())
    return True


def _fork(fork: Callable[[], int], child: Callable[[], None]) -> int:
    pid = fork()
    if pid:
        return pid
    status = 1
    try:
        child()
        status = 0
    except MemoryError:
        status = OUT_OF_MEMORY
    except BaseException:  # noqa: BLE001  printed here; the parent sees only the status
        traceback.print_exc()
    finally:
        os._exit(status)


def _run_candidate(level: IsolationLevel, limits: Limits, channel: int, stderr: int) -> None:
    level.confine_candidate(limits)
    _keep_only(channel, stderr=stderr)
    gc.enable()
    candidate.serve_program(RpcChannel(channel, {}))


def _run_judge(level: IsolationLevel, limits: Limits, channel: int, job_descriptor: int) -> None:
    level.confine_judge(limits)
    _keep_only(channel, job_descriptor)
    gc.enable()
    job = json.loads(read_line(job_descriptor))
    verdict = judge.run_tests(RpcChannel(channel, JUDGE_OPERATIONS), job)
    write_all(job_descriptor, json.dumps(verdict).encode() + b"\n")


def _keep_only(*kept: int, stderr: int | None = None) -> None:
    """Close every descriptor but the given ones; standard input and output become empty."""
    empty = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(empty, descriptor)
    if stderr is not None:
        os.dup2(stderr, 2)
    bounds = [2, *sorted(kept), 1024]
    for low, high in itertools.pairwise(bounds):
        os.closerange(low + 1, high)


def _wait(children: dict[str, int], wall_seconds: float, control: socket.socket) -> dict[str, dict]:
    """Wait for the judge, then end the candidate; past the deadline, or when the pool is gone, end both."""
    deadline = time.monotonic() + wall_seconds
    judge_handle = os.pidfd_open(children["judge"])
    is_timely = judge_handle in select.select([judge_handle, control], [], [], wall_seconds)[0]
    os.close(judge_handle)
    report = {"judge": _reap(children["judge"], kill=not is_timely)}
    report["candidate"] = _reap(children["candidate"], kill=True)
    report["wall"] = {"seconds": wall_seconds - (deadline - time.monotonic()), "exceeded": not is_timely}
    return report


def _reap(pid: int, *, kill: bool) -> dict:
    # A candidate that ended by itself has left its status; only a living one is killed.
    ended, status, usage = os.wait4(pid, os.WNOHANG)
    killed = not ended and kill
    if not ended:
        if kill:
            os.kill(pid, signal.SIGKILL)
        _, status, usage = os.wait4(pid, 0)
    return {"status": os.waitstatus_to_exitcode(status), "killed": killed, "cpu": usage.ru_utime + usage.ru_stime}


if __name__ == "__main__":
    main()
