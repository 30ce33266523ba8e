"""The plan keeps to shares, caps and budget, and the ledger gives every document exactly one fate."""

import polars as pl
import pytest

from codeft_assets.curation.ledger import write_ledger
from codeft_assets.curation.mixture import CHARS_PER_TOKEN, Mixture, plan_mixture, source_tokens

SHARES = {"code": 0.5, "math": 0.25, "reasoning": 0.25}


def documents(**sizes):
    """Return documents: source -> (domain, number, tokens each)."""
    rows = [
        (f"{source}-{i:04d}", source, domain, round(tokens * CHARS_PER_TOKEN))
        for source, (domain, number, tokens) in sizes.items()
        for i in range(number)
    ]
    schema = {"document_id": pl.String, "source": pl.String, "domain": pl.String, "num_chars": pl.UInt32}
    return pl.DataFrame(rows, schema=schema, orient="row")


def tokens_by_source(frame, plan):
    joined = plan.filter(pl.col("split") == "train").join(frame, on="document_id")
    tokens = (pl.col("num_chars") / CHARS_PER_TOKEN * pl.col("epochs")).sum()
    return dict(joined.group_by("source").agg(tokens).iter_rows())


def test_without_a_budget_every_document_is_read_once():
    frame = documents(a=("code", 100, 50), b=("math", 30, 10))
    plan, report = plan_mixture(frame, {"a": 1, "b": 1}, Mixture(domain_shares=SHARES))
    assert plan.height == frame.height == report.num_out
    assert plan["epochs"].unique().to_list() == [1]


def test_a_budget_divides_by_domain_and_weight():
    frame = documents(a=("code", 1000, 100), b=("code", 1000, 100), c=("math", 1000, 100), d=("reasoning", 1000, 100))
    mixture = Mixture(domain_shares=SHARES, token_budget=80_000, validation_fraction=0)
    plan, _ = plan_mixture(frame, {"a": 3, "b": 1, "c": 1, "d": 1}, mixture)
    found = tokens_by_source(frame, plan)
    assert found == pytest.approx({"a": 30_000, "b": 10_000, "c": 20_000, "d": 20_000}, rel=0.02)


def test_no_document_is_read_more_often_than_allowed_and_the_rest_goes_to_others():
    frame = documents(small=("math", 10, 100), large=("code", 1000, 100))
    mixture = Mixture(domain_shares=SHARES, token_budget=50_000, max_epochs=4, validation_fraction=0)
    plan, _ = plan_mixture(frame, {"small": 1, "large": 1}, mixture)
    assert plan["epochs"].max() == 4
    found = tokens_by_source(frame, plan)
    assert found["small"] == pytest.approx(4000, rel=0.02)
    assert found["large"] == pytest.approx(46_000, rel=0.02)


def test_a_budget_beyond_all_repetitions_takes_what_there_is():
    frame = documents(a=("code", 10, 100))
    given = source_tokens(
        frame.with_columns(num_tokens=pl.lit(100)), {"a": 1}, Mixture(domain_shares=SHARES, token_budget=10**9)
    )
    assert given == {"a": 4000}


def test_validation_and_training_share_no_document():
    frame = documents(a=("code", 400, 50), b=("math", 100, 50))
    plan, _ = plan_mixture(frame, {"a": 1, "b": 1}, Mixture(domain_shares=SHARES, token_budget=60_000))
    assert plan["document_id"].is_unique().all()
    held_out = plan.filter(pl.col("split") == "validation")
    assert held_out["document_id"].str.slice(0, 1).value_counts().sort("count")["count"].to_list() == [3, 12]
    assert held_out["epochs"].unique().to_list() == [1]


def test_the_plan_does_not_depend_on_the_order_of_documents():
    frame = documents(a=("code", 300, 50), b=("math", 100, 80))
    mixture = Mixture(domain_shares=SHARES, token_budget=9_000)
    first, _ = plan_mixture(frame, {"a": 1, "b": 1}, mixture)
    second, _ = plan_mixture(frame.sample(fraction=1, shuffle=True, seed=3), {"a": 1, "b": 1}, mixture)
    assert first.equals(second)


