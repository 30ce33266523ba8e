import polars as pl
import pytest

from codeft_assets.curation.quality.rules import CODE, QUALITY_RULES, QualityRule, drop_reasons
from codeft_assets.curation.quality.signals import SIGNAL_NAMES

# A document inside every bound, whatever its format.
PASSING = dict.fromkeys(SIGNAL_NAMES, 0.0) | {
    "num_words": 500,
    "num_lines": 50,
    "mean_line_chars": 30,
    "max_line_chars": 80,
    "alpha_fraction": 0.6,
    "mean_word_chars": 5,
    "num_stop_words": 5,
    "sentence_line_fraction": 0.5,
}


def decide(
    *,
    format: str = "raw",
    domain: str = "code",
    language: str = "python",
    natural_language: str = "",
    minimum: float | None = None,
    kept: tuple[str, ...] = (),
    **signals,
):
    row = PASSING | {"educational_value": 0.5} | signals
    keys = {"format": format, "domain": domain, "language": language, "natural_language": natural_language}
    frame = pl.DataFrame([row | keys]).with_columns(
        pl.lit(minimum, dtype=pl.Float32).alias("minimum_educational_value"),
        pl.col(*SIGNAL_NAMES).cast(pl.Float32),
    )
    return drop_reasons(frame, natural_languages=kept).row(0)


def where_applied(rule: QualityRule) -> dict[str, str]:
    return {
        "format": rule.formats[0],
        "domain": rule.domains[0],
        "language": (rule.languages or ("python",))[0],
        "natural_language": (rule.natural_languages or ("",))[0],
    }


BOUNDS = [(rule, bound) for rule in QUALITY_RULES for bound in (rule.low, rule.high) if abs(bound) != float("inf")]


@pytest.mark.parametrize(("rule", "bound"), BOUNDS, ids=lambda value: getattr(value, "name", value))
def test_a_bound_is_inclusive(rule: QualityRule, bound: float):
    assert decide(**where_applied(rule), **{rule.signal: bound})[0] != rule.name


@pytest.mark.parametrize(("rule", "bound"), BOUNDS, ids=lambda value: getattr(value, "name", value))
def test_just_outside_a_bound_is_dropped(rule: QualityRule, bound: float):
    step = max(abs(bound) * 1e-3, 1e-3)
    outside = bound - step if bound == rule.low else bound + step
    only = drop_reasons(
        pl.DataFrame([PASSING | where_applied(rule) | {rule.signal: outside, "educational_value": 1.0}]).with_columns(
            pl.lit(None, dtype=pl.Float32).alias("minimum_educational_value")
        ),
        rules=(rule,),
    )
    assert only["drop_reason"][0] == rule.name


@pytest.mark.parametrize("language", CODE)
def test_rules_for_prose_never_judge_code(language: str):
    prose_sins = {"num_stop_words": 0, "sentence_line_fraction": 0, "num_words": 20, "bullet_line_fraction": 1}
    assert decide(language=language, **prose_sins) == (None, None)


@pytest.mark.parametrize("language", CODE)
def test_a_page_of_markdown_is_judged_as_prose_with_code_in_it(language: str):
    code_sins = {"max_line_chars": 5000, "mean_line_chars": 300, "num_lines": 3, "code_digit_fraction": 0.3}
    assert decide(language=language, **code_sins)[0] is not None
    assert decide(language=language, page_marker=1, num_words=20, **code_sins) == (None, None)
    assert decide(language=language, page_marker=1, encoded_fraction=0.5)[0] == "prose_encoded"


@pytest.mark.parametrize("format", ["instruct", "textbook", "cot", "review", "agent"])
def test_curated_rows_are_not_held_to_the_bar_of_raw_web_text(format: str):
    web_sins = {"max_line_chars": 5000, "num_words": 10, "num_lines": 2, "num_stop_words": 0, "generated_marker": 1}
    assert decide(format=format, **web_sins) == (None, None)
    assert decide(format="raw", **web_sins)[0] == "code_max_line"


def test_mathematics_is_not_judged_by_line_ends():
    assert decide(domain="math", language="text", sentence_line_fraction=0) == (None, None)
    assert decide(domain="code", language="text", sentence_line_fraction=0)[0] == "prose_sentences"


