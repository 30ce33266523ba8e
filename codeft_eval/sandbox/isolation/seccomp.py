"""The system calls a program may make: an allow list of Python's needs, so that new calls are refused.

Nothing here reaches the network, another process, the host's files outside the new root, or kernel memory that no limit
counts (memfd, System V segments). Threads are allowed, processes are not: a Python program has no tree to clean up.
"""

from __future__ import annotations

import errno
import struct

from codeft_eval.sandbox.isolation.syscalls import machine

# AUDIT_ARCH_X86_64, AUDIT_ARCH_AARCH64: include/uapi/linux/audit.h
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# x86_64 (arch/x86/entry/syscalls/syscall_64.tbl), aarch64 (include/uapi/asm-generic/unistd.h; None: no such call there)
_ALLOWED: dict[str, tuple[int | None, int | None]] = {
    "read": (0, 63), "write": (1, 64), "open": (2, None), "close": (3, 57), "stat": (4, None), "fstat": (5, 80),
    "lstat": (6, None), "poll": (7, None), "lseek": (8, 62), "mmap": (9, 222), "mprotect": (10, 226),
    "munmap": (11, 215), "brk": (12, 214), "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139), "pread64": (17, 67), "pwrite64": (18, 68), "readv": (19, 65), "writev": (20, 66),
    "access": (21, None), "pipe": (22, None), "select": (23, None), "sched_yield": (24, 124), "mremap": (25, 216),
    "msync": (26, 227), "mincore": (27, 232), "madvise": (28, 233), "dup": (32, 23), "dup2": (33, None),
    "pause": (34, None), "nanosleep": (35, 101), "getitimer": (36, 102), "alarm": (37, None), "setitimer": (38, 103),
    "getpid": (39, 172), "sendfile": (40, 71), "exit": (60, 93), "wait4": (61, 260), "uname": (63, 160),
    "fcntl": (72, 25), "flock": (73, 32), "fsync": (74, 82), "fdatasync": (75, 83), "truncate": (76, 45),
    "ftruncate": (77, 46), "getdents": (78, None), "getcwd": (79, 17), "chdir": (80, 49), "fchdir": (81, 50),
    "rename": (82, None), "mkdir": (83, None), "rmdir": (84, None), "creat": (85, None), "link": (86, None),
    "unlink": (87, None), "symlink": (88, None), "readlink": (89, None), "umask": (95, 166),
    "gettimeofday": (96, 169), "getrlimit": (97, 163), "getrusage": (98, 165), "sysinfo": (99, 179),
    "times": (100, 153), "getuid": (102, 174), "getgid": (104, 176), "geteuid": (107, 175), "getegid": (108, 177),
    "getppid": (110, 173), "getpgrp": (111, None), "getgroups": (115, 158), "getresuid": (118, 148),
    "getresgid": (120, 150), "getpgid": (121, 155), "getsid": (124, 156), "rt_sigpending": (127, 136),
    "rt_sigtimedwait": (128, 137), "rt_sigsuspend": (130, 133), "sigaltstack": (131, 132), "statfs": (137, 43),
    "fstatfs": (138, 44), "getpriority": (140, 141), "sched_getparam": (143, 121), "sched_getscheduler": (145, 120),
    "sched_get_priority_max": (146, 125), "sched_get_priority_min": (147, 126), "arch_prctl": (158, None),
    "gettid": (186, 178), "time": (201, None), "futex": (202, 98), "sched_getaffinity": (204, 123),
    "epoll_create": (213, None), "getdents64": (217, 61), "set_tid_address": (218, 96), "restart_syscall": (219, 128),
    "fadvise64": (221, 223), "clock_gettime": (228, 113), "clock_getres": (229, 114), "clock_nanosleep": (230, 115),
    "exit_group": (231, 94), "epoll_wait": (232, None), "epoll_ctl": (233, 21), "waitid": (247, 95),
    "openat": (257, 56), "mkdirat": (258, 34), "newfstatat": (262, 79), "unlinkat": (263, 35), "renameat": (264, 38),
    "linkat": (265, 37), "symlinkat": (266, 36), "readlinkat": (267, 78), "faccessat": (269, 48),
    "pselect6": (270, 72), "ppoll": (271, 73), "set_robust_list": (273, 99), "get_robust_list": (274, 100),
    "epoll_pwait": (281, 22), "fallocate": (285, 47), "eventfd2": (290, 19), "epoll_create1": (291, 20),
    "dup3": (292, 24), "pipe2": (293, 59), "preadv": (295, 69), "pwritev": (296, 70), "getcpu": (309, 168),
    "renameat2": (316, 276), "getrandom": (318, 278), "membarrier": (324, 283), "copy_file_range": (326, 285),
    "statx": (332, 291), "rseq": (334, 293), "close_range": (436, 436), "faccessat2": (439, 439),
}  # fmt: skip
# The worker needs these too, to make and confine a child; every child gives them up.
_WORKER_ONLY: dict[str, tuple[int | None, int | None]] = {
    "sendto": (44, 206), "sendmsg": (46, 211), "recvmsg": (47, 212), "socketpair": (53, 199), "fork": (57, None),
    "kill": (62, 129), "capset": (126, 91), "prctl": (157, 167), "setrlimit": (160, 164), "mount": (165, 40),
    "unshare": (272, 97), "setns": (308, 268), "seccomp": (317, 277), "pidfd_open": (434, 434),
    "landlock_create_ruleset": (444, 444), "landlock_add_rule": (445, 445), "landlock_restrict_self": (446, 446),
}  # fmt: skip
# Compilers and shells need these too: processes, pipes that are sockets, the permissions of files, chosen cores.
_TOOLCHAIN_ONLY: dict[str, tuple[int | None, int | None]] = {
    "ioctl": (16, 29), "socketpair": (53, 199), "sendto": (44, 206), "recvfrom": (45, 207), "sendmsg": (46, 211),
    "recvmsg": (47, 212), "vfork": (58, None), "execve": (59, 221), "fork": (57, None), "chmod": (90, None),
    "fchmod": (91, 52), "fchmodat": (268, 53), "setpgid": (109, 154), "setsid": (112, 157), "kill": (62, 129),
    "tkill": (200, 130), "tgkill": (234, 131), "utime": (132, None), "utimes": (235, None), "utimensat": (280, 88),
    "futimesat": (261, None), "prctl": (157, 167), "setrlimit": (160, 164), "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119), "setpriority": (141, 140), "pwritev2": (328, 287), "preadv2": (327, 286),
    "mlock": (149, 228), "inotify_init1": (294, 26), "timerfd_create": (283, 85), "timerfd_settime": (286, 86),
    "eventfd": (284, None), "signalfd4": (289, 74), "getxattr": (191, 8), "lgetxattr": (192, 9),
    "fgetxattr": (193, 10), "sync_file_range": (277, 84), "splice": (275, 76), "tee": (276, 77),
    "mknod": (133, None), "mknodat": (259, 33), "rt_sigqueueinfo": (129, 138), "timer_create": (222, 107),
    "timer_settime": (223, 110), "timer_delete": (226, 111), "get_mempolicy": (239, 236), "pkey_alloc": (330, 289),
    "pkey_mprotect": (329, 288), "pkey_free": (331, 290),
}  # fmt: skip
_NEW_NAMESPACES = 0x7E020000  # CLONE_NEW{NS,UTS,IPC,USER,PID,NET,CGROUP}, include/uapi/linux/sched.h
_SHARED_ANONYMOUS = 0x21  # MAP_SHARED | MAP_ANONYMOUS: memory that RLIMIT_DATA does not count
_MMAP = (9, 222)
_CLONE = (56, 220)
_PRLIMIT = (302, 261)
# Refused in a way that C libraries understand: ioctl as if there were no terminal; clone3 and openat2 as if the kernel
# were older, since their arguments lie in memory that a filter cannot read.
_SOFT_REFUSALS = {(16, 29): errno.ENOTTY, (435, 435): errno.ENOSYS, (437, 437): errno.ENOSYS}

