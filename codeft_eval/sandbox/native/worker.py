"""The native worker: a fork server for compilers and their programs; one scratch a role, one pid namespace a step.

Started as a script of its own, like the Python worker. A program has two job processes, of its judge and its candidate.
Each holds a scratch of its own, and each step is a child of it. Killing a step's first process ends everything that the
step started; the scratch goes with the job process, which lies outside of the steps' namespaces: no program can see,
signal or trace it, and no candidate the judge's files.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import resource
import selectors
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from codeft_eval.sandbox.isolation import landlock, syscalls
from codeft_eval.sandbox.isolation.descriptors import read_line, write_all
from codeft_eval.sandbox.isolation.levels import DEVICE_RIGHTS
from codeft_eval.sandbox.isolation.namespaces import SCRATCH, Namespaces, Root, mount_processes
from codeft_eval.sandbox.isolation.seccomp import toolchain_program_filter, toolchain_worker_filter

SCRATCH_BYTES, SCRATCH_FILES = 384 << 20, 8192
OUTPUT_BYTES = 32768
"""The end of a step's output that is kept."""
KEPT_BYTES = 4 << 20
"""A larger program is built again for each completion; node and JVM need few bytes, a Rust judge 0.4 MB."""
_NOT_STARTED = 127
_FREE_DESCRIPTOR = 64


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
    message, descriptors, _, _ = socket.recv_fds(control, 4096, 2)
    if not message:
        return False
    requests, answers = os.pipe(), os.pipe()
    ends = {"judge": (answers[0], requests[1]), "candidate": (requests[0], answers[1])}
    jobs = dict(zip(ends, descriptors, strict=True))
    processes = [_fork_job(isolation, jobs, ends, role, control) for role in ends]
    for descriptor in (*descriptors, *requests, *answers):
        os.close(descriptor)
    statuses = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]
    control.send(json.dumps({"jobs": statuses}).encode())
    # A job that failed may have left a step behind; as process 1, ending here ends all of them.
    return not any(statuses)


def _fork_job(
    isolation: StepIsolation,
    channels: dict[str, int],
    ends: dict[str, tuple[int, int]],
    role: str,
    control: socket.socket,
) -> int:
    """Fork the job process of a role, with its own channel and its own ends of the pipes between the two."""
    process = os.fork()
    if process:
        return process
    control.close()
    for other in ends.keys() - {role}:
        for descriptor in (channels[other], *ends[other]):
            os.close(descriptor)
    status = 0
    try:
        status = _handle_job(isolation, channels[role], ends[role])
    except OSError:
        status = 0  # the pool has given the job up
    finally:
        os._exit(status)


def _handle_job(isolation: StepIsolation, channel: int, ends: tuple[int, int]) -> int:
    """Build, await the pool's signal, run the last step, and report on each; return an exit status.

    A channel that the pool closes ends the job, and the step that runs.
    """
    job = json.loads(read_line(channel))
    try:
        steps = _build(isolation, job, channel)
        report: dict[str, Any] = {"steps": steps}
        if _succeeded(steps):
            report["built"] = _built_files(job["built"])
    except OSError as error:
        write_all(channel, json.dumps({"refused": str(error)}).encode() + b"\n")
        return 1
    write_all(channel, json.dumps(report).encode() + b"\n")
    if not _succeeded(steps) or not os.read(channel, 1):
        return 0
    last = _run_step(isolation, job["last"], job["environment"], channel, ends)
    write_all(channel, json.dumps({"steps": [last]}).encode() + b"\n")
    return 0


def _build(isolation: StepIsolation, job: dict[str, Any], channel: int) -> list[dict[str, Any]]:
    """Write the job's files to a new scratch folder and run its steps, up to the first that fails."""
    isolation.namespaces.mount_scratch(SCRATCH_BYTES, SCRATCH_FILES)
    for name, data in job["files"].items():
        path = Path(SCRATCH, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(data))
        path.chmod(0o755)
    reports: list[dict[str, Any]] = []
    for step in job["steps"]:
        reports.append(_run_step(isolation, step, job["environment"], channel))
        if reports[-1]["status"] != 0:
            break
    return reports


def _succeeded(steps: list[dict[str, Any]]) -> bool:
    return all(step["status"] == 0 for step in steps)


