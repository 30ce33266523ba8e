"""OpenCoder's bounds on its measurements, by language, as its published filters have them; data, one line a rule.

The filters: OpenCoder-llm/opc_data_filtering, ``pipeline/code_filter_config.py`` at 44b857e8 (arXiv 2411.04905,
appendix A). A rule's name is its drop reason. Left out are what counts functions, variables and classes of C, C++, C#,
Go, Java and JavaScript by patterns, preprocessor lines, the parsers of JavaScript and HTML, and Go's test files:
documents have no names. Of files without logic theirs keeps a fifth at random; here none is kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from codeft_assets.curation.opencoder.measurements import Measured

ORIGIN = "OpenCoder, arXiv 2411.04905 appendix A"
DATA = ("css",)
"""Languages that are data to OpenCoder, as JSON and YAML are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Inclusive bounds on one measurement."""

    measurement: str
    low: float = -math.inf
    high: float = math.inf

    @property
    def name(self) -> str:
        """The drop reason."""
        return f"opencoder_{self.measurement}"

    def explain(self, value: float) -> str:
        """Return the detail of a drop."""
        return f"{self.measurement} = {round(value, 4):g} is outside [{self.low:g}, {self.high:g}] ({ORIGIN})"

    def is_broken(self, measured: Measured) -> bool:
        """Return whether the measurement lies outside; what could not be measured breaks nothing."""
        value = measured.get(self.measurement)
        return value is not None and not self.low <= value <= self.high


_GENERAL = (
    Rule(measurement="replacement_characters", high=0.01),
    Rule(measurement="num_words", low=30),
    Rule(measurement="num_chars", low=50),
    Rule(measurement="word_chars", low=2, high=10),
    Rule(measurement="top_2grams", high=0.2),
    Rule(measurement="top_3grams", high=0.18),
    Rule(measurement="top_4grams", high=0.16),
    Rule(measurement="repeated_5grams", high=0.8),
    Rule(measurement="repeated_6grams", high=0.7),
    Rule(measurement="repeated_7grams", high=0.7),
    Rule(measurement="repeated_8grams", high=0.7),
    Rule(measurement="repeated_9grams", high=0.7),
    Rule(measurement="repeated_10grams", high=0.6),
    Rule(measurement="repeated_lines", high=0.7),
    Rule(measurement="num_bytes", high=3e6),
    Rule(measurement="num_lines", low=10, high=100_000),
    Rule(measurement="line_chars_most", high=1000),
    Rule(measurement="line_chars_mean", low=5, high=100),
    Rule(measurement="letters", low=0.5),
    Rule(measurement="digits", high=0.2),
    Rule(measurement="blanks", high=0.5),
    Rule(measurement="comments", high=0.8),
    Rule(measurement="xml", high=0),
    Rule(measurement="generated", high=0),
    Rule(measurement="long_strings", high=0.2),
    Rule(measurement="strings", high=0.6),
    Rule(measurement="long_words", high=0.4),
    Rule(measurement="encoded", high=0),
    Rule(measurement="hexadecimal", high=0.4),
    Rule(measurement="to_do_lines", high=0.01),
    Rule(measurement="assert_lines", high=0.4),
)
_PYTHON = (
    Rule(measurement="python_parses", low=1),
    Rule(measurement="python_functions", high=0.2),
    Rule(measurement="python_no_variable", high=0),
    Rule(measurement="python_pass", high=0.05),
    Rule(measurement="python_imports", high=0.3),
    Rule(measurement="python_simple_functions", high=0.1),
    Rule(measurement="python_no_logic", high=0.5),
)
_PRINTS = Rule(measurement="print_lines", high=0.4)
_MAINS = Rule(measurement="num_mains", high=1)
_STRINGS = ("long_strings", "strings")
_ONE_BOUND = {f"repeated_{n}grams": {"high": 0.6} for n in range(5, 11)}


def _changed(without: Iterable[str] = (), bounds: Mapping[str, Mapping[str, float]] | None = None) -> tuple[Rule, ...]:
    left = [rule for rule in _GENERAL if rule.measurement not in without]
    return tuple(replace(rule, **(bounds or {}).get(rule.measurement, {})) for rule in left)


_DATA = (
    *_changed(without=(*_STRINGS, "to_do_lines", "assert_lines"), bounds={"num_chars": {"high": 5000}}),
    Rule(measurement="unique_words", low=0.4),
)
_BY_LANGUAGE = {
    "python": (*_GENERAL, *_PYTHON, _PRINTS),
    "c": (*_GENERAL, _MAINS, _PRINTS),
    "cpp": (*_GENERAL, _MAINS, _PRINTS),
    **dict.fromkeys(("csharp", "java", "javascript"), (*_GENERAL, _PRINTS)),
    "go": (*_changed(without=("assert_lines",)), _PRINTS),
    "shell": _changed(without=(*_STRINGS, "assert_lines")),
    "sql": _changed(bounds={"digits": {"high": 0.3}}),
    "html": _changed(without=(*_STRINGS, "comments", "long_words", "to_do_lines", "assert_lines"), bounds=_ONE_BOUND),
    **dict.fromkeys(DATA, _DATA),
}


def rules_of(language: str) -> tuple[Rule, ...]:
    """Return the rules of a language, in the order in which they are checked."""
    return _BY_LANGUAGE.get(language, _GENERAL)


def first_broken(measured: Measured, language: str) -> tuple[str, str] | None:
    """Return drop reason and detail of the first rule that a file breaks; None if it breaks none."""
    for rule in rules_of(language):
        value = measured.get(rule.measurement)
        if value is not None and rule.is_broken(measured):
            return rule.name, rule.explain(value)
    return None


def broken_rules(measured: Measured, language: str) -> list[Rule]:
    """Return the rules of a language that a file breaks."""
    return [rule for rule in rules_of(language) if rule.is_broken(measured)]
