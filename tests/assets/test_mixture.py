"""The plan keeps to shares, caps, phases and budget, divides no group, and every document has exactly one outcome."""

import polars as pl
import pytest

from codeft_assets.curation.corpus.ledger import build_ledger
from codeft_assets.curation.corpus.mixture import Mixture, allocate_tokens, summarize, tally_plan, target_tokens
from codeft_assets.curation.corpus.plan import apply_cuts, decide_cuts, draw, measure_groups, plan_mixture
from codeft_assets.curation.corpus.searched import adopt_shares
from codeft_assets.curation.dedup.groups import group_near_duplicates
from codeft_assets.curation.documents import CHARS_PER_TOKEN

SHARES = {"code": 0.5, "math": 0.25, "reasoning": 0.25}


def documents(*, formats=None, groups=None, **sizes):
    """Return documents: source -> (domain, number, tokens each)."""
    rows = [
        {
            "document_id": f"{source}-{i:04d}",
            "source": source,
            "domain": domain,
            "format": (formats or {}).get(source, "raw"),
            "language": "python",
            "num_chars": int(tokens * CHARS_PER_TOKEN),
        }
        for source, (domain, number, tokens) in sizes.items()
        for i in range(number)
    ]
    frame = pl.DataFrame(rows)
    group_id = pl.col("document_id").replace(groups or {})
    return frame.with_columns(group_id=group_id, is_alone=pl.lit(True))


def trained(plan):
    return plan.filter(pl.col("split") == "train")


def tokens_by_source(plan, column="epochs"):
    tokens = (pl.col("num_tokens").cast(pl.Int64) * pl.col(column)).sum()
    return dict(trained(plan).group_by("source").agg(tokens).iter_rows())


def test_without_a_budget_every_document_is_read_once():
    frame = documents(a=("code", 100, 50), b=("math", 30, 10))
    plan, report = plan_mixture(frame, {"a": 1, "b": 1}, Mixture(domain_shares=SHARES))
    assert plan.height == frame.height == report.num_out
    assert plan["epochs"].unique().to_list() == [1]


def test_what_was_kept_in_place_of_duplicates_is_not_left_out_by_the_budget():
    frame = documents(a=("code", 1000, 100)).with_columns(is_alone=pl.int_range(pl.len()) % 10 != 0)
    plan, report = plan_mixture(frame, {"a": 1}, Mixture(domain_shares=SHARES, token_budget=40_000))
    kept = plan.filter(pl.col("split").is_not_null())["document_id"]
    assert report.dropped["over_budget"] > 500
    assert set(frame.filter(~pl.col("is_alone"))["document_id"]) <= set(kept)


def test_a_budget_divides_by_domain_and_weight():
    frame = documents(a=("code", 1000, 100), b=("code", 1000, 100), c=("math", 1000, 100), d=("reasoning", 1000, 100))
    mixture = Mixture(domain_shares=SHARES, token_budget=80_000, validation_fraction=0)
    plan, report = plan_mixture(frame, {"a": 3, "b": 1, "c": 1, "d": 1}, mixture)
    assert tokens_by_source(plan) == pytest.approx({"a": 30_000, "b": 10_000, "c": 20_000, "d": 20_000}, rel=0.02)
    assert report.dropped == {"over_budget": 3200}


def test_no_document_is_read_more_often_than_allowed_and_the_rest_goes_to_others():
    frame = documents(small=("math", 10, 100), large=("code", 1000, 100))
    mixture = Mixture(domain_shares=SHARES, token_budget=50_000, max_epochs=4, validation_fraction=0)
    plan, _ = plan_mixture(frame, {"small": 1, "large": 1}, mixture)
    assert plan["epochs"].max() == 4
    assert tokens_by_source(plan) == pytest.approx({"small": 4000, "large": 46_000}, rel=0.02)