_CLONE_THREAD = 0x00010000  # include/uapi/linux/sched.h
# BPF_LD|W|ABS, BPF_ALU|AND|K, BPF_JMP|{JEQ,JGE,JSET}|K, BPF_RET|K: include/uapi/linux/{bpf_common,filter}.h
_LOAD, _AND, _EQUAL, _ABOVE, _ANY_BIT, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
# SECCOMP_RET_{ALLOW,KILL_PROCESS,ERRNO}, and the offsets in struct seccomp_data: include/uapi/linux/seccomp.h
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER_OFFSET, _ARCHITECTURE_OFFSET, _FIRST_ARGUMENT_OFFSET, _ARGUMENT_BYTES = 0, 4, 16, 8


def worker_filter() -> bytes:
    """Return the filter of a Python worker: the calls that programs need and that confining them needs, no others.

    Children inherit it for free; a filter of this length installed in each would cost half of their start.
    """
    return _allow_only(*_ALLOWED.values(), *_WORKER_ONLY.values(), _CLONE, _PRLIMIT)


def toolchain_worker_filter() -> bytes:
    """Return the same for the worker of compilers and the programs they make."""
    return _allow_only(*_ALLOWED.values(), *_WORKER_ONLY.values(), *_TOOLCHAIN_ONLY.values(), _CLONE, _PRLIMIT)


