"""The jails: namespaces with Landlock and seccomp; Landlock and seccomp alone; none, where a user insists.

A tier prepares the fork server once and confines each child it forks. Nothing here runs in the caller's process.
"""

import functools
import os
import resource
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass

from codeft_eval.sandbox.isolation import landlock, syscalls
from codeft_eval.sandbox.isolation.namespaces import Namespaces, Root
from codeft_eval.sandbox.isolation.seccomp import program_filter, server_filter
from codeft_eval.sandbox.programs import Limits

NAMESPACES, LANDLOCK, UNSAFE = "namespaces", "landlock", "unsafe"
DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")
DEVICE_RIGHTS = landlock.READ_FILE | landlock.WRITE_FILE


@dataclass(frozen=True, slots=True)
class Tier:
    """How children are forked and confined."""

    fork_candidate: Callable[[], int]
    confine_candidate: Callable[[Limits], None]
    confine_judge: Callable[[Limits], None]


def prepare(name: str) -> Tier:
    """Builds the jail around the calling fork server and returns how its children are confined.

    Raises:
        OSError: the kernel refuses a part of it.
    """
    return {NAMESPACES: _prepare_namespaces, LANDLOCK: _prepare_landlock, UNSAFE: _prepare_unsafe}[name]()


def standard_library_folders() -> list[str]:
    """The folders Python imports its standard library from."""
    return sorted({sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")})


def _prepare_namespaces() -> Tier:
    program = program_filter()
    jail = Namespaces.enter(Root(folders=tuple(standard_library_folders()), files=DEVICES))
    # All but the scratch is mounted read-only; these rules add what mounts cannot refuse: devices, signals, sockets.
    rules = ruleset_if_possible([("/", landlock.SCRATCH), *((device, DEVICE_RIGHTS) for device in DEVICES)])
    _install(server_filter())

    def confine_candidate(limits: Limits) -> None:
        jail.mount_scratch(limits.file_bytes)
        confine_judge(limits)

    def confine_judge(limits: Limits) -> None:
        _limit(limits)
        syscalls.set_capabilities(0)
        if rules is not None:
            syscalls.landlock_restrict(rules)
        syscalls.install_seccomp(program)

    return Tier(jail.fork, confine_candidate, confine_judge)


def ruleset_if_possible(rules: list[tuple[str, int]]) -> int | None:
    """A ruleset's descriptor, or None where the kernel's Landlock is absent or too old."""
    is_new_enough = syscalls.landlock_abi() >= landlock.MINIMUM_ABI
    return landlock.ruleset(rules) if is_new_enough else None


def _prepare_landlock() -> Tier:
    program = program_filter()
    os.chdir("/")
    # Installed packages lie beneath the standard library; the benchmarks' answers may be among them.
    paths = [(path, landlock.READ) for path in _entries_without_packages(standard_library_folders())]
    rules = landlock.ruleset([*paths, *((device, DEVICE_RIGHTS) for device in DEVICES)])
    _install(server_filter())
    syscalls.landlock_restrict(rules)

    def confine(limits: Limits) -> None:
        _limit(limits)
        syscalls.set_capabilities(0)
        syscalls.install_seccomp(program)

    return Tier(syscalls.fork, confine, confine)


def _prepare_unsafe() -> Tier:
    return Tier(syscalls.fork, _limit, _limit)


def _entries_without_packages(folders: list[str]) -> list[str]:
    hidden = ("site-packages", "dist-packages")
    return [entry.path for folder in folders for entry in os.scandir(folder) if entry.name not in hidden]


def _install(program: bytes) -> None:
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    syscalls.install_seccomp(program)


def _limit(limits: Limits) -> None:
    for kind, bound in _bounds(limits):
        resource.setrlimit(kind, bound)


@functools.cache
def _bounds(limits: Limits) -> list[tuple[int, tuple[int, int]]]:
    """What to set, within what the user may set at all."""
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