def test_a_document_is_read_again_only_after_all_of_its_source():
    frame = documents(a=("code", 10, 100))
    mixture = Mixture(domain_shares=SHARES, token_budget=2500, validation_fraction=0)
    plan, _ = plan_mixture(frame, {"a": 1}, mixture)
    assert sorted(plan["epochs"].to_list()) == [2] * 5 + [3] * 5


def test_more_epochs_need_to_be_asked_for():
    frame = documents(a=("code", 10, 100))
    mixture = Mixture(domain_shares=SHARES, token_budget=10**9, validation_fraction=0)
    assert plan_mixture(frame, {"a": 1}, mixture)[0]["epochs"].to_list() == [4] * 10
    more = Mixture(domain_shares=SHARES, token_budget=10**9, validation_fraction=0, max_epochs=16)
    assert plan_mixture(frame, {"a": 1}, more)[0]["epochs"].to_list() == [16] * 10


def test_a_domain_of_share_zero_is_not_read_for_a_budget():
    capacity = pl.DataFrame({"source": ["a", "b"], "domain": ["code", "math"], "capacity": [400, 400]})
    mixture = Mixture(domain_shares={"code": 1.0, "math": 0.0, "reasoning": 0.0}, token_budget=600)
    assert allocate_tokens(capacity, 600, {"a": 1, "b": 1}, mixture) == {"a": 400, "b": 0}


def test_annealing_reads_its_formats_last_and_counts_against_the_limit():
    formats = {"web": "raw", "book": "textbook"}
    frame = documents(formats=formats, web=("code", 100, 100), book=("code", 10, 100))
    mixture = Mixture(
        domain_shares=SHARES, token_budget=12_000, annealing_share=0.25, validation_fraction=0, max_epochs=4
    )
    plan, _ = plan_mixture(frame, {"web": 1, "book": 1}, mixture)
    assert tokens_by_source(plan, "annealing_epochs") == {"web": 0, "book": 3000}
    assert sum(tokens_by_source(plan).values()) == pytest.approx(12_000, rel=0.02)
    assert plan.filter(pl.col("source") == "book")["epochs"].to_list() == [4] * 10  # 3 of them in annealing


def test_the_broad_phase_reads_first_what_annealing_does_not():
    frame = documents(formats={"book": "textbook"}, book=("code", 10, 100))
    mixture = Mixture(domain_shares=SHARES, token_budget=1000, annealing_share=0.5, validation_fraction=0)
    plan, _ = plan_mixture(frame, {"book": 1}, mixture)
    assert plan["epochs"].to_list() == [1] * 10
    assert sum(plan["annealing_epochs"]) == 5


def test_annealing_without_a_budget_still_reads_everything_once():
    frame = documents(formats={"book": "instruct"}, web=("code", 50, 70), book=("math", 50, 30))
    mixture = Mixture(domain_shares=SHARES, annealing_share=0.2, validation_fraction=0)
    plan, _ = plan_mixture(frame, {"web": 1, "book": 1}, mixture)
    assert plan["epochs"].to_list() == [1] * 100
    assert tokens_by_source(plan, "annealing_epochs")["book"] == pytest.approx(1000, abs=30)


def test_validation_and_training_share_no_document():
    frame = documents(a=("code", 400, 50), b=("math", 100, 50))
    plan, _ = plan_mixture(frame, {"a": 1, "b": 1}, Mixture(domain_shares=SHARES, token_budget=60_000))
    assert plan["document_id"].is_unique().all()
    held_out = plan.filter(pl.col("split") == "validation")
    assert held_out["source"].value_counts().sort("count")["count"].to_list() == [3, 12]
    assert held_out["epochs"].unique().to_list() == [1]