def _allow_only(*pairs: tuple[int | None, int | None]) -> bytes:
    column = list(_ARCHITECTURES).index(machine())
    instructions = _preamble()
    for number in dict.fromkeys(pair[column] for pair in pairs):
        if number is not None:
            instructions += [_step(_EQUAL, number, 0, 1), _step(_RETURN, _ALLOW)]
    for pair, error in _SOFT_REFUSALS.items():
        instructions += [_step(_EQUAL, pair[column], 0, 1), _step(_RETURN, _ERRNO | error)]
    instructions.append(_step(_RETURN, _ERRNO | errno.EPERM))
    return b"".join(instructions)


def program_filter() -> bytes:
    """Return the filter of each child, on top of the worker's: no process, confinement call or addressed message."""
    column = list(_ARCHITECTURES).index(machine())
    instructions = _preamble()
    for pair in _WORKER_ONLY.values():
        if pair[column] is not None:
            instructions += [_step(_EQUAL, pair[column] or 0, 0, 1), _step(_RETURN, _ERRNO | errno.EPERM)]
    instructions += _allow_clone_of_threads(_CLONE[column])
    instructions += _allow_own_limits(_PRLIMIT[column])
    instructions.append(_step(_RETURN, _ALLOW))
    return b"".join(instructions)


def toolchain_program_filter() -> bytes:
    """Return the filter of compilers and programs: no namespace, confinement call or uncounted memory."""
    column = list(_ARCHITECTURES).index(machine())
    refused = [pair[column] for name, pair in _WORKER_ONLY.items() if name not in _TOOLCHAIN_ONLY]
    instructions = _preamble()
    for number in refused:
        if number is not None:
            instructions += [_step(_EQUAL, number, 0, 1), _step(_RETURN, _ERRNO | errno.EPERM)]
    flags_of_mmap = _FIRST_ARGUMENT_OFFSET + 3 * _ARGUMENT_BYTES
    instructions += _refuse_flags(_CLONE[column], _FIRST_ARGUMENT_OFFSET, _NEW_NAMESPACES, all_of_them=False)
    instructions += _refuse_flags(_MMAP[column], flags_of_mmap, _SHARED_ANONYMOUS, all_of_them=True)
    instructions += _allow_own_limits(_PRLIMIT[column])
    instructions.append(_step(_RETURN, _ALLOW))
    return b"".join(instructions)


def _refuse_flags(number: int, offset: int, flags: int, *, all_of_them: bool) -> list[bytes]:
    """Return the instructions that refuse a call whose argument at ``offset`` has any, or all, of ``flags``."""
    test = [_step(_AND, flags), _step(_EQUAL, flags, 0, 1)] if all_of_them else [_step(_ANY_BIT, flags, 0, 1)]
    refusal = [_step(_LOAD, offset), *test, _step(_RETURN, _ERRNO | errno.EPERM), _step(_RETURN, _ALLOW)]
    return [_step(_EQUAL, number, 0, len(refusal)), *refusal]


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """Return one ``struct sock_filter``; the last two are instructions to skip."""
    return struct.pack("HBBI", code, if_true, if_false, value)


def _preamble() -> list[bytes]:
    """Return the instructions that kill calls of a foreign architecture and load the call's number."""
    return [
        _step(_LOAD, _ARCHITECTURE_OFFSET),
        _step(_EQUAL, _ARCHITECTURES[machine()], 1, 0),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER_OFFSET),
        # x32 calls are numbered from 2**30 and would pass by other names.
        _step(_ABOVE, 0x40000000, 0, 1),
        _step(_RETURN, _KILL),
    ]


def _allow_clone_of_threads(number: int) -> list[bytes]:
    return [
        _step(_EQUAL, number, 0, 4),
        _step(_LOAD, _FIRST_ARGUMENT_OFFSET),
        _step(_ANY_BIT, _CLONE_THREAD, 0, 1),
        _step(_RETURN, _ALLOW),
        _step(_RETURN, _ERRNO | errno.EPERM),
    ]


def _allow_own_limits(number: int) -> list[bytes]:
    # Another process of the same user could be starved through its limits.
    return [
        _step(_EQUAL, number, 0, 4),
        _step(_LOAD, _FIRST_ARGUMENT_OFFSET),
        _step(_EQUAL, 0, 0, 1),
        _step(_RETURN, _ALLOW),
        _step(_RETURN, _ERRNO | errno.EPERM),
    ]