def _built_files(patterns: list[str]) -> dict[str, str]:
    """Return what the last step needs of the scratch folder, or nothing where it is too large to be kept."""
    paths = [path for pattern in patterns for path in sorted(Path(SCRATCH).glob(pattern))]
    if sum(path.stat().st_size for path in paths) > KEPT_BYTES:
        return {}
    return {str(path.relative_to(SCRATCH)): base64.b64encode(path.read_bytes()).decode() for path in paths}


def _run_step(
    isolation: StepIsolation,
    step: dict[str, Any],
    environment: dict[str, str],
    channel: int,
    ends: tuple[int, ...] = (),
) -> dict[str, Any]:
    """Run one command line and wait for it and all its descendants; the end of ``channel`` ends them earlier."""
    output, errors, refusal = os.pipe(), os.pipe(), os.pipe()
    started = time.monotonic()
    pid = isolation.namespaces.fork()
    if pid == 0:
        _exec_child(isolation, step, environment, (output[1], errors[1], refusal[1]), ends)
    for descriptor in (output[1], errors[1], refusal[1], *ends):
        os.close(descriptor)
    pipes = {"output": output[0], "errors": errors[0]}
    streams, ending = _drain(pid, pipes, channel, started + step["limits"]["wall_seconds"])
    _, status, usage = os.wait4(pid, 0)
    with os.fdopen(refusal[0], "rb") as reader:
        reason = reader.read().decode(errors="replace")
    return {
        "refused": reason,
        "status": os.waitstatus_to_exitcode(status),
        "cpu": usage.ru_utime + usage.ru_stime,
        "wall": time.monotonic() - started,
        "ending": ending,
        **{name: bytes(data).decode(errors="replace") for name, data in streams.items()},
    }


def _exec_child(
    isolation: StepIsolation,
    step: dict[str, Any],
    environment: dict[str, str],
    pipes: tuple[int, int, int],
    ends: tuple[int, ...],
) -> NoReturn:
    """Become the step's command; where that fails, write the reason on the third pipe and exit.

    That pipe closes at ``execve``, so that no program can claim that its isolation did not start. The ends of the
    pipes between judge and candidate become descriptors 3 and 4.
    """
    refusal = fcntl.fcntl(pipes[2], fcntl.F_DUPFD_CLOEXEC, _FREE_DESCRIPTOR)
    try:
        empty = os.open(os.devnull, os.O_RDWR)
        isolation.confine(step["limits"])
        # Away from the low numbers first, which may be one another's targets.
        sources = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, _FREE_DESCRIPTOR) for one in (empty, *pipes[:2], *ends)]
        for target, source in enumerate(sources):
            os.dup2(source, target)
        os.closerange(len(sources), refusal)
        os.closerange(refusal + 1, 1024)
        os.execve(step["command"][0], step["command"], environment)  # noqa: S606  confined above
    except OSError as error:
        os.write(refusal, str(error).encode())
    os._exit(_NOT_STARTED)


def _drain(pid: int, pipes: dict[str, int], channel: int, deadline: float) -> tuple[dict[str, bytearray], str]:
    """Read until the step's first process ends, its time is over or the pool stops it; end the remaining ones.

    Returns:
        What each pipe held, and which of the three came first: ``end``, ``deadline`` or ``stop``.
    """
    streams = {name: bytearray() for name in pipes}
    handle = os.pidfd_open(pid)
    sources = {"end": handle, "stop": channel, **pipes}
    ready: set[str] = set()
    with selectors.DefaultSelector() as selector:
        for name, descriptor in sources.items():
            selector.register(descriptor, selectors.EVENT_READ, name)
        while not ready & {"end", "stop"} and (rest := deadline - time.monotonic()) > 0:
            ready = {key.data for key, _ in selector.select(rest)}
            for name in ready & pipes.keys():
                if not _read_available(pipes[name], streams[name]):
                    selector.unregister(pipes[name])
    os.close(handle)
    ending = next((name for name in ("end", "stop") if name in ready), "deadline")
    if ending != "end":
        os.kill(pid, signal.SIGKILL)
    for name, descriptor in pipes.items():
        while _read_available(descriptor, streams[name]):
            pass
        os.close(descriptor)
    return streams, ending


def _read_available(descriptor: int, kept: bytearray) -> bool:
    """Append to ``kept``, of which only the end stays; return whether the writer is still there."""
    data = os.read(descriptor, 65536)
    kept += data
    del kept[:-OUTPUT_BYTES]
    return bool(data)
