"""Landlock rules: paths to read, paths to write, and no network, signals or abstract sockets outside."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable

from codeft_eval.sandbox.isolation import syscalls

# LANDLOCK_ACCESS_FS_*, include/uapi/linux/landlock.h
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG, _MAKE_SYM = 1 << 4, 1 << 5, 1 << 7, 1 << 8, 1 << 12
_MAKE_FIFO, _REFER, _TRUNCATE = 1 << 10, 1 << 13, 1 << 14
MINIMUM_ABI = 3
"""Before version 3 a file could be truncated without the right to write it."""
READ = READ_FILE | READ_DIR
SCRATCH_RIGHTS = READ | WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _MAKE_SYM | _TRUNCATE
TOOLCHAIN_RIGHTS = SCRATCH_RIGHTS | EXECUTE | _MAKE_FIFO | _REFER
# The kernel refuses a rule that grants rights of folders on a file.
_FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | _TRUNCATE


def ruleset(rules: Iterable[tuple[str, int]]) -> int:
    """Return a ruleset's descriptor; ``syscalls.landlock_restrict`` limits its caller to the (path, access) pairs.

    Raises:
        OSError: the kernel has no Landlock, or one older than ``MINIMUM_ABI``.
    """
    abi = syscalls.landlock_abi()
    if abi < MINIMUM_ABI:
        raise OSError(f"Landlock version {abi}: at least {MINIMUM_ABI} is needed; use Linux 6.2 or newer")
    descriptor = syscalls.landlock_ruleset(_attributes(abi))
    for path, access in rules:
        _allow(descriptor, path, access)
    return descriptor


def ruleset_if_supported(rules: Iterable[tuple[str, int]]) -> int | None:
    """Return a ruleset's descriptor, or None where the kernel's Landlock is absent or too old."""
    return ruleset(rules) if syscalls.landlock_abi() >= MINIMUM_ABI else None


def _attributes(abi: int) -> bytes:
    """Return ``struct landlock_ruleset_attr`` with every right that this version can refuse.

    Version 4 added TCP bind and connect, 5 the ioctl right (bit 15), 6 scopes (abstract sockets, signals).
    """
    file_rights = (1 << 16) - 1 if abi >= 5 else (1 << 15) - 1
    network_rights = 0b11 if abi >= 4 else 0
    scopes = 0b11 if abi >= 6 else 0
    fields = [file_rights, network_rights, scopes][: 1 + (abi >= 4) + (abi >= 6)]
    return struct.pack(f"{len(fields)}Q", *fields)


def _allow(ruleset: int, path: str, access: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rights = access if os.path.isdir(path) else access & _FILE_RIGHTS
        syscalls.landlock_allow(ruleset, rights, descriptor)
    finally:
        os.close(descriptor)
