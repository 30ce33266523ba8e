"""A root of its own: only the standard library, three devices and a private scratch; no network, no other process.

Needs neither root nor Docker, but user namespaces. Started by root, the isolated processes run as nobody, because the
kernel does not count processes of root.
"""

from __future__ import annotations

import errno
import glob
import os
import time
from dataclasses import dataclass

from codeft_eval.sandbox.isolation import syscalls

SCRATCH = "/tmp"  # noqa: S108  inside the new root; where tempfile looks
PROCESSES = "/proc"
_BELOW_SCRATCH = "/below_scratch"
"""A second place of what the host has below ``SCRATCH``, such as a virtual environment, from which it is mounted again
over each child's own scratch."""
_NOBODY = 65534
_UNSHARE_ATTEMPTS = 50
_ALL = (
    syscalls.CLONE_NEWUSER
    | syscalls.CLONE_NEWNS
    | syscalls.CLONE_NEWPID
    | syscalls.CLONE_NEWNET
    | syscalls.CLONE_NEWIPC
    | syscalls.CLONE_NEWUTS
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """The visible part of the host: all of it read-only, under the same paths."""

    folders: tuple[str, ...]
    """Installed Python packages below them are hidden."""
    files: tuple[str, ...]
    """Devices included."""
    links: tuple[tuple[str, str], ...] = ()
    """(path, target)."""
    needs_processes: bool = False
    """Children may call ``mount_processes``."""


class Namespaces:
    """The namespaces of one worker, made by ``enter``."""

    def __init__(self, own_pid_namespace: int, names_below_scratch: list[str]) -> None:
        self._own_pid_namespace = own_pid_namespace
        self._names_below_scratch = names_below_scratch

    @classmethod
    def enter(cls, root: Root) -> Namespaces:
        """Move the caller into new namespaces; it continues as process 1 there, in a child of the original process."""
        _unshare_with_maps(as_root=os.geteuid() == 0)
        _continue_as_first_process()
        own_pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        _change_root(root)
        names_below_scratch = os.listdir(SCRATCH)
        _become_nobody()
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, 9)
        return cls(own_pid_namespace, names_below_scratch)

    def fork(self) -> int:
        """Fork a child that is process 1 of a pid namespace of its own: killing it kills all it started."""
        syscalls.unshare(syscalls.CLONE_NEWPID)
        pid = syscalls.fork()
        if pid:
            syscalls.setns(self._own_pid_namespace, syscalls.CLONE_NEWPID)
        return pid

    def mount_scratch(self, size_bytes: int, num_files: int = 1024) -> None:
        """Give the calling child a folder that vanishes with it: empty but for what is visible of the host below it."""
        syscalls.unshare(syscalls.CLONE_NEWNS)
        options = f"size={size_bytes},nr_inodes={num_files},mode=700"
        syscalls.mount("scratch", SCRATCH, "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, options)
        for name in self._names_below_scratch:
            _bind(f"{_BELOW_SCRATCH}/{name}", f"{SCRATCH}/{name}")
        os.chdir(SCRATCH)


def mount_processes() -> None:
    """Show the calling child, process 1 of its namespace, its own processes under /proc and nothing of the kernel."""
    syscalls.unshare(syscalls.CLONE_NEWNS)
    flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
    syscalls.mount("proc", PROCESSES, "proc", flags, "subset=pid")


def _unshare_with_maps(*, as_root: bool) -> None:
    """Enter the namespaces; a helper that stayed outside writes the user and group maps."""
    ready_read, ready_write = os.pipe()
    helper = os.fork()
    if helper == 0:
        os.close(ready_write)
        os.read(ready_read, 1)
        os._exit(_write_maps(os.getppid(), as_root=as_root))
    os.close(ready_read)
    try:
        _unshare_all()
        os.write(ready_write, b"x")
    finally:
        os.close(ready_write)
        status = os.waitpid(helper, 0)[1]
    if status:
        raise OSError(os.waitstatus_to_exitcode(status), "user namespace: its id maps cannot be written")


def _unshare_all() -> None:
    """Unshare, for up to a second: under load the kernel now and then refuses even a lone process (EINVAL)."""
    for _ in range(_UNSHARE_ATTEMPTS):
        try:
            return syscalls.unshare(_ALL)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
        time.sleep(0.02)
    return syscalls.unshare(_ALL)


def _write_maps(pid: int, *, as_root: bool) -> int:
    """Map nobody inside to nobody (started by root) or to the user outside; return an exit status."""
    both = f"0 0 1\n{_NOBODY} {_NOBODY} 1"
    maps = {
        "setgroups": "allow" if as_root else "deny",
        "uid_map": both if as_root else f"{_NOBODY} {os.geteuid()} 1",
        "gid_map": both if as_root else f"{_NOBODY} {os.getegid()} 1",
    }
    for name, content in maps.items():
        try:
            with open(f"/proc/{pid}/{name}", "w", encoding="ascii") as file:
                file.write(content)
        except OSError as error:
            return error.errno or 1
    return 0


def _continue_as_first_process() -> None:
    """Fork into the new pid namespace; the outer process only waits, and ends as the inner one does."""
    pid = os.fork()
    if pid == 0:
        return
    os.closerange(3, 256)
    status = os.waitpid(pid, 0)[1]
    os._exit(1 if status else 0)


def _change_root(root: Root) -> None:
    """Pivot to a root that holds nothing but ``root`` and the mount points of scratch and processes."""
    sources = {folder: os.path.realpath(folder) for folder in root.folders}
    syscalls.mount("none", "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
    syscalls.mount("root", SCRATCH, "tmpfs", syscalls.MS_NOSUID, "size=1m,mode=755")
    os.mkdir(f"{SCRATCH}/host")
    syscalls.pivot_root(SCRATCH, f"{SCRATCH}/host")
    os.chdir("/")
    for folder, source in sources.items():
        _bind_folder(f"/host{source}", folder)
    for path in root.files:
        _bind(f"/host{path}", path)
    for path, target in root.links:
        os.symlink(target, path)
    for folder in (SCRATCH, PROCESSES):
        os.makedirs(folder, mode=0o755, exist_ok=True)
    _bind(SCRATCH, _BELOW_SCRATCH)
    if root.needs_processes:
        _keep_hidden_processes()
    syscalls.unmount("/host")
    os.rmdir("/host")
    syscalls.make_read_only("/")


def _keep_hidden_processes() -> None:
    """Mount a process file system out of reach.

    The kernel lets a child mount its own only where one is visible already (``mount_too_revealing``, fs/namespace.c).
    """
    os.makedirs("/hidden/proc")
    syscalls.mount("proc", "/hidden/proc", "proc", syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC)
    syscalls.mount("none", "/hidden", "tmpfs", syscalls.MS_NOSUID, "size=4k,mode=0")


def _bind_folder(source: str, target: str) -> None:
    _bind(source, target)
    # Hidden, for the benchmarks' answers may be installed there.
    for parent in ("", "/lib/python3*", "/local/lib/python3*"):
        for path in glob.glob(f"{target}{parent}/*-packages"):
            syscalls.mount("none", path, "tmpfs", syscalls.MS_NOSUID, "size=4k,mode=755")


def _bind(source: str, target: str) -> None:
    """Show a folder, with what is mounted below it, or a file at a second path."""
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    syscalls.mount(source, target, None, syscalls.MS_BIND | syscalls.MS_REC)


def _become_nobody() -> None:
    """Drop root's user id, which owns files and escapes process limits, and keep the namespaces' own capabilities."""
    if os.geteuid() == 0:
        syscalls.prctl(syscalls.PR_SET_KEEPCAPS, 1)
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    syscalls.set_capabilities(syscalls.permitted_capabilities())
