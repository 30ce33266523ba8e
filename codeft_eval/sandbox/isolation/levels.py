"""Isolation levels: namespaces with Landlock and seccomp; Landlock and seccomp alone; none, where a user insists.

A level isolates the worker once and confines each child that it forks. Nothing here runs in the caller's process.
"""

from __future__ import annotations

import functools
import os
import resource
import sysconfig
import zoneinfo
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from codeft_eval.sandbox.isolation import landlock, syscalls
from codeft_eval.sandbox.isolation.namespaces import Namespaces, Root
from codeft_eval.sandbox.isolation.seccomp import program_filter, worker_filter
from codeft_eval.sandbox.programs import Limits

NAMESPACES, LANDLOCK, UNSAFE = "namespaces", "landlock", "unsafe"
LEVELS = (NAMESPACES, LANDLOCK)
"""Strongest first; ``UNSAFE`` is never selected by itself."""
DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")
DEVICE_RIGHTS = landlock.READ_FILE | landlock.WRITE_FILE


@dataclass(frozen=True, slots=True)
class IsolationLevel:
    """The fork and the confinement of children."""

    fork_candidate: Callable[[], int]
    confine_candidate: Callable[[Limits], None]
    confine_judge: Callable[[Limits], None]


def enter(name: str, libraries: Sequence[str] = ()) -> IsolationLevel:
    """Isolate the calling worker and return the confinement of its children, which may read ``libraries``.

    Raises:
        OSError: the kernel refuses a part of it.
    """
    return {NAMESPACES: _enter_namespaces, LANDLOCK: _enter_landlock, UNSAFE: _enter_nothing}[name](libraries)


def standard_library_folders() -> list[str]:
    """Return the folders that Python imports its standard library from."""
    return sorted({sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")})


def _time_zones() -> list[str]:
    return [folder for folder in zoneinfo.TZPATH if os.path.isdir(folder)]


def _enter_namespaces(libraries: Sequence[str]) -> IsolationLevel:
    program = _prepared_filter()
    folders = [*standard_library_folders(), *_time_zones(), *filter(os.path.isdir, libraries)]
    files = [*DEVICES, *filter(os.path.isfile, libraries)]
    namespaces = Namespaces.enter(Root(folders=tuple(folders), files=tuple(files)))
    # All but the scratch is mounted read-only; these rules add what mounts cannot refuse: devices, signals, sockets.
    rules = landlock.ruleset_if_supported(
        [("/", landlock.SCRATCH_RIGHTS), *((device, DEVICE_RIGHTS) for device in DEVICES)]
    )
    _install(worker_filter())

    def confine_candidate(limits: Limits) -> None:
        namespaces.mount_scratch(limits.file_bytes)
        confine_judge(limits)

    def confine_judge(limits: Limits) -> None:
        _limit(limits)
        syscalls.set_capabilities(0)
        if rules is not None:
            syscalls.landlock_restrict(rules)
        syscalls.install_seccomp(program)

    return IsolationLevel(namespaces.fork, confine_candidate, confine_judge)


def _enter_landlock(libraries: Sequence[str]) -> IsolationLevel:
    program = _prepared_filter()
    os.chdir("/")
    # Installed packages lie beneath the standard library; the benchmarks' answers may be among them.
    readable = [*_entries_without_packages(standard_library_folders()), *_time_zones(), *libraries]
    paths = [(path, landlock.READ) for path in readable]
    rules = landlock.ruleset([*paths, *((device, DEVICE_RIGHTS) for device in DEVICES)])
    _install(worker_filter())
    syscalls.landlock_restrict(rules)

    def confine(limits: Limits) -> None:
        _limit(limits)
        syscalls.set_capabilities(0)
        syscalls.install_seccomp(program)

    return IsolationLevel(syscalls.fork, confine, confine)


def _enter_nothing(_libraries: Sequence[str]) -> IsolationLevel:
    return IsolationLevel(syscalls.fork, _limit, _limit)


def _entries_without_packages(folders: list[str]) -> list[str]:
    hidden = ("site-packages", "dist-packages")
    return [entry.path for folder in folders for entry in os.scandir(folder) if entry.name not in hidden]


def _prepared_filter() -> bytes:
    program = program_filter()
    syscalls.seccomp_arguments(program)  # kept before any fork
    return program


def _install(program: bytes) -> None:
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    syscalls.install_seccomp(program)


def _limit(limits: Limits) -> None:
    for kind, bound in bounds(limits):
        resource.setrlimit(kind, bound)


@functools.cache
def bounds(limits: Limits) -> list[tuple[int, tuple[int, int]]]:
    """Return the limits to set, capped at the user's own hard limits."""
    wanted = {
        # Soft and hard alike: the soft limit's signal would not reach process 1 of a pid namespace.
        resource.RLIMIT_CPU: limits.cpu_seconds,
        resource.RLIMIT_AS: limits.memory_bytes,
        resource.RLIMIT_FSIZE: limits.file_bytes,
        resource.RLIMIT_NOFILE: limits.num_files,
        resource.RLIMIT_NPROC: limits.num_threads,
        resource.RLIMIT_STACK: 8 << 20,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    hard = {kind: resource.getrlimit(kind)[1] for kind in wanted}
    bounds = {
        kind: value if hard[kind] == resource.RLIM_INFINITY else min(value, hard[kind])
        for kind, value in wanted.items()
    }
    return [(kind, (value, value)) for kind, value in bounds.items()]
