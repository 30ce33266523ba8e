"""Rows from JSON: lines, an array, or one object per file, as a stream of bounded memory.

Invariant: everything in the file is a row or a reject. A line that is no object is a reject of its own; only an array
or an object that is damaged ends the reading, because nothing says where its next row begins.
"""

from __future__ import annotations

import codecs
import io
import itertools
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from codeft_assets.curation.ingest.drafts import Reject, Row

MAX_ROW_BYTES = 8 * 2**20
"""A longer line, element or field is no row but a reject: the longest row of the catalogue has less than 1 MiB."""
MAX_OBJECT_BYTES = 8 * MAX_ROW_BYTES
"""Of a file that is one object over many lines, and so is held whole."""
SHOWN_BYTES = 4000
_BLOCK_CHARS = 2**18
_GAP = re.compile(r"[\s,]*")


def json_rows(stream: Any, *, is_lines: bool) -> Iterator[Row | Reject]:
    """Yield the rows of a binary stream.

    Args:
        stream: With ``readline(size)`` and ``read(size)``.
        is_lines: The name says that each line is an object; else an object may go over many lines.

    Raises:
        ValueError: an array or an object over many lines is damaged, or an element is longer than ``MAX_ROW_BYTES``.
    """
    first, lines = _first_line(stream), (line for line in _lines(stream) if line.strip())
    if first.startswith(b"[") and not _is_value(first):
        yield from _elements(_array_values(first[1:], stream))
    elif first.startswith(b"[") and (following := next(lines, b"")):
        yield from map(_parse_line, itertools.chain((first, following), lines))
    elif first.startswith(b"["):
        yield from _elements(json.loads(first))
    elif first.startswith(b"{") and not _is_value(first):
        yield from _one_object(first, stream, is_lines=is_lines)
    elif first:
        yield from map(_parse_line, itertools.chain((first,), lines))


def _first_line(stream: Any) -> bytes:
    """Return the first line that is not blank, without a byte order mark, or the beginning of a very long one."""
    while line := stream.readline(MAX_ROW_BYTES + 1):
        if stripped := line.removeprefix(codecs.BOM_UTF8).lstrip():
            return stripped
    return b""


def _lines(stream: Any) -> Iterator[bytes]:
    """Yield the lines; of one that is too long only the beginning, without holding the rest."""
    while line := stream.readline(MAX_ROW_BYTES + 1):
        rest = line
        while len(rest) > MAX_ROW_BYTES and not rest.endswith(b"\n"):
            rest = stream.readline(MAX_ROW_BYTES + 1)
        yield line


def _is_value(line: bytes) -> bool:
    try:
        json.loads(line)
    except RecursionError:
        return True
    except ValueError:
        return False
    return True


def _one_object(first: bytes, stream: Any, *, is_lines: bool) -> Iterator[Row | Reject]:
    """Yield an object over many lines; where it is none, each line is a row, as after a bad first line."""
    content = first + stream.read(MAX_OBJECT_BYTES)
    content += stream.readline(MAX_ROW_BYTES)
    try:
        yield json.loads(content)
    except (ValueError, RecursionError) as error:
        lines = [line for line in content.splitlines(keepends=True) if line.strip()]
        if not is_lines and not any(isinstance(_parse_line(line), dict) for line in lines[1:]):
            raise ValueError(f"the object over many lines does not parse: {error}") from error
        yield from map(_parse_line, itertools.chain(lines, (line for line in _lines(stream) if line.strip())))


def _parse_line(line: bytes) -> Row | Reject:
    if len(line) > MAX_ROW_BYTES:
        return bad_row("row_too_long", f"a line of more than {MAX_ROW_BYTES} bytes", line)
    try:
        value = json.loads(line)
    except RecursionError:
        return bad_row("nested_too_deeply", "the line is nested too deeply to be parsed", line)
    except ValueError as error:
        return bad_row("malformed_json", f"the line is no JSON: {error}", line)
    return value if isinstance(value, dict) else _no_object(value)


def _elements(values: Iterable[object]) -> Iterator[Row | Reject]:
    """Yield the rows of an array; strings are texts where the first element is one, as ``datasets`` reads them."""
    are_texts = None
    for value in values:
        are_texts = isinstance(value, str) if are_texts is None else are_texts
        if are_texts and isinstance(value, str):
            yield {"text": value}
        else:
            yield value if isinstance(value, dict) else _no_object(value)


def _no_object(value: object) -> Reject:
    shown = json.dumps(value).encode()
    return bad_row("not_an_object", f"a row is an object, and this is {type(value).__name__}", shown)


def bad_row(reason: str, detail: str, content: bytes) -> Reject:
    """Return the reject of a row that cannot be parsed; it keeps the beginning of what upstream stores."""
    shown = content[:SHOWN_BYTES].decode("utf-8", errors="backslashreplace")
    return Reject(part="", reason=reason, detail=detail, text=shown)


def _array_values(first: bytes, stream: Any) -> Iterator[object]:
    """Yield the elements of an array one by one; ``first`` is what was read behind its bracket."""
    decoder, parse = codecs.getincrementaldecoder("utf-8")(), json.JSONDecoder().raw_decode
    window, position, fault = decoder.decode(first), 0, "the array has no end"
    while not window.startswith("]", position := _end_of_gap(window, position)):
        try:
            value, end = parse(window, position)
        except json.JSONDecodeError as error:
            value, end, fault = None, len(window), f"an element of the array does not parse: {error}"
        except RecursionError as error:
            raise ValueError("an element of the array is nested too deeply") from error
        if end < len(window):
            yield value
            position = end
            continue
        window, position = window[position:], 0  # the element may go on in the next block
        block = stream.read(max(_BLOCK_CHARS, len(window)))
        if not block or len(window) > MAX_ROW_BYTES:
            raise ValueError(fault)
        window += decoder.decode(block)
    if window[position + 1 :].strip() or stream.read(_BLOCK_CHARS).strip():
        raise ValueError("there is text behind the end of the array")


def _end_of_gap(text: str, position: int) -> int:
    gap = _GAP.match(text, position)
    assert gap is not None, "the pattern matches the empty text"
    return gap.end()


class CountedFile(io.RawIOBase):
    """Counts the bytes that were read."""

    def __init__(self, file: Any) -> None:
        self._file, self.num_bytes = file, 0

    def readable(self) -> bool:
        """True: it is for reading only."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes into ``buffer`` and return their number."""
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        self.num_bytes += len(data)
        return len(data)
