"""Quality rules: published bounds on signals, and the one reason for which a document would be left out.

Invariant: a rule is data. It names its signal, inclusive bounds, the documents it applies to and the paper it comes
from; rules made for prose never apply to code, but to pages of Markdown whatever language their code is in, rules made
for raw web text never to curated conversations. To add a rule, add an entry; to list the documents it drops, query the
scores by ``drop_reason``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import polars as pl

from codeft_assets.curation.documents import DOMAINS, FORMATS
from codeft_assets.curation.ingest.programming_languages import LANGUAGE_BY_SUFFIX
from codeft_assets.curation.quality.natural_language import UNKNOWN
from codeft_assets.curation.quality.signals import SIGNAL_NAMES

TEXT = ("text",)
SOME_CODE = "code"
"""What a text is judged as that reads like code, in a language that nobody named and that was not detected."""
CODE = (*sorted(set(LANGUAGE_BY_SUFFIX.values()) - {"html", "css"}), SOME_CODE)
CURATED = tuple(name for name in FORMATS if name != "raw")
LANGUAGE = "language"
"""The drop reason of prose in a natural language that its source does not keep."""
LOW_EDUCATIONAL_VALUE = "low_educational_value"
"""The drop reason of a document that passes every rule but scores below its source's minimum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityRule:
    """Bounds on one signal for some documents; a document outside them has the rule's name as its drop reason."""

    name: str
    signal: str
    low: float = -math.inf
    """Smallest value that passes."""
    high: float = math.inf
    """Largest value that passes."""
    formats: tuple[str, ...] = FORMATS
    domains: tuple[str, ...] = DOMAINS
    languages: tuple[str, ...] = ()
    """Languages it applies to; empty for all."""
    natural_languages: tuple[str, ...] = ()
    """Natural languages it applies to; empty for all."""
    origin: str
    """The paper and place of the threshold, or our measurement."""

    def __post_init__(self) -> None:
        if self.signal not in SIGNAL_NAMES:
            raise ValueError(
                f"rule {self.name!r}: signal {self.signal!r} is not in SIGNALS; take one of {SIGNAL_NAMES}"
            )
        if not self.low <= self.high or (math.isinf(self.low) and math.isinf(self.high)):
            raise ValueError(f"rule {self.name!r}: bounds [{self.low}, {self.high}] pass nothing or all; correct them")


_STARCODER = "StarCoder, arXiv 2305.06161 section 3.1"
_OPENCODER = "OpenCoder, arXiv 2411.04905 appendix A"
_GOPHER = "Gopher, arXiv 2112.11446 table A1"
_FINEWEB = "FineWeb, arXiv 2406.17557 section 3.5"
_C4 = "C4, arXiv 1910.10683 section 2.2: nothing is left of a page without a sentence"

_CODE_RULES = (
    ("code_max_line", "max_line_chars", 0, 1000, CODE, _STARCODER),
    ("code_mean_line", "mean_line_chars", 0, 100, CODE, _STARCODER),
    ("code_letters", "alpha_fraction", 0.25, 1, CODE, _STARCODER),
    ("code_digits", "code_digit_fraction", 0, 0.2, CODE, f"{_OPENCODER}; a docstring's matrix is no data"),
    ("code_lines", "num_lines", 5, 100_000, CODE, f"{_OPENCODER}; there 10, which drops whole solutions"),
    ("code_generated", "generated_marker", 0, 0, CODE, "StarCoder2, arXiv 2402.19173 section 2.1"),
    ("code_comments", "comment_fraction", 0, 0.8, CODE, _STARCODER),
    ("code_strings", "string_fraction", 0, 0.6, CODE, _OPENCODER),
    ("code_encoded", "encoded_fraction", 0, 0.4, CODE, _OPENCODER),
    ("code_asserts", "test_line_fraction", 0, 0.4, CODE, _OPENCODER),
    ("code_imports", "import_line_fraction", 0, 0.3, ("python",), _OPENCODER),
    ("code_brackets", "unbalanced_fraction", 0, 0.1, ("python",), "codeFT; OpenCoder asks that the code parses"),
)
_PROSE_RULES = (
    ("prose_words", "num_words", 50, 100_000, ("code", "reasoning"), _GOPHER),
    ("page_words", "num_words", 10, 100_000, ("code", "reasoning"), "codeFT: a task and its answer"),
    ("math_words", "num_words", 10, 100_000, ("math",), "codeFT: an olympiad problem is stated in ten words or more"),
    ("prose_word_length", "mean_word_chars", 3, 10, ("code", "reasoning"), _GOPHER),
    ("prose_bullets", "bullet_line_fraction", 0, 0.9, DOMAINS, _GOPHER),
    ("prose_stop_words", "num_stop_words", 2, 8, ("code", "reasoning"), _GOPHER),
    ("math_stop_words", "num_stop_words", 1, 8, ("math",), f"codeFT: a problem is a sentence, not a page; {_GOPHER}"),
    ("prose_duplicate_lines", "duplicate_line_fraction", 0, 0.3, DOMAINS, _GOPHER),
    # C4's and FineWeb's line-end rules delete pages of LaTeX (FineMath), so they do not apply to mathematics.
    ("prose_sentences", "sentence_line_fraction", 0.01, 1, ("code", "reasoning"), f"{_C4}; after {_FINEWEB}, at 0.01"),
    ("prose_encoded", "encoded_fraction", 0, 0.4, DOMAINS, _OPENCODER),
)
_CURATED_RULES = (
    ("curated_words", "num_words", 3, math.inf, "codeFT: shorter rows are empty answers"),
    ("curated_repetition", "duplicate_ngram_fraction", 0, 0.8, "codeFT: loops of a generating model"),
    ("curated_encoded", "encoded_fraction", 0, 0.6, "codeFT: dumps of keys and hashes"),
)
_ENGLISH = frozenset(("prose_word_length", "prose_stop_words", "math_stop_words", "prose_sentences"))
"""Rules that know English: its words, their length, its full stops."""
_PAGES_PASS = frozenset(("prose_words", "prose_stop_words", "prose_word_length"))
"""Rules for pages without code: a page of code and a sentence or two is held to ``page_words``, and code's words are
short (of 16 documents that ``prose_word_length`` dropped, 12 were such pages: docs/measured/filter_reading.csv)."""
QUALITY_RULES: tuple[QualityRule, ...] = (
    *(
        QualityRule(name=name, signal=signal, low=low, high=high, formats=("raw",), languages=languages, origin=origin)
        for name, signal, low, high, languages, origin in _CODE_RULES
    ),
    *(
        QualityRule(
            name=name,
            signal=signal,
            low=low,
            high=high,
            formats=("raw",),
            domains=domains,
            languages=TEXT,
            natural_languages=("en", UNKNOWN) if name in _ENGLISH else (),
            origin=origin,
        )
        for name, signal, low, high, domains, origin in _PROSE_RULES
    ),
    *(
        QualityRule(name=name, signal=signal, low=low, high=high, formats=CURATED, origin=origin)
        for name, signal, low, high, origin in _CURATED_RULES
    ),
)
"""All rules; the first one that a document breaks, in this order, is its drop reason."""
CODE_RULE_NAMES = frozenset(name for name, *_ in _CODE_RULES)


