"""Complete reads and writes on plain descriptors: an isolated process has no call that names an address."""

from __future__ import annotations

import os


def read_line(descriptor: int) -> bytes:
    """Return everything up to a line break, which must be the last byte that its writer sent.

    Raises:
        OSError: the other end closed before it.
    """
    data = bytearray()
    while not data.endswith(b"\n"):
        part = os.read(descriptor, 1 << 20)
        if not part:
            raise OSError("the other end closed within a line")
        data += part
    return bytes(data)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of ``data``, however little the descriptor takes at a time."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