@pytest.mark.parametrize("seed", range(5))
def test_no_near_duplicate_of_a_training_document_is_in_validation(seed):
    pairs = {f"a-{i:04d}": f"a-{i - i % 2:04d}" for i in range(400)}
    plan, _ = plan_mixture(
        documents(groups=pairs, a=("code", 400, 50)), {"a": 1}, Mixture(validation_fraction=0.1, seed=seed)
    )
    sides = plan.group_by("group_id").agg(pl.col("split").n_unique())
    assert sides["split"].to_list() == [1] * 200
    assert plan.filter(pl.col("split") == "validation").height == 40


@pytest.mark.parametrize("seed", range(6))
def test_a_group_too_large_to_hold_out_is_trained_on(seed):
    one = {f"a-{i:04d}": "a-0000" for i in range(94)}
    mixture = Mixture(validation_fraction=0.05, seed=seed)
    plan, _ = plan_mixture(documents(groups=one, a=("code", 100, 50)), {"a": 1}, mixture)
    assert plan.filter(pl.col("group_id") == "a-0000")["split"].unique().to_list() == ["train"]
    assert plan.filter(pl.col("split") == "validation").height == 5


def test_a_group_is_named_by_its_smallest_id_also_that_of_a_removed_document():
    linked = pl.DataFrame({"document_id": ["c", "a", "d"], "component": [7, 7, 9]})
    assert group_near_duplicates(linked)["group_id"].to_list() == ["a", "a", "d"]


def test_the_plan_does_not_depend_on_the_order_of_documents():
    frame = documents(a=("code", 300, 50), b=("math", 100, 80))
    mixture = Mixture(domain_shares=SHARES, token_budget=9_000)
    first, _ = plan_mixture(frame, {"a": 1, "b": 1}, mixture)
    second, _ = plan_mixture(frame.sample(fraction=1, shuffle=True, seed=3), {"a": 1, "b": 1}, mixture)
    assert first.equals(second)


@pytest.mark.parametrize("num_bits", [0, 1, 7])
@pytest.mark.parametrize("budget", [None, 3_000, 40_000, 90_000])
def test_parts_and_ranges_of_any_number_make_the_plan_of_the_whole(budget, num_bits):
    groups = {f"b-{i:04d}": f"a-{i:04d}" for i in range(0, 100, 3)} | {f"a-{i:04d}": "a-0007" for i in range(7, 20)}
    frame = documents(
        groups=groups, formats={"b": "textbook"}, a=("code", 300, 50), b=("math", 100, 80), c=("code", 9, 7)
    )
    frame = frame.with_columns(
        num_chars=pl.col("num_chars") + pl.int_range(pl.len()) % 97, is_alone=pl.int_range(pl.len()) % 5 > 0
    )
    mixture = Mixture(domain_shares=SHARES, token_budget=budget, annealing_share=0.2, validation_fraction=0.1)
    weights = {"a": 1, "b": 1, "c": 2}
    drawn = draw(measure_groups(frame.with_columns(is_planned=True), "group_id"), mixture.seed)
    parts = [drawn[place::7] for place in range(7)]
    cuts = decide_cuts(lambda columns: (part.select(columns) for part in parts), weights, mixture, num_bits)
    plan = pl.concat(apply_cuts(part, cuts, mixture) for part in parts).sort("document_id")
    assert plan.equals(plan_mixture(frame, weights, mixture)[0])
    assert set(plan["split"]) >= {"train", "validation"}


def test_another_seed_draws_other_documents():
    frame = documents(a=("code", 300, 50))
    plans = [
        plan_mixture(frame, {"a": 1}, Mixture(domain_shares=SHARES, token_budget=2_000, seed=seed))[0]
        for seed in (1, 2)
    ]
    assert not plans[0].equals(plans[1])


