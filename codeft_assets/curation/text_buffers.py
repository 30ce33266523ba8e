"""Texts as kernels read them: the bytes and offsets of an Arrow string array."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def text_buffers(text: pa.Array) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Return the bytes of ``text`` and the offsets of its values, without a copy if it is a ``large_string`` array.

    Text ``i`` is ``data[offsets[i]:offsets[i + 1]]``. The first offset of a slice is not 0.

    Raises:
        ValueError: A text is null.
    """
    if text.null_count:
        raise ValueError(f"{text.null_count} of {len(text)} texts are null; a document has a text: drop the row before")
    array = text.cast(pa.large_string())
    if len(array) == 0:
        return _read_only(np.zeros(0, dtype=np.uint8)), _read_only(np.zeros(1, dtype=np.int64))
    _, offsets, values = array.buffers()
    starts = np.frombuffer(offsets, dtype=np.int64)[array.offset : array.offset + len(array) + 1]
    data = np.frombuffer(values, dtype=np.uint8) if values is not None else np.zeros(0, dtype=np.uint8)
    return _read_only(data), _read_only(starts)


def _read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    # whoever made the buffer: numba compiles a kernel once more, for seconds, for arrays of the other kind
    array.flags.writeable = False
    return array
