"""The row that a run reads at each position: a pure function of the seed and of where its phases begin.

So a resumed run reads on exactly where the killed one stopped, however long its phases turn out to be. A reading is the
number of a row plus the number of rows times that of the pass that reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
_STREAM = 6
"""Of random numbers, beside those of the variations; 1 is the annealing phase's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowOrder:
    """Without stages: the broad phase, then the annealing phase, each by a fresh permutation for every pass."""

    num_rows: int
    num_annealing_rows: int
    """The last rows are the annealing phase, read at the end of a run: as large a part of it as of the rows."""
    seed: int

    def phase_begins(
        self, stage_begins: tuple[int, ...], num_wanted: int, *, position: int = 0, before: tuple[int, ...] = ()
    ) -> tuple[int, ...]:
        """Return where the two phases of a run of ``num_wanted`` positions begin.

        What has begun at ``position``, by what was returned ``before``, stays; ``stage_begins`` is about the rate only.
        """
        del stage_begins
        if before and before[1] <= position:
            return before
        return 0, max(num_wanted - round(num_wanted * self.num_annealing_rows / self.num_rows), position)

    def rows(self, first: int, stop: int, phase_begins: tuple[int, ...]) -> Integers:
        """Return the rows of the positions from ``first`` up to ``stop``."""
        return self.readings(first, stop, phase_begins) % self.num_rows

    def readings(self, first: int, stop: int, phase_begins: tuple[int, ...]) -> Integers:
        """Return the readings of the same positions."""
        begin, num_broad = phase_begins[1], self.num_rows - self.num_annealing_rows
        middle = min(max(begin, first), stop)
        broad, passes = _passes(num_broad, first, middle, (self.seed,))
        annealing, more = _passes(self.num_annealing_rows, middle - begin, stop - begin, (self.seed, 1))
        return np.concatenate([broad, num_broad + annealing]) + self.num_rows * np.concatenate([passes, more])


class StageOrder:
    """By stages: groups of rows interleaved by their shares, evenly at any length.

    Each group goes on through the stages where it stopped: no row is read again before all of its group are read.
    """

    def __init__(self, groups: Sequence[Integers], shares: Sequence[npt.NDArray[np.float64]], seed: int) -> None:
        """Make the order.

        Args:
            groups: The rows of each group.
            shares: Of each stage, the share of its positions that each group has.
            seed: Of the permutations.
        """
        self._groups, self._shares, self._seed = groups, shares, seed
        self.num_rows = sum(len(rows) for rows in groups)

    def phase_begins(
        self, stage_begins: tuple[int, ...], num_wanted: int, *, position: int = 0, before: tuple[int, ...] = ()
    ) -> tuple[int, ...]:
        """Return ``stage_begins``: the stages are the phases."""
        del num_wanted, position, before
        return stage_begins

    def rows(self, first: int, stop: int, phase_begins: tuple[int, ...]) -> Integers:
        """Return the rows of the positions from ``first`` up to ``stop``."""
        return self.readings(first, stop, phase_begins) % self.num_rows

    def readings(self, first: int, stop: int, phase_begins: tuple[int, ...]) -> Integers:
        """Return the readings of the same positions; a group counts its own passes."""
        ends = (*phase_begins[1:], max(stop, phase_begins[-1]))
        found = np.empty(stop - first, dtype=np.int64)
        read = np.zeros(len(self._groups), dtype=np.int64)
        for shares, begin, end in zip(self._shares, phase_begins, ends, strict=True):
            low, high = max(first, begin), min(stop, end)
            if low < high:
                self._fill(found[low - first : high - first], low - begin, shares, read)
            read += _counts(end - begin, shares)
        return found

    def counts(self, num_positions: Sequence[int]) -> list[Integers]:
        """Return how many rows of each group the stages of these lengths read."""
        return [_counts(num, shares) for num, shares in zip(num_positions, self._shares, strict=True)]

    def _fill(self, part: Integers, first: int, shares: npt.NDArray[np.float64], read: Integers) -> None:
        """Write a stage's readings from position ``first`` on; ``read`` counts what earlier stages have read."""
        group, rank = _interleaved(first, first + len(part), shares)
        for number in np.unique(group):
            chosen, rows = group == number, self._groups[number]
            ranks = rank[chosen] + read[number]
            places, passes = _passes(len(rows), int(ranks[0]), int(ranks[-1]) + 1, (self._seed, _STREAM, int(number)))
            part[chosen] = rows[places] + self.num_rows * passes


def _interleaved(first: int, stop: int, shares: npt.NDArray[np.float64]) -> tuple[Integers, Integers]:
    """Return the group at each position, and how many positions before it are of the same group.

    Group after group takes its part of those positions that the groups before it left: of the first ``n`` of them it
    has ``floor(n * part)``, so that every stretch has all groups in their shares.
    """
    group = np.zeros(stop - first, dtype=np.int64)
    rank, left = np.arange(first, stop), np.arange(stop - first)
    for number, part in _parts(shares):
        taken = np.floor((rank[left] + 1) * part) > np.floor(rank[left] * part)
        before = np.floor(rank[left] * part).astype(np.int64)
        group[left[taken]] = number
        rank[left] = np.where(taken, before, rank[left] - before)
        left = left[~taken]
    return group, rank


def _counts(num_positions: int, shares: npt.NDArray[np.float64]) -> Integers:
    """Return how many of the first positions each group has."""
    counts, left = np.zeros(len(shares), dtype=np.int64), num_positions
    for number, part in _parts(shares):
        counts[number] = np.floor(left * part)
        left -= int(counts[number])
    return counts


def _parts(shares: npt.NDArray[np.float64]) -> list[tuple[int, float]]:
    """Return each group that has a share, and the part it takes of what the groups before it leave; the last has 1."""
    chosen = np.flatnonzero(shares)
    left = np.cumsum(shares[chosen][::-1])[::-1]
    return list(zip(chosen.tolist(), (shares[chosen] / left).tolist(), strict=True))


def _passes(num_rows: int, first: int, stop: int, seeds: tuple[int, ...]) -> tuple[Integers, Integers]:
    """Return positions ``first`` to ``stop`` of endless passes over ``num_rows`` rows, and the pass of each."""
    if stop <= first:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    numbers = range(first // num_rows, -(-stop // num_rows))
    passes = np.concatenate([_permutation(num_rows, (*seeds, number)) for number in numbers])
    begin = numbers.start * num_rows
    return passes[first - begin : stop - begin], np.arange(first, stop) // num_rows


@lru_cache(maxsize=512)
def _permutation(num_rows: int, seeds: tuple[int, ...]) -> Integers:
    return np.random.Generator(np.random.PCG64(list(seeds))).permutation(num_rows)
