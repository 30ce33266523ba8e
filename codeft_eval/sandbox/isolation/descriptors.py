"""Reads and writes on plain descriptors, whole: inside the jail there is no call that names an address."""

import os


def read_line(descriptor: int) -> bytes:
    """Everything up to a line break, which must be the last byte that its writer sent.

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
    """Writes all of `data`, however little the descriptor takes at a time."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
