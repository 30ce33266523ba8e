"""The native worker: a fork server for compilers and their programs; one scratch a program, one pid namespace a step.

Started as a script of its own, like the Python worker. Each program gets a job process that holds its scratch, and each
step is a child of that process. Killing a step's first process ends everything that the step started; the scratch goes
with the job process, which lies outside of the steps' namespaces: no program can see, signal or trace it.
"""

from __future__ import annotations

import json
import os
import resource
import selectors
import signal
import socket
import sys
import time
from typing import Any, NoReturn

from codeft_eval.sandbox.isolation import landlock, syscalls
from codeft_eval.sandbox.isolation.descriptors import read_line, write_all
from codeft_eval.sandbox.isolation.levels import DEVICE_RIGHTS
from codeft_eval.sandbox.isolation.namespaces import SCRATCH, Namespaces, Root, mount_processes
from codeft_eval.sandbox.isolation.seccomp import toolchain_program_filter, toolchain_worker_filter

SCRATCH_BYTES, SCRATCH_FILES = 384 << 20, 8192
OUTPUT_BYTES = 32768
"""The end of a step's output that is kept."""
_NOT_STARTED = 127


def main() -> None:
    """Serve programs until the pool closes the control socket."""
    control = socket.socket(fileno=int(sys.argv[1]))
    fields = json.loads(sys.argv[2])
    links = tuple((path, target) for path, target in fields["links"])
    root = Root(folders=tuple(fields["folders"]), files=tuple(fields["files"]), links=links, needs_processes=True)
    try:
        isolation = StepIsolation(root)
    except OSError as error:
        control.send(json.dumps({"refused": str(error)}).encode())
        return
    os.environ.clear()
    control.send(json.dumps({"ready": os.getpid()}).encode())
    while _serve_one(control, isolation):
        pass


class StepIsolation:
    """The namespaces of the calling worker, and the confinement of each step in them."""

    def __init__(self, root: Root) -> None:
        self._program_filter = toolchain_program_filter()
        self.namespaces = Namespaces.enter(root)
        devices = [path for path in root.files if path.startswith("/dev/")]
        rights = [("/", landlock.TOOLCHAIN_RIGHTS), *((path, DEVICE_RIGHTS) for path in devices)]
        self._rules = landlock.ruleset_if_supported(rights)
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
        syscalls.install_seccomp(toolchain_worker_filter())

    def confine(self, limits: dict[str, Any]) -> None:
        """Confine the calling process, the first one of a step."""
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


def _serve_one(control: socket.socket, isolation: StepIsolation) -> bool:
    message, descriptors, _, _ = socket.recv_fds(control, 4096, 1)
    if not message:
        return False
    channel = descriptors[0]
    job_process = os.fork()
    if job_process == 0:
        os._exit(_handle_job(isolation, channel, control.fileno()))
    os.close(channel)
    status = os.waitstatus_to_exitcode(os.waitpid(job_process, 0)[1])
    control.send(json.dumps({"job": status}).encode())
    # A job that failed may have left a step behind; as process 1, ending here ends all of them.
    return status == 0


def _handle_job(isolation: StepIsolation, channel: int, control: int) -> int:
    """Read a job, run it and send its report, or the reason why it could not start; return an exit status."""
    os.close(control)
    with os.fdopen(channel, "r+b", buffering=0) as lines:
        job = json.loads(read_line(lines.fileno()))
        try:
            report = _run_steps(isolation, job)
        except OSError as error:
            report = {"refused": str(error)}
        write_all(lines.fileno(), json.dumps(report).encode() + b"\n")
    return 0 if "steps" in report else 1


def _run_steps(isolation: StepIsolation, job: dict[str, Any]) -> dict[str, Any]:
    isolation.namespaces.mount_scratch(SCRATCH_BYTES, SCRATCH_FILES)
    for name, text in job["files"].items():
        os.makedirs(os.path.dirname(f"{SCRATCH}/{name}"), exist_ok=True)
        with open(f"{SCRATCH}/{name}", "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
    reports: list[dict[str, Any]] = []
    for step in job["steps"]:
        reports.append(_run_step(isolation, step, job["environment"]))
        if reports[-1]["status"] != 0:
            break
    return {"steps": reports}


def _run_step(isolation: StepIsolation, step: dict[str, Any], environment: dict[str, str]) -> dict[str, Any]:
    """Run one command line and wait for it and all its descendants."""
    output, errors, refusal = os.pipe(), os.pipe(), os.pipe()
    started = time.monotonic()
    pid = isolation.namespaces.fork()
    if pid == 0:
        _exec_child(isolation, step, environment, (output[1], errors[1], refusal[1]))
    for _, write_end in (output, errors, refusal):
        os.close(write_end)
    streams, is_timely = _drain(
        pid, {"output": output[0], "errors": errors[0]}, started + step["limits"]["wall_seconds"]
    )
    _, status, usage = os.wait4(pid, 0)
    with os.fdopen(refusal[0], "rb") as reader:
        reason = reader.read().decode(errors="replace")
    return {
        "refused": reason,
        "status": os.waitstatus_to_exitcode(status),
        "cpu": usage.ru_utime + usage.ru_stime,
        "wall": time.monotonic() - started,
        "exceeded": not is_timely,
        **{name: bytes(data).decode(errors="replace") for name, data in streams.items()},
    }


def _exec_child(
    isolation: StepIsolation, step: dict[str, Any], environment: dict[str, str], pipes: tuple[int, int, int]
) -> NoReturn:
    """Become the step's command; where that fails, write the reason on the third pipe and exit.

    That pipe closes at ``execve``, so that no program can claim that its isolation did not start.
    """
    output, errors, refusal = pipes
    try:
        empty = os.open(os.devnull, os.O_RDWR)
        isolation.confine(step["limits"])
        for descriptor, target in ((empty, 0), (output, 1), (errors, 2)):
            os.dup2(descriptor, target)
        os.closerange(3, refusal)
        os.closerange(refusal + 1, 1024)
        os.execve(step["command"][0], step["command"], environment)  # noqa: S606  confined above
    except OSError as error:
        os.write(refusal, str(error).encode())
    os._exit(_NOT_STARTED)


def _drain(pid: int, pipes: dict[str, int], deadline: float) -> tuple[dict[str, bytearray], bool]:
    """Read until the step's first process ends or its time is over, then end the remaining ones."""
    streams = {name: bytearray() for name in pipes}
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
                if not _read_available(pipes[name], streams[name]):
                    selector.unregister(pipes[name])
    os.close(handle)
    if not is_timely:
        os.kill(pid, signal.SIGKILL)
    for name, descriptor in pipes.items():
        while _read_available(descriptor, streams[name]):
            pass
        os.close(descriptor)
    return streams, is_timely


def _read_available(descriptor: int, kept: bytearray) -> bool:
    """Append to ``kept``, of which only the end stays; return whether the writer is still there."""
    data = os.read(descriptor, 65536)
    kept += data
    del kept[:-OUTPUT_BYTES]
    return bool(data)
