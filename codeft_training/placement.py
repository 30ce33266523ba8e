"""Where documents go in rows of one length: best fit, then splitting, so that no token is lost and no row is short."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a document at a place in a row."""

    row: int
    start: int
    length: int
    document: int
    document_start: int


def place_pieces(lengths: list[int], row_tokens: int) -> list[Piece]:
    """Return where each document goes: whole rows first, remainders by best fit, gaps filled by splitting.

    Every token of every document is in exactly one piece; at most one row is left short.
    """
    rows: list[list[tuple[int, int, int]]] = []  # per row: (document, document_start, length)
    remainders: list[tuple[int, int, int]] = []
    for document, length in enumerate(lengths):
        rows.extend([(document, start, row_tokens)] for start in range(0, length - length % row_tokens, row_tokens))
        if length % row_tokens:
            remainders.append((document, length - length % row_tokens, length % row_tokens))
    rows += _fill_gaps(_best_fit(remainders, row_tokens), row_tokens)
    return [piece for row, parts in enumerate(rows) for piece in _pieces_of_row(row, parts)]


def _pieces_of_row(row: int, parts: list[tuple[int, int, int]]) -> Iterator[Piece]:
    at = 0
    for document, document_start, length in parts:
        yield Piece(row, at, length, document, document_start)
        at += length


def _best_fit(remainders: list[tuple[int, int, int]], row_tokens: int) -> list[list[tuple[int, int, int]]]:
    """Put each remainder, longest first, into the row whose free space it fits best."""
    by_space: list[list[int]] = [[] for _ in range(row_tokens + 1)]
    rows: list[list[tuple[int, int, int]]] = []
    spaces = _Spaces(row_tokens)
    for part in sorted(remainders, key=lambda part: (-part[2], part[0], part[1])):
        space = spaces.smallest_at_least(part[2])
        if space is None:
            rows.append([part])
            row, left = len(rows) - 1, row_tokens - part[2]
        else:
            row, left = by_space[space].pop(), space - part[2]
            rows[row].append(part)
            if not by_space[space]:
                spaces.remove(space)
        by_space[left].append(row)
        if left:
            spaces.add(left)
    return rows


class _Spaces:
    """The set of free sizes that some row has; finds the smallest one that is large enough."""

    def __init__(self, largest: int) -> None:
        self._has = np.zeros(largest + 2, dtype=np.bool_)

    def add(self, space: int) -> None:
        self._has[space] = True

    def remove(self, space: int) -> None:
        self._has[space] = False

    def smallest_at_least(self, size: int) -> int | None:
        found = int(np.argmax(self._has[size:]))
        return size + found if self._has[size + found] else None


def _fill_gaps(rows: list[list[tuple[int, int, int]]], row_tokens: int) -> list[list[tuple[int, int, int]]]:
    """Split the pieces of the emptiest rows into the gaps of the others until only one row is short."""
    used = [sum(length for _, _, length in row) for row in rows]
    order = sorted(range(len(rows)), key=lambda i: (-used[i], i))
    full, emptiest = 0, len(order) - 1
    while full < emptiest:
        row, donor = order[full], order[emptiest]
        gap = row_tokens - used[row]
        if gap == 0:
            full += 1
        elif not rows[donor]:
            emptiest -= 1
        else:
            document, start, length = rows[donor].pop()
            taken = min(gap, length)
            rows[row].append((document, start, taken))
            if length > taken:
                rows[donor].append((document, start + taken, length - taken))
            used[row] += taken
            used[donor] -= taken
    return [row for row in rows if row]
