"""The stages of a run: each has a share of the steps, a line that its learning rate follows, and a mixture of rows.

A mixture maps selectors to weights, the shares of the stage's tokens once they are divided by their sum. A selector is
``*``, or conditions that all hold, such as ``format=instruct|textbook,language=python``. A row belongs to the selector
with the most conditions that it meets, so the order of selectors says nothing; a row that meets none, or one of weight
0, is not read. Within a selector, rows are read in their natural proportion.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from codeft_training.recipe_fields import SHARE, Rule, check_fields

ROW_COLUMNS = ("source", "domain", "format", "language", "phase")
"""What packing tells of a row; ``phase`` is ``broad`` or ``annealing``, as the corpus planned its readings."""
EVERYTHING = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A part of a run, one engine and one optimizer through all of them."""

    name: str
    share: float
    """Of the steps, or of the time budget; those of all stages add up to 1."""
    start_rate: float = 1.0
    """Learning rate at its beginning, as a share of ``learning_rate``."""
    end_rate: float = 1.0
    """At its last step; between the two the rate follows a straight line."""
    mixture: Mapping[str, float] = field(default_factory=dict)
    """Selector -> weight; without any, all rows in their natural proportion."""

    RULES: ClassVar[Mapping[str, Rule]] = {
        "name": Rule("letters, digits, - and _", lambda text: text.replace("-", "").replace("_", "").isalnum()),
        "share": Rule("positive and at most 1", lambda x: 0 < x <= 1),
        "start_rate": SHARE,
        "end_rate": SHARE,
        "mixture": Rule("selectors with their weights, such as {'*': 1.0}", lambda x: isinstance(x, Mapping)),
    }

    def __post_init__(self) -> None:
        check_fields(self)
        object.__setattr__(self, "mixture", {text: _weight(text, weight) for text, weight in self.mixture.items()})
        if self.mixture and not sum(self.mixture.values()):
            raise ValueError(f"mixture {dict(self.mixture)} must have a positive weight")

    def describe_mixture(self) -> str:
        """Return the mixture in words."""
        total = sum(self.mixture.values())
        parts = (f"{weight / total:.0%} {selector}" for selector, weight in self.mixture.items() if weight)
        return ", ".join(parts) or "all rows"

    def values(self) -> dict[str, Any]:
        """Return the fields, as JSON holds them."""
        return asdict(self)


def make_stages(records: Iterable[Stage | Mapping[str, Any]]) -> tuple[Stage, ...]:
    """Return the stages of which some are given by their fields.

    Raises:
        ValueError: a field is unknown or missing, a value breaks its rule, or they do not make up a run.
    """
    stages = tuple(record if isinstance(record, Stage) else _make_stage(record) for record in records)
    names = [stage.name for stage in stages]
    if len(set(names)) < len(names):
        raise ValueError(f"the stages {names} must have different names")
    total = sum(stage.share for stage in stages)
    if stages and not math.isclose(total, 1, abs_tol=1e-6):
        raise ValueError(f"the shares of the stages {names} must add up to 1, not {total:g}")
    return stages


def change_stages(stages: Sequence[Stage], changes: Mapping[str, str]) -> tuple[Stage, ...]:
    """Return the stages with fields, named ``stage.field``, replaced by values given as text.

    Raises:
        ValueError: there is no such stage or field, or as ``make_stages``.
    """
    records = {stage.name: stage.values() for stage in stages}
    for name, text in changes.items():
        stage, _, field_name = name.partition(".")
        if field_name not in records.get(stage, {}):
            known = [f"{owner}.{known}" for owner, values in records.items() for known in values]
            raise ValueError(f"no stage has the field {name!r}; there are {known}")
        records[stage][field_name] = text if field_name == "name" else _number_or_mixture(name, text)
    return make_stages(records.values())


def _number_or_mixture(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"""{name} = {text!r} must be a number, or a mixture such as {{"*": 1}}""") from error


def _make_stage(record: Any) -> Stage:
    known = {"name", "share", "start_rate", "end_rate", "mixture"}
    if not isinstance(record, Mapping) or not {"name", "share"} <= set(record) <= known:
        raise ValueError(f"stage {record!r} must have name and share, and of {sorted(known)} no others")
    try:
        return Stage(**record)
    except ValueError as error:
        raise ValueError(f"stage {record['name']!r}: {error}") from error


def _weight(selector: str, weight: Any) -> float:
    parse_selector(selector)
    if type(weight) not in {int, float} or not 0 <= weight < math.inf:
        raise ValueError(f"the weight {weight!r} of {selector!r} must be a number of at least 0")
    return float(weight)


def parse_selector(text: str) -> dict[str, frozenset[str]]:
    """Return the values that each named column may have.

    Raises:
        ValueError: it is not ``*`` or ``column=value|value,column=value`` with columns of ``ROW_COLUMNS``.
    """
    if text == EVERYTHING:
        return {}
    pairs = [part.partition("=") for part in text.split(",")]
    if any(not values or column not in ROW_COLUMNS for column, _, values in pairs):
        raise ValueError(
            f"selector {text!r} must be '*' or such as 'format=instruct|textbook,language=python', with columns of "
            f"{ROW_COLUMNS}"
        )
    return {column: frozenset(values.split("|")) for column, _, values in pairs}
