"""Components of documents that are linked, whatever the length of the chain: what can be deduplicated apart.

Invariant: of a document that is not linked two bits are held, and eight to sixteen bytes of one that is. A component
is named by its smallest number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from codeft_assets.curation.kernels.components import flatten, join, mark, marked, marked_before

Numbers = npt.NDArray[np.integer]
Links = Callable[[], Iterator[tuple[Numbers, Numbers]]]
"""Yields links of two numbers each, in parts; it is called twice."""


class Components:
    """The components of ``num_documents`` numbered documents under ``links``."""

    def __init__(self, num_documents: int, links: Links) -> None:
        self._bits = np.zeros(num_documents // 64 + 1, dtype=np.uint64)
        for left, right in links():
            mark(self._bits, left)
            mark(self._bits, right)
        self._before = marked_before(self._bits)
        self._num_documents = num_documents
        self.num_linked = int(self._before[-1])
        self._parents = np.arange(self.num_linked, dtype=np.uint32 if self.num_linked < 1 << 32 else np.uint64)
        for left, right in links():
            join(self._bits, self._before, self._parents, left, right)
        flatten(self._parents)
        self._roots = self._numbers_of_roots()

    def _numbers_of_roots(self) -> Numbers:
        """Return, at the rank of each root, its number."""
        numbers = np.empty(self.num_linked, dtype=np.uint32 if self._num_documents < 1 << 32 else np.uint64)
        for begin in range(0, self._num_documents, 1 << 22):
            found = self._marked(begin, begin + (1 << 22))
            rank = int(self._before[begin // 64])
            numbers[rank : rank + len(found)] = found
        return numbers

    def _marked(self, begin: int, end: int) -> Numbers:
        return marked(self._bits, begin, min(end, self._num_documents))

    def members(self, begin: int, end: int) -> tuple[Numbers, Numbers]:
        """Return the linked numbers from ``begin`` to ``end``, in order, and the component of each."""
        found = self._marked(begin, end)
        ranks = int(self._before[begin // 64]) + len(self._marked(begin // 64 * 64, begin))
        return found, self._roots[self._parents[ranks : ranks + len(found)]].astype(np.int64)
