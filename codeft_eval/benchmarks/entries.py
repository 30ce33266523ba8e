"""What an entry of BENCHMARKS says; the entries stand in benchmarks.py."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from codeft_eval.benchmarks.datafiles import DataFile
from codeft_eval.benchmarks.items import Item, Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedFigure:
    """Which published figure a benchmark may be set beside, and how far the protocols agree."""

    benchmark: str
    "as the reference table calls it"
    protocol: str
    "the published protocol, in words"
    difference: str
    "what differs from ours; shown wherever the two stand together"


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """One benchmark."""

    name: str
    title: str
    kind: Literal["code", "math"]
    languages: tuple[str, ...]
    protocol: str
    version: int
    "of prompt, stops, limits and tests; a change is a new version"
    data: DataFile
    read: Callable[[Rows, Rows], Iterable[Item]]
    oracle: Literal["python_tests", "nonce", "number", "math", "closing"]
    stops: tuple[str, ...]
    max_new_tokens: int
    select: Callable[[Mapping[str, Any]], bool] = lambda row: True
    "the rows that are scored"
    shots: Callable[[], Rows] = lambda: ()
    "solved examples shown before each item"
    more_data: tuple[DataFile, ...] = ()
    "what the examples are read from, where it is another file"
    published: PublishedFigure | None = None
    failing_solutions: Mapping[str, str] = field(default_factory=dict)
    "task id -> why its canonical solution fails"