def test_the_summary_adds_up_to_the_plan():
    frame = documents(a=("code", 20, 100), b=("math", 10, 100))
    mixture = Mixture(domain_shares=SHARES, token_budget=4_000, validation_fraction=0.1)
    plan, _ = plan_mixture(frame, {"a": 1, "b": 1}, mixture)
    tally = tally_plan([plan[:11], plan[11:]])
    [code, math] = summarize(tally, "domain").to_dicts()
    assert (code["available"], code["held_out"], math["available"], math["held_out"]) == (1800, 200, 900, 100)
    assert (code["read"], code["repeated"], code["most_epochs"]) == (2700, 900, 2)
    assert (math["read"], math["repeated"], math["most_epochs"]) == (1400, 500, 2)
    assert code["share"] + math["share"] == pytest.approx(1)
    assert target_tokens(tally, "domain", {"a": 1, "b": 1}, mixture) == {"code": 2000, "math": 1000, "reasoning": 1000}
    assert target_tokens(tally, "source", {"a": 1, "b": 1}, mixture) == {"a": 2000, "b": 1000}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"domain_shares": {"code": 1.0}}, "add up to 1"),
        ({"domain_shares": {"code": 0.9, "math": 0.9, "reasoning": 0.1}}, "add up to 1"),
        ({"max_epochs": 0}, "max_epochs 0"),
        ({"validation_fraction": 0.5}, "validation_fraction 0.5"),
        ({"token_budget": 0}, "token_budget 0"),
        ({"annealing_share": 1.0}, "annealing_share 1.0"),
        ({"annealing_formats": ("books",)}, "annealing_formats \\('books',\\)"),
    ],
)
def test_a_mixture_that_makes_no_sense_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Mixture(**change)


CHOSEN = {"document_id": pl.String, "split": pl.String, "epochs": pl.UInt8, "annealing_epochs": pl.UInt8}
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
    {
        "document_id": ["b", "c"],
        "representative_id": ["d", "d"],
        "kind": ["near_duplicate"] * 2,
        "jaccard": [0.9, 0.8],
    }
)


def ledger(plan_ids=("d",)):
    plan = pl.DataFrame([(name, "train", 2, 1) for name in plan_ids], schema=CHOSEN, orient="row")
    return build_ledger(LISTED, SCORES, MATCHES, CLUSTERS, plan)


def test_the_first_stage_that_objects_decides():
    table, report = ledger()
    outcomes = dict(table.select("document_id", "fate").iter_rows())
    assert outcomes == {
        "a": "code_lines",  # contaminated too, but quality comes first
        "b": "contaminated",  # a duplicate too, but decontamination comes first
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
    with pytest.raises(AssertionError, match="are dropped by the ledger but trained on"):
        ledger(plan_ids=("a", "d"))


def test_a_document_with_two_fates_is_an_error():
    twice = pl.concat([CLUSTERS, CLUSTERS.with_columns(representative_id=pl.lit("e"))])
    empty = pl.DataFrame(schema=CHOSEN)
    with pytest.raises(AssertionError, match="5 documents came in"):
        build_ledger(LISTED, SCORES, MATCHES, twice, empty)


def test_a_searched_mixture_becomes_shares_of_domains_and_weights():
    domains = {"web": "code", "books": "code", "proofs": "math", "new": "code", "chat": "reasoning"}
    shares, weights = adopt_shares({"web": 0.6, "books": 0.2, "proofs": 0.2, "chat": 0.0}, domains)
    assert shares == pytest.approx({"code": 0.8, "math": 0.2, "reasoning": 0.0})
    assert weights == pytest.approx({"web": 0.6, "books": 0.2, "proofs": 0.2, "new": 1e-6, "chat": 1e-6})
    capacity = pl.DataFrame({"source": [*domains], "domain": [*domains.values()], "capacity": [10_000] * 5})
    given = allocate_tokens(capacity, 5_000, weights, Mixture(domain_shares=shares, token_budget=5_000))
    assert [round(given[name], -1) for name in domains] == [3_000, 1_000, 1_000, 0, 0]
    for bad, reason in (({"web": 0.0}, "no positive share"), ({"other": 1.0}, "shares of .'other'., which are no")):
        with pytest.raises(ValueError, match=reason):
            adopt_shares(bad, domains)