def test_another_seed_draws_other_documents():
    frame = documents(a=("code", 300, 50))
    plans = [
        plan_mixture(frame, {"a": 1}, Mixture(domain_shares=SHARES, token_budget=2_000, seed=seed))[0]
        for seed in (1, 2)
    ]
    assert not plans[0].equals(plans[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"domain_shares": {"code": 1.0}}, "add up to 1"),
        ({"domain_shares": {"code": 0.9, "math": 0.9, "reasoning": 0.1}}, "add up to 1"),
        ({"max_epochs": 0}, "max_epochs 0"),
        ({"validation_fraction": 0.5}, "validation_fraction 0.5"),
        ({"token_budget": 0}, "token_budget 0"),
    ],
)
def test_a_mixture_that_makes_no_sense_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Mixture(**change)


LISTED = pl.DataFrame(
    {
        "document_id": ["a", "b", "c", "d", "e"],
        "source": ["s", "s", "t", "t", "t"],
        "source_row": ["1", "2", "3", "4", "5"],
        "domain": ["code"] * 5,
        "format": ["raw"] * 5,
        "language": ["python"] * 5,
        "num_chars": [10] * 5,
    }
)
SCORES = pl.DataFrame(
    {
        "document_id": ["a", "b", "c", "d", "e"],
        "drop_reason": ["code_lines", None, None, None, None],
        "drop_detail": ["num_lines = 3", None, None, None, None],
        "educational_value": [0.1, 0.9, 0.8, 0.7, 0.6],
    }
)
MATCHES = pl.DataFrame(
    {
        "document_id": ["b", "b", "a"],
        "benchmark": ["embedded"] * 3,
        "task_id": ["t/1", "t/2", "t/3"],
        "field": ["prompt"] * 3,
        "overlap": [0.4, 0.9, 1.0],
    }
)
CLUSTERS = pl.DataFrame(
    {"document_id": ["c"], "representative_id": ["d"], "kind": ["near_duplicate"], "jaccard": [0.8]}
)


def ledger(plan_ids=("d",)):
    plan = pl.DataFrame(
        {"document_id": list(plan_ids), "split": ["train"] * len(plan_ids), "epochs": [2] * len(plan_ids)},
        schema={"document_id": pl.String, "split": pl.String, "epochs": pl.UInt8},
    )
    return write_ledger(LISTED, SCORES, MATCHES, CLUSTERS, plan)


def test_the_first_stage_that_objects_decides():
    table, report = ledger()
    fates = dict(table.select("document_id", "fate").iter_rows())
    assert fates == {
        "a": "code_lines",  # contaminated too, but quality comes first
        "b": "contaminated",
        "c": "near_duplicate",
        "d": "kept",
        "e": "over_budget",
    }
    assert report.num_in == report.num_out + report.num_dropped == 5


def test_the_detail_names_what_decided():
    details = dict(ledger()[0].select("document_id", "detail").iter_rows())
    assert details["a"] == "num_lines = 3"
    assert details["b"] == "embedded t/2 prompt: overlap 0.9"  # the strongest match
    assert details["c"] == "of d: Jaccard 0.8"


def test_a_document_that_was_left_out_and_is_trained_on_is_an_error():
    with pytest.raises(AssertionError, match="left out and are in the mixture"):
        ledger(plan_ids=("a", "d"))


def test_a_document_with_two_fates_is_an_error():
    twice = pl.concat([CLUSTERS, CLUSTERS.with_columns(representative_id=pl.lit("e"))])
    empty = pl.DataFrame(schema={"document_id": pl.String, "split": pl.String, "epochs": pl.UInt8})
    with pytest.raises(AssertionError, match="5 documents came in"):
        write_ledger(LISTED, SCORES, MATCHES, twice, empty)
