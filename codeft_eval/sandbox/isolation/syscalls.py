"""The Linux calls Python has no name for, through ctypes; each raises OSError with the call's name."""

from __future__ import annotations

import ctypes
import functools
import os
import struct

# include/uapi/linux/sched.h
CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

# include/uapi/linux/mount.h
MS_NOSUID, MS_NODEV, MS_NOEXEC = 2, 4, 8
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2

# include/uapi/linux/prctl.h
PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_SET_NO_NEW_PRIVS = 1, 8, 38

# arch/x86/entry/syscalls/syscall_64.tbl for x86_64, include/uapi/asm-generic/unistd.h for aarch64
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_SECCOMP = {"x86_64": 317, "aarch64": 277}
# These three calls and mount_setattr have the same number on every architecture.
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_MOUNT_SETATTR = 442
_CAPABILITY_VERSION_3 = 0x20080522  # include/uapi/linux/capability.h: 64 capabilities, as two halves of 32 bits
_SECCOMP_SET_MODE_FILTER = 1  # include/uapi/linux/seccomp.h
_LANDLOCK_CREATE_RULESET_VERSION, _LANDLOCK_RULE_PATH_BENEATH = 1, 1  # include/uapi/linux/landlock.h
_MOUNT_ATTR_RDONLY, _MOUNT_ATTR_NOSUID = 1, 2  # include/uapi/linux/mount.h
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000  # include/uapi/linux/fcntl.h

_libc = ctypes.CDLL(None, use_errno=True)
_libc_under_lock = ctypes.PyDLL(None, use_errno=True)
"""Keeps the interpreter's lock during a call, so that a forked child holds it."""


def machine() -> str:
    """Return the architecture's name, as the tables here spell it."""
    name = os.uname().machine
    if name not in _SECCOMP:
        raise OSError(f"architecture {name!r}: the sandbox knows {sorted(_SECCOMP)}; run on one of them")
    return name


def _checked(name: str, result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def fork() -> int:
    """Fork the caller, which must have only one thread, without Python's own fork handlers.

    They repair what other threads may have left, and touch some 150 pages that each child would copy for nothing.
    """
    return _checked("fork", _libc_under_lock.fork())


def unshare(flags: int) -> None:
    """Move the caller (its next child, for a pid namespace) into new namespaces."""
    _checked("unshare", _libc.unshare(flags))


def setns(descriptor: int, kind: int) -> None:
    """Make the namespace behind ``descriptor`` the caller's (its next child's, for a pid namespace)."""
    _checked("setns", _libc.setns(descriptor, kind))


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """Mount ``source`` on ``target``."""
    arguments = [source.encode(), target.encode(), kind.encode() if kind else None]
    _checked(f"mount {target}", _libc.mount(*arguments, ctypes.c_ulong(flags), options.encode() or None))


def unmount(target: str) -> None:
    """Detach a mount and everything below it."""
    _checked(f"umount {target}", _libc.umount2(target.encode(), MNT_DETACH))


def make_read_only(path: str) -> None:
    """Mark a mount and all mounts below it read-only and without set-user-id."""
    attributes = struct.pack("QQQQ", _MOUNT_ATTR_RDONLY | _MOUNT_ATTR_NOSUID, 0, 0, 0)
    arguments = (_AT_FDCWD, path.encode(), _AT_RECURSIVE, attributes, len(attributes))
    _checked("mount_setattr", _libc.syscall(_MOUNT_SETATTR, *arguments))


def pivot_root(new_root: str, put_old: str) -> None:
    """Make ``new_root`` the root and put the old one at ``put_old``."""
    _checked("pivot_root", _libc.syscall(_PIVOT_ROOT[machine()], new_root.encode(), put_old.encode()))


def prctl(option: int, value: int) -> None:
    """Set a process attribute that takes one number."""
    _checked(f"prctl {option}", _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0))


def set_capabilities(mask: int) -> None:
    """Make ``mask`` the caller's effective and permitted capabilities, and none inheritable."""
    low, high = mask & 0xFFFFFFFF, mask >> 32
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    data = struct.pack("6I", low, low, 0, high, high, 0)
    _checked("capset", _libc.capset(header, data))


def permitted_capabilities() -> int:
    """Return the caller's permitted capabilities as a bit mask."""
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    data = ctypes.create_string_buffer(24)
    _checked("capget", _libc.capget(header, data))
    fields = struct.unpack("6I", data.raw)
    return fields[1] | fields[4] << 32


def install_seccomp(program: bytes) -> None:
    """Install a filter of 8-byte BPF instructions; needs no_new_privs."""
    number, header, _ = seccomp_arguments(program)
    _checked("seccomp", _libc.syscall(number, _SECCOMP_SET_MODE_FILTER, 0, header))


@functools.cache
def seccomp_arguments(program: bytes) -> tuple[int, bytes, ctypes.Array]:
    """Return the call's number, its argument, and the filter that the argument points to; called before a fork."""
    buffer = ctypes.create_string_buffer(program, len(program))
    return _SECCOMP[machine()], struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer)), buffer


def landlock_abi() -> int:
    """Return the kernel's Landlock version, 0 when it has none."""
    return max(0, _libc.syscall(_LANDLOCK_CREATE, None, 0, _LANDLOCK_CREATE_RULESET_VERSION))


def landlock_ruleset(attributes: bytes) -> int:
    """Return the descriptor of a new ruleset."""
    return _checked("landlock_create_ruleset", _libc.syscall(_LANDLOCK_CREATE, attributes, len(attributes), 0))


def landlock_allow(ruleset: int, access: int, descriptor: int) -> None:
    """Allow ``access`` beneath the opened path."""
    rule = struct.pack("=Qi", access, descriptor)
    _checked("landlock_add_rule", _libc.syscall(_LANDLOCK_ADD, ruleset, _LANDLOCK_RULE_PATH_BENEATH, rule, 0))


def landlock_restrict(ruleset: int) -> None:
    """Apply the ruleset to the caller, for good; needs no_new_privs."""
    _checked("landlock_restrict_self", _libc.syscall(_LANDLOCK_RESTRICT, ruleset, 0))
