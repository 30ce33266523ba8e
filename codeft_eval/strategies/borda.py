"""The enhanced Borda count of LLaMA-Berry (arXiv 2410.02884, section 2.4): an order from pairwise preferences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def borda_order(preferences: Sequence[Sequence[float]]) -> list[int]:
    """Return the numbers of the candidates, the best first.

    ``preferences[i][j]`` is the probability in 0..1 that i is better than j, above one half where it is preferred. A
    preference also holds through others (transitive closure, by Floyd and Warshall); a candidate's count is the
    number of those that it is preferred to. Equal counts are ordered by the mean of their own probabilities against
    the others, and what is still equal by number.

    Raises:
        ValueError: the matrix is not square, or a number is out of range.
    """
    matrix = np.asarray(preferences, dtype=float)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.min() < 0 or matrix.max() > 1:
        raise ValueError(
            f"preferences of shape {matrix.shape}: one row and one column a candidate, probabilities in 0..1; "
            "compare each pair"
        )
    reaches = matrix > 0.5
    np.fill_diagonal(reaches, False)
    for through in range(len(reaches)):
        reaches |= np.outer(reaches[:, through], reaches[through])
    np.fill_diagonal(reaches, False)
    counts = reaches.sum(axis=1)
    off_diagonal = matrix.copy()
    np.fill_diagonal(off_diagonal, 0.0)
    strengths = off_diagonal.sum(axis=1)
    return sorted(range(len(matrix)), key=lambda number: (-counts[number], -strengths[number], number))
