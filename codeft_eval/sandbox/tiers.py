"""The jails: namespaces with Landlock and seccomp; Landlock and seccomp alone; none, where a user insists.

A tier prepares the fork server once and confines each child it forks. Nothing here runs in the caller's process.
"""

import os
import resource
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass

from codeft_eval.sandbox import landlock, syscalls
from codeft_eval.sandbox.namespaces import SCRATCH, Namespaces
from codeft_eval.sandbox.programs import Limits
from codeft_eval.sandbox.seccomp import program_filter, server_filter

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
    jail = Namespaces.enter(standard_library_folders(), DEVICES)
    judge_rules = [("/", landlock.READ), *((device, DEVICE_RIGHTS) for device in DEVICES)]
    candidate_rules = [*judge_rules, (SCRATCH, landlock.SCRATCH)]

    _install(server_filter())

    def confine_candidate(limits: Limits) -> None:
        jail.mount_scratch(limits.file_bytes)
        _confine(limits, program, candidate_rules)

    def confine_judge(limits: Limits) -> None:
        _confine(limits, program, judge_rules)

    return Tier(jail.fork, confine_candidate, confine_judge)


def _prepare_landlock() -> Tier:
    program = program_filter()
    os.chdir("/")
    # Installed packages lie beneath the standard library; the benchmarks' answers may be among them.
    rules = [(path, landlock.READ) for path in _entries_without_packages(standard_library_folders())]
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    landlock.restrict([*rules, *((device, DEVICE_RIGHTS) for device in DEVICES)])

    _install(server_filter())

    def confine(limits: Limits) -> None:
        _confine(limits, program, [])

    return Tier(os.fork, confine, confine)


def _prepare_unsafe() -> Tier:
    return Tier(os.fork, _limit, _limit)


def _entries_without_packages(folders: list[str]) -> list[str]:
    hidden = ("site-packages", "dist-packages")
    return [entry.path for folder in folders for entry in os.scandir(folder) if entry.name not in hidden]


def _confine(limits: Limits, program: bytes, rules: list[tuple[str, int]]) -> None:
    _limit(limits)
    syscalls.set_capabilities(0)
    if rules and syscalls.landlock_abi() >= landlock.MINIMUM_ABI:
        landlock.restrict(rules)
    syscalls.install_seccomp(program)


def _install(program: bytes) -> None:
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    syscalls.install_seccomp(program)


def _limit(limits: Limits) -> None:
    bounds = {
        # The soft limit's signal would not reach process 1 of a pid namespace; the hard one kills.
        resource.RLIMIT_CPU: (limits.cpu_seconds, limits.cpu_seconds),
        resource.RLIMIT_AS: (limits.memory_bytes, limits.memory_bytes),
        resource.RLIMIT_FSIZE: (limits.file_bytes, limits.file_bytes),
        resource.RLIMIT_NOFILE: (limits.num_files, limits.num_files),
        resource.RLIMIT_NPROC: (limits.num_threads, limits.num_threads),
        resource.RLIMIT_STACK: (8 << 20, 8 << 20),
        resource.RLIMIT_CORE: (0, 0),
        resource.RLIMIT_MEMLOCK: (0, 0),
        resource.RLIMIT_MSGQUEUE: (0, 0),
    }
    for kind, (soft, hard) in bounds.items():
        ceiling = resource.getrlimit(kind)[1]
        if ceiling != resource.RLIM_INFINITY:
            soft, hard = min(soft, ceiling), min(hard, ceiling)
        resource.setrlimit(kind, (soft, hard))