def test_a_short_problem_of_mathematics_is_no_page_of_prose():
    assert decide(domain="math", language="text", num_words=10, num_stop_words=1) == (None, None)
    assert decide(domain="code", language="text", num_words=10)[0] == "prose_words"


def test_the_detail_names_signal_value_bounds_and_origin():
    assert decide(max_line_chars=1001)[1] == (
        "max_line_chars = 1001.0 is outside [0, 1000] (StarCoder, arXiv 2305.06161 section 3.1)"
    )


def test_the_first_broken_rule_is_the_reason():
    assert decide(max_line_chars=2000, code_digit_fraction=0.9)[0] == "code_max_line"


@pytest.mark.parametrize(
    ("value", "minimum", "reason"),
    [(0.3, 0.3, None), (0.29, 0.3, "low_educational_value"), (0.0, None, None), (0.31, 0.3, None)],
)
def test_the_minimum_educational_value_is_inclusive(value: float, minimum: float | None, reason: str | None):
    assert decide(educational_value=value, minimum=minimum)[0] == reason


def test_a_low_educational_value_is_explained():
    assert decide(educational_value=0.1, minimum=0.5)[1] == "educational_value = 0.1 is below the source's minimum 0.5"


@pytest.mark.parametrize(
    ("natural_language", "kept", "reason"),
    [("ru", ("en", "de"), "language"), ("ru", ("ru",), None), ("ru", (), None), ("", ("en",), None)],
)
def test_prose_is_dropped_in_a_natural_language_that_its_source_does_not_keep(natural_language, kept, reason):
    page = {"language": "text", "num_stop_words": 0 if natural_language else 5, "mean_word_chars": 5}
    assert decide(natural_language=natural_language, kept=kept, **page)[0] == reason


def test_code_in_a_language_that_was_not_detected_is_judged_as_code():
    snippet = {"language": "text", "symbol_fraction": 0.15, "function_word_fraction": 0.04, "num_stop_words": 0}
    assert decide(**snippet)[0] is None
    assert decide(**snippet, page_marker=1, mean_word_chars=2)[0] is None  # so may be a page of code
    assert decide(**snippet, code_digit_fraction=0.5)[0] == "code_digits"
    assert decide(**snippet | {"symbol_fraction": 0.05})[0] == "prose_stop_words"
    assert decide(domain="math", **snippet)[0] == "math_stop_words"


def test_a_foreign_language_is_named_before_any_rule():
    found = decide(language="text", natural_language="zh", kept=("en", "de"), encoded_fraction=1.0, minimum=0.9)
    assert found == ("language", "natural_language = zh is none of en, de")


def test_rules_that_know_english_judge_english_only():
    sins = {"mean_word_chars": 1, "num_stop_words": 0, "sentence_line_fraction": 0}
    assert decide(language="text", natural_language="zh", **sins)[0] is None
    assert decide(language="text", natural_language="en", **sins)[0] == "prose_word_length"


def test_reasons_do_not_depend_on_the_order_of_rows():
    rows = [PASSING | {"max_line_chars": size} for size in (10, 5000, 20, 3000)]
    frame = pl.DataFrame(rows).with_columns(
        pl.lit("raw").alias("format"),
        pl.lit("code").alias("domain"),
        pl.lit("python").alias("language"),
        pl.lit("").alias("natural_language"),
        pl.lit(1.0).alias("educational_value"),
        pl.lit(None, dtype=pl.Float32).alias("minimum_educational_value"),
    )
    assert drop_reasons(frame.reverse()).rows() == drop_reasons(frame).reverse().rows()
    assert drop_reasons(frame)["drop_reason"].null_count() == 2


def test_rule_names_are_unique():
    names = [rule.name for rule in QUALITY_RULES]
    assert len(names) == len(set(names))


def test_a_rule_on_an_unknown_signal_is_refused():
    with pytest.raises(ValueError, match="'line_count' is not in SIGNALS"):
        QualityRule(name="x", signal="line_count", high=1, origin="none")


@pytest.mark.parametrize("bounds", [{}, {"low": 2.0, "high": 1.0}])
def test_a_rule_that_passes_nothing_or_all_is_refused(bounds: dict[str, float]):
    with pytest.raises(ValueError, match="pass nothing or all"):
        QualityRule(name="x", signal="num_words", origin="none", **bounds)
