"""The process of a run by a name that no other process ever has: host, id, and when it was started since which boot."""

import os
import socket
from pathlib import Path

TAG = "codeft/process"
_BOOT = Path("/proc/sys/kernel/random/boot_id")


def process_name(pid: int | None = None) -> str:
    """Return the name of a process of this host, of this one by default; empty where the system has no /proc."""
    try:
        # the second field is the program's name in parentheses, and may hold anything
        fields = Path(f"/proc/{pid or os.getpid()}/stat").read_text().rpartition(")")[2].split()
        return f"{socket.gethostname()}/{pid or os.getpid()}/{_BOOT.read_text().strip()}/{fields[19]}"
    except OSError:
        return ""


def is_gone(name: str) -> bool:
    """Whether the process called ``name`` is over; never true of a process of another host."""
    host, pid, *_ = [*name.split("/"), ""]
    return host == socket.gethostname() and pid.isdigit() and process_name(int(pid)) != name
