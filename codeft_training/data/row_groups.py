"""Groups of rows: rows of documents that have source, domain, format, language and phase in common.

The manifest of packed rows lists them, so that a stage's mixture is drawn from rows that were packed once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from codeft_training.recipe_stages import ROW_COLUMNS, Stage, parse_selector

if TYPE_CHECKING:
    import pyarrow as pa

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RowGroup:
    """Some training rows, and what their documents have in common; {} where rows were packed together."""

    columns: Mapping[str, str]
    rows: Integers
    num_tokens: int

    def meets(self, selector: str) -> bool:
        """Return whether a selector's conditions hold."""
        return all(self.columns.get(column) in values for column, values in parse_selector(selector).items())


class GroupCounter:
    """Collects the groups while rows are written."""

    def __init__(self) -> None:
        self._ranges: dict[tuple[str, ...], list[list[int]]] = defaultdict(list)
        self._num_tokens: dict[tuple[str, ...], int] = defaultdict(int)

    def add(self, key: tuple[str, ...], first: int, stop: int, num_tokens: int) -> None:
        """Add rows of a group; ``key`` has the values of ``ROW_COLUMNS``."""
        self._num_tokens[key] += num_tokens
        ranges = self._ranges[key]
        if ranges and ranges[-1][1] == first:
            ranges[-1][1] = stop
        elif stop > first:
            ranges.append([first, stop])

    def records(self) -> list[dict[str, Any]]:
        """Return the groups as the manifest has them."""
        return [
            dict(zip(ROW_COLUMNS, key, strict=True)) | {"num_tokens": self._num_tokens[key], "rows": ranges}
            for key, ranges in sorted(self._ranges.items())
            if ranges
        ]


def split_readings(
    spans: pa.Table, readings: Integers, phase: str, *, grouped: bool
) -> Iterator[tuple[tuple[str, ...], Integers]]:
    """Yield the readings of each group, with the group's values of ``ROW_COLUMNS``; all together if not ``grouped``."""
    if not grouped:
        yield (), readings
        return
    values = zip(*(spans[column].to_pylist() for column in ROW_COLUMNS[:-1]), strict=True)
    numbers: dict[tuple[str, ...], int] = {}
    group = np.array([numbers.setdefault((*key, phase), len(numbers)) for key in values], dtype=np.int64)
    for key, number in sorted(numbers.items()):
        yield key, readings[group[readings] == number]


def read_groups(split: Mapping[str, Any]) -> list[RowGroup]:
    """Return the groups of a split, by its part of the manifest."""
    records = split.get("groups")
    if not records:
        return [RowGroup({}, np.arange(split["num_rows"]), split["num_tokens"])]
    return [
        RowGroup(
            {column: record[column] for column in ROW_COLUMNS},
            np.concatenate([np.arange(first, stop) for first, stop in record["rows"]]),
            record["num_tokens"],
        )
        for record in records
    ]


def group_numbers(split: Mapping[str, Any]) -> Integers:
    """Return the number of each row's group; without groups, those of the broad and of the annealing phase."""
    groups = read_groups(split)
    numbers = np.zeros(split["num_rows"], dtype=np.int64)
    if not groups[0].columns:
        numbers[split["num_rows"] - split["num_annealing_rows"] :] = 1
    else:
        for number, group in enumerate(groups):
            numbers[group.rows] = number
    return numbers


def group_shares(stage: Stage, groups: Sequence[RowGroup]) -> npt.NDArray[np.float64]:
    """Return the share of a stage's rows that each group has; they add up to 1.

    Raises:
        ValueError: a selector is met by no group, or a group meets two equally well.
    """
    mixture = stage.mixture or {"*": 1.0}
    owners = [_owner(stage, group, mixture) for group in groups]
    shares = np.zeros(len(groups))
    for selector, weight in mixture.items():
        owned = np.array([owner == selector for owner in owners])
        if not owned.any():
            raise ValueError(_unmet(stage, selector, groups))
        sizes = np.array([len(group.rows) for group in groups]) * owned
        shares += weight * sizes / sizes.sum()
    return shares / shares.sum()


def _owner(stage: Stage, group: RowGroup, mixture: Mapping[str, float]) -> str | None:
    met = sorted((len(parse_selector(selector)), selector) for selector in mixture if group.meets(selector))
    if len(met) > 1 and met[-1][0] == met[-2][0]:
        raise ValueError(
            f"stage {stage.name!r} weighs rows of {dict(group.columns)} by {met[-2][1]!r} and by {met[-1][1]!r}; name "
            f"one more column in one of them"
        )
    return met[-1][1] if met else None


def _unmet(stage: Stage, selector: str, groups: Sequence[RowGroup]) -> str:
    problem = f"stage {stage.name!r} weighs {selector!r}, of which there are no rows"
    if not groups[0].columns:
        return f"{problem}: they were packed together; materialize corpus/packed with this recipe (pack --recipe)"
    known = {column: sorted({group.columns[column] for group in groups}) for column in ROW_COLUMNS}
    return f"{problem} that no longer selector has; the rows have {known}: change the mixture"