def drop_reasons(
    scored: pl.DataFrame, *, rules: tuple[QualityRule, ...] = QUALITY_RULES, natural_languages: tuple[str, ...] = ()
) -> pl.DataFrame:
    """Return ``drop_reason`` (null: kept) and ``drop_detail``, one row per row of ``scored``, in order.

    Args:
        scored: Signals, ``format``, ``domain``, ``language``, ``natural_language``, ``educational_value`` and
            ``minimum_educational_value`` (the source's; null where the source has no minimum).
        rules: Checked in order, behind the natural language; the minimum comes last.
        natural_languages: Those that the source keeps, besides what is in none; empty for all.
    """
    broken = [(rule.name, pl.col(rule.signal), _breaks(rule)) for rule in rules]
    value, minimum = pl.col("educational_value"), pl.col("minimum_educational_value")
    broken.append((LOW_EDUCATIONAL_VALUE, value, (_exact(value) < _exact(minimum)).fill_null(value=False)))
    if natural_languages:
        is_foreign = ~pl.col("natural_language").is_in([UNKNOWN, *natural_languages])
        broken.insert(0, (LANGUAGE, pl.lit(None), is_foreign))
    found = scored.select(
        "natural_language",
        pl.coalesce([pl.when(breaks).then(pl.lit(name)) for name, _, breaks in broken]).alias("drop_reason"),
        pl.coalesce([pl.when(breaks).then(measured.cast(pl.Float64)) for _, measured, breaks in broken]).alias("value"),
        minimum.cast(pl.Float64).alias("minimum"),
    )
    signal_by_rule = {rule.name: f"{rule.signal} = " for rule in rules} | {
        LOW_EDUCATIONAL_VALUE: "educational_value = "
    }
    claim_by_rule = {rule.name: _claim(rule) for rule in rules}
    below = pl.concat_str(pl.lit(" is below the source's minimum "), _short("minimum"))
    reason = pl.col("drop_reason")
    detail = pl.concat_str(
        reason.replace_strict(signal_by_rule, default=None, return_dtype=pl.String),
        _short("value"),
        pl.coalesce(reason.replace_strict(claim_by_rule, default=None, return_dtype=pl.String), below),
    )
    foreign = pl.format("natural_language = {} is none of {}", "natural_language", pl.lit(", ".join(natural_languages)))
    explained = pl.when(reason == LANGUAGE).then(foreign).when(reason.is_not_null()).then(detail)
    return found.select("drop_reason", explained.alias("drop_detail"))


def _breaks(rule: QualityRule) -> pl.Expr:
    applies = pl.col("format").is_in(rule.formats) & pl.col("domain").is_in(rule.domains)
    if rule.languages:
        applies &= _judged_as().is_in(rule.languages)
    if rule.natural_languages:
        applies &= pl.col("natural_language").is_in(rule.natural_languages)
    if rule.name in _PAGES_PASS:
        applies &= pl.col("page_marker") == 0
    return applies & ~_exact(pl.col(rule.signal)).is_between(rule.low, rule.high, closed="both")


def _judged_as() -> pl.Expr:
    """Return the language by whose rules a document is judged."""
    # Prose has 0.03 to 0.06 symbols and 0.2 to 0.4 function words, a Kotlin solution without its path 0.15 and 0.04.
    # Formulas of mathematics are neither.
    reads_like_code = (pl.col("symbol_fraction") >= 0.1) & (pl.col("function_word_fraction") < 0.1)
    is_unnamed_code = (pl.col("language") == TEXT[0]) & (pl.col("domain") == "code") & reads_like_code
    return (
        pl.when(pl.col("page_marker") > 0)
        .then(pl.lit(TEXT[0]))
        .when(is_unnamed_code)
        .then(pl.lit(SOME_CODE))
        .otherwise("language")
    )


def _exact(value: pl.Expr) -> pl.Expr:
    """Return float32 measurements as the decimal numbers that bounds are written in: 0.3, not 0.30000001."""
    return value.cast(pl.Float64).round(6)


def _claim(rule: QualityRule) -> str:
    return f" is outside [{rule.low:g}, {rule.high:g}] ({rule.origin})"


def _short(column: str) -> pl.Expr:
    return pl.col(column).round(4).cast(pl.String)
