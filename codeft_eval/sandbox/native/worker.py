"""The fork server for compilers and what they make: one jail a program, one namespace of processes a step.

Run by its owner as a script, as the fork server for Python is. Killing a step's first process ends everything that
the step started; the program's scratch goes with the worker that holds it. The worker lies outside of the step's
namespaces, so no program can see, signal or trace it.
"""

import json
import os
import resource
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from codeft_eval.sandbox.isolation import landlock, syscalls
from codeft_eval.sandbox.isolation.descriptors import read_line, write_all
from codeft_eval.sandbox.isolation.namespaces import SCRATCH, Namespaces, Root, mount_processes
from codeft_eval.sandbox.isolation.seccomp import workshop_program_filter, workshop_server_filter
from codeft_eval.sandbox.isolation.tiers import DEVICE_RIGHTS, ruleset_if_possible

SCRATCH_BYTES, SCRATCH_FILES = 384 << 20, 8192
OUTPUT_BYTES = 32768
"""The end of a step's output that is kept."""
NOT_STARTED, NOT_STARTED_MARK = 127, "the jail of this step does not start"


def main() -> None:
    """Serves programs until the owner closes the control socket."""
    control = socket.socket(fileno=int(sys.argv[1]))
    described = json.loads(sys.argv[2])
    links = tuple((path, target) for path, target in described["links"])
    root = Root(folders=tuple(described["folders"]), files=tuple(described["files"]), links=links, needs_processes=True)
    try:
        box = Box(root)
    except OSError as error:
        control.send(json.dumps({"refused": str(error)}).encode())
        return
    os.environ.clear()
    control.send(json.dumps({"ready": os.getpid()}).encode())
    while _serve_one(control, box):
        pass


class Box:
    """The jail around the calling fork server."""

    def __init__(self, root: Root) -> None:
        self._program_filter = workshop_program_filter()
        self.jail = Namespaces.enter(root)
        devices = [path for path in root.files if path.startswith("/dev/")]
        rights = [("/", landlock.WORKSHOP), *((path, DEVICE_RIGHTS) for path in devices)]
        self._rules = ruleset_if_possible(rights)
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
        syscalls.install_seccomp(workshop_server_filter())

    def confine(self, limits: dict[str, Any]) -> None:
        """Confines the calling process, the first one of a step."""
        mount_processes()
        for kind, bound in _bounds(limits):
            resource.setrlimit(kind, (bound, bound))
        syscalls.set_capabilities(0)
        if self._rules is not None:
            syscalls.landlock_restrict(self._rules)
        syscalls.install_seccomp(self._program_filter)


def _bounds(limits: dict[str, Any]) -> list[tuple[int, int]]:
    wanted = {
        resource.RLIMIT_CPU: limits["cpu_seconds"],
        # Address space would refuse V8 and the JVM, which reserve far more than they use.
        resource.RLIMIT_DATA: limits["memory_bytes"],
        resource.RLIMIT_FSIZE: limits["file_bytes"],
        resource.RLIMIT_NOFILE: 1024,
        resource.RLIMIT_NPROC: limits["num_threads"],
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    hard = {kind: resource.getrlimit(kind)[1] for kind in wanted}
    return [(kind, bound if hard[kind] < 0 else min(bound, hard[kind])) for kind, bound in wanted.items()]


def _serve_one(control: socket.socket, box: Box) -> bool:
    message, descriptors, _, _ = socket.recv_fds(control, 4096, 1)
    if not message:
        return False
    channel = descriptors[0]
    worker = os.fork()
    if worker == 0:
        os._exit(_work_or_say_why(box, channel, control.fileno()))
    os.close(channel)
    status = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
    control.send(json.dumps({"worker": status}).encode())
    # A worker that failed may have left a step behind; as process 1, ending here ends all of them.
    return status == 0


def _work_or_say_why(box: Box, channel: int, control: int) -> int:
    os.close(control)
    with os.fdopen(channel, "r+b", buffering=0) as lines:
        job = json.loads(read_line(lines.fileno()))
        try:
            report = _work(box, job)
        except OSError as error:
            report = {"refused": str(error)}
        write_all(lines.fileno(), json.dumps(report).encode() + b"\n")
    return 0 if "steps" in report else 1


def _work(box: Box, job: dict[str, Any]) -> dict[str, Any]:
    box.jail.mount_scratch(SCRATCH_BYTES, SCRATCH_FILES)
    for name, text in job["files"].items():
        os.makedirs(os.path.dirname(f"{SCRATCH}/{name}"), exist_ok=True)
        with open(f"{SCRATCH}/{name}", "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
    reports: list[dict[str, Any]] = []
    for step in job["steps"]:
        reports.append(_run_step(box, step, job["environment"]))
        if reports[-1]["status"] != 0:
            break
    return {"steps": reports}


def _run_step(box: Box, step: dict[str, Any], environment: dict[str, str]) -> dict[str, Any]:
    """Runs one command line and waits for it, its whole tree included."""
    output, errors = os.pipe(), os.pipe()
    started = time.monotonic()
    pid = box.jail.fork()
    if pid == 0:
        _become(lambda: _exec(box, step, environment, output[1], errors[1]), errors[1])
    os.close(output[1])
    os.close(errors[1])
    said, is_timely = _drain(pid, {"output": output[0], "errors": errors[0]}, started + step["limits"]["wall_seconds"])
    _, status, usage = os.wait4(pid, 0)
    return {
        "status": os.waitstatus_to_exitcode(status),
        "cpu": usage.ru_utime + usage.ru_stime,
        "wall": time.monotonic() - started,
        "exceeded": not is_timely,
        **{name: bytes(data).decode(errors="replace") for name, data in said.items()},
    }


def _become(program: Callable[[], None], errors: int) -> None:
    try:
        program()
    except OSError as error:
        os.write(errors, f"{NOT_STARTED_MARK}: {error}\n".encode())
    os._exit(NOT_STARTED)


def _exec(box: Box, step: dict[str, Any], environment: dict[str, str], output: int, errors: int) -> None:
    empty = os.open(os.devnull, os.O_RDWR)
    box.confine(step["limits"])
    for descriptor, target in ((empty, 0), (output, 1), (errors, 2)):
        os.dup2(descriptor, target)
    os.closerange(3, 1024)
    os.execve(step["command"][0], step["command"], environment)  # noqa: S606


def _drain(pid: int, pipes: dict[str, int], deadline: float) -> tuple[dict[str, bytearray], bool]:
    """Reads until the step's first process ends or its time is over, then ends what is left of it."""
    said = {name: bytearray() for name in pipes}
    handle = os.pidfd_open(pid)
    is_timely = False
    with selectors.DefaultSelector() as selector:
        selector.register(handle, selectors.EVENT_READ, "end")
        for name, descriptor in pipes.items():
            selector.register(descriptor, selectors.EVENT_READ, name)
        while not is_timely and (rest := deadline - time.monotonic()) > 0:
            ready = {key.data for key, _ in selector.select(rest)}
            is_timely = "end" in ready
            for name in ready - {"end"}:
                if not _take(pipes[name], said[name]):
                    selector.unregister(pipes[name])
    os.close(handle)
    if not is_timely:
        os.kill(pid, signal.SIGKILL)
    for name, descriptor in pipes.items():
        while _take(descriptor, said[name]):
            pass
        os.close(descriptor)
    return said, is_timely


def _take(descriptor: int, kept: bytearray) -> bool:
    data = os.read(descriptor, 65536)
    kept += data
    del kept[:-OUTPUT_BYTES]
    return bool(data)
