"""The scoreboard says no more than the numbers bear."""

import json
from dataclasses import replace

import numpy as np
import pytest

from codeft_eval.benchmarks.catalogue import BENCHMARKS
from codeft_eval.scoreboard.pages import scoreboard_html
from codeft_eval.scoreboard.plots import plot_svg
from codeft_eval.scoreboard.reference import (
    REFERENCE_MODELS,
    published_for,
    published_verdicts,
    reference_scores,
    reference_table,
    reference_verdicts,
)
from codeft_eval.scoreboard.rows import to_json
from codeft_eval.scoreboard.summaries import geometric_mean, group_families, make_scoreboard
from codeft_eval.scoreboard.tables import to_markdown
from codeft_eval.scoring.scores import Measurement, Score
from codeft_eval.statistics.comparison import Interval, unpaired
from codeft_eval.statistics.intervals import bits_per_byte, proportion

PREFIXES = {"humaneval": "HumanEval", "humaneval_plus": "HumanEval"}


def score(benchmark="humaneval", passed=16, scored=164, **changes):
    entry = BENCHMARKS[benchmark]
    fields = {
        "benchmark": benchmark, "title": entry.title, "kind": entry.kind, "version": entry.version,
        "protocol": entry.protocol, "data_sha256": entry.data.rows_sha256 or "d" * 64, "model": "ours",
        "model_hash": "m" * 64, "settings": {}, "tier": "namespaces", "tainted": False, "tool_versions": {},
        "num_items": scored, "num_items_total": scored, "num_samples": 1,
        "num_passed": passed, "num_scored": scored, "num_unscored": 0, "unscored_reasons": {}, "failed_reasons": {},
        "metrics": {"pass@1": proportion(passed, scored), "bits_per_byte": bits_per_byte([-5.0, -6.0], [4, 5])},
        "samples_sha256": "s" * 64,
    }  # fmt: skip
    score = Score(**(fields | changes))
    ids = [f"{PREFIXES.get(benchmark, benchmark)}/{i}" for i in range(score.num_scored)]
    return Measurement(score, {item: float(i < score.num_passed) for i, item in enumerate(ids)})


def rows(board, metric="pass@1"):
    return [row for row in board.rows if row.metric == metric]


def test_a_published_figure_is_called_published_wherever_it_stands_beside_ours():
    board = make_scoreboard([score()])
    assert {row.reference_model for row in rows(board)} == set(REFERENCE_MODELS[:4])
    for row in rows(board):
        assert row.provenance == "published"
        assert "published by its authors" in row.note
        assert row.source
        assert row.reference_interval is None
    table = to_markdown(board)
    assert table.count(", published |") == 4 == scoreboard_html(board, "<svg></svg>").count('figure">published<')


def test_a_ratio_is_ours_over_theirs_with_an_interval_around_it():
    row = rows(make_scoreboard([score(passed=23)]))[0]
    assert (row.reference_model, row.reference) == ("Qwen2.5-Coder-0.5B", 0.28)
    assert row.ratio is not None
    assert round(row.ratio.value, 2) == 0.5
    assert 0.3 < row.ratio.low < 0.5 < row.ratio.high < 0.8


def test_the_embedded_benchmark_has_no_qwen_figure_and_none_is_invented():
    row = rows(make_scoreboard([score("embedded", 4, 44)]))[0]
    assert (row.reference_model, row.reference, row.ratio) == ("", None, None)
    assert "no published Qwen 2.5 figure exists" in row.note


def test_bits_per_byte_is_compared_with_nothing_published():
    row = rows(make_scoreboard([score()]), "bits_per_byte")[0]
    assert row.reference is None
    assert "nobody publishes" in row.note


def test_a_part_of_a_benchmark_has_no_ratio_and_a_warning():
    board = make_scoreboard([score(passed=2, scored=20, num_items_total=164)])
    assert all(row.ratio is None and "verdicts on 20 of 164" in row.note for row in rows(board))
    assert any("only 20 of 164" in warning for warning in board.warnings)


def test_unscored_items_are_counted_apart_and_shown():
    board = make_scoreboard([score(num_items=166, num_items_total=166, num_unscored=2, unscored_reasons={"jail": 2})])
    assert "164 of 166" in to_markdown(board)
    assert all(row.ratio is None for row in board.rows)
    assert "no verdict on 2 of 166 samples (2 jail)" in board.warnings[0]


def test_a_score_that_is_missing_is_missing_and_not_zero():
    empty = score(num_scored=0, num_passed=0, num_unscored=164, metrics={})
    board = make_scoreboard([empty])
    assert all(row.ours is None and row.ratio is None for row in board.rows)
    assert "no score" in to_markdown(board)
    assert "(no score)" in plot_svg(board)


def test_unconfined_verdicts_are_announced():
    assert "nothing vouches" in make_scoreboard([score(tainted=True)]).warnings[0]


def test_a_measured_reference_takes_the_place_of_the_published_one():
    theirs = score(passed=46, model="Qwen", model_hash="q" * 64)
    board = make_scoreboard([score(passed=23)], {"Qwen2.5-Coder-0.5B": [theirs]})
    row = rows(board)[0]
    assert (row.provenance, row.reference_model) == ("measured", "Qwen2.5-Coder-0.5B")
    assert row.ratio is not None
    assert row.ratio.value == 0.5
    assert row.reference_interval is not None
    assert sum(row.reference_model == "Qwen2.5-Coder-0.5B" for row in rows(board)) == 1
    assert rows(board, "bits_per_byte")[0].provenance == "measured"


def test_bits_per_byte_of_different_numbers_of_solutions_are_not_compared():
    theirs = score(metrics={"pass@1": proportion(46, 164), "bits_per_byte": bits_per_byte([-5.0], [4])})
    row = rows(make_scoreboard([score()], {"Qwen2.5-Coder-0.5B": [theirs]}), "bits_per_byte")[0]
    assert "rests on 2 items here and 1 there" in row.note


@pytest.mark.parametrize("change", [{"protocol": "chat"}, {"version": 2}, {"data_sha256": "e" * 64}, {"num_items": 20}])
def test_scores_of_different_protocols_are_never_divided(change):
    theirs = Measurement(replace(score(passed=46).score, **change), score(passed=46).pass_rates)
    row = rows(make_scoreboard([score()], {"Qwen2.5-Coder-0.5B": [theirs]}))[0]
    assert row.ratio is None
    assert f"{next(iter(change))} differs" in row.note


def test_the_overall_number_is_a_geometric_mean_of_one_kind_of_reference():
    board = make_scoreboard([score(passed=23), score("gsm8k", 91, 1319)])
    found = board.overall.ratio
    assert found is not None
    ratios = [row.ratio.value for row in board.rows if row.reference_model == REFERENCE_MODELS[0] and row.ratio]
    assert abs(found.value - (ratios[0] * ratios[1]) ** 0.5) < 1e-9
    assert found.low < found.value < found.high
    assert make_scoreboard([score()]).overall.ratio is None


def test_the_overall_number_never_mixes_measured_and_published():
    measured = {REFERENCE_MODELS[0]: [score(passed=46)]}
    board = make_scoreboard([score(), score("gsm8k", 91, 1319)], measured)
    assert board.overall.ratio is None
    assert "there are 2 (measured and published)" in board.overall.note


def test_a_mean_of_benchmarks_that_share_problems_is_no_surer_than_one_of_them():
    ratio = Interval(value=0.5, low=0.3, high=0.8)
    shared = geometric_mean({"a": ratio, "b": ratio}, {"a": "a", "b": "a"})
    assert (round(shared.low, 9), round(shared.high, 9)) == (0.3, 0.8)
    apart = geometric_mean({"a": ratio, "b": ratio}, {})
    assert 0.3 < apart.low < 0.5 < apart.high < 0.8


def test_the_interval_of_the_mean_holds_the_truth_as_often_as_it_says():
    rng, covered, truth = np.random.default_rng(3), 0, (0.5 * 0.25) ** 0.5
    for _ in range(300):
        first = unpaired((int(rng.binomial(164, 0.2)), 164), (int(rng.binomial(164, 0.4)), 164)).ratio
        second = unpaired((int(rng.binomial(400, 0.15)), 400), (int(rng.binomial(400, 0.6)), 400)).ratio
        assert first is not None
        assert second is not None
        mean = geometric_mean({"a": first, "b": second}, {})
        covered += mean.low <= truth <= mean.high
    assert 278 <= covered <= 297  # 95 % of 300, give or take two standard errors


def test_the_mean_of_one_ratio_is_that_ratio_even_at_zero():
    ratio = Interval(value=0.0, low=0.0, high=0.08)
    assert geometric_mean({"a": ratio}, {}) == ratio
    (python,) = make_scoreboard([score(passed=0)]).by_language
    assert python.ratio == rows(make_scoreboard([score(passed=0)]))[0].ratio


def test_a_model_at_zero_has_an_overall_interval_above_zero():
    found = make_scoreboard([score(passed=0), score("gsm8k", 0, 1319)]).overall.ratio
    assert found is not None
    assert found.value == pytest.approx(0.01)
    assert found.high > 0.01


def test_benchmarks_that_share_items_are_found():
    plus = Measurement(replace(score().score, benchmark="humaneval_plus"), score().pass_rates)
    found = group_families([score(), score("gsm8k", 1, 5), plus])
    assert found == {"humaneval": "humaneval", "humaneval_plus": "humaneval", "gsm8k": "gsm8k"}


def test_published_verdicts_are_paired_and_the_table_says_whose_they_are():
    board = make_scoreboard([score(passed=23)])
    by_model = {row.reference_model: row for row in rows(board)}
    pair, single = by_model["Qwen2.5-Coder-1.5B"], by_model["Qwen2.5-Coder-0.5B"]
    assert pair.comparison is not None
    assert single.comparison is not None
    assert (pair.comparison.kind, single.comparison.kind) == ("paired", "unpaired")
    assert pair.provenance == "published"
    assert "paired with the verdicts its authors published, on 164 items" in pair.note
    assert pair.comparison.p_value is not None
    assert single.comparison.p_value is None
    assert f"{100 * single.comparison.detectable:.1f} points | unpaired" in to_markdown(board)


def test_leaked_items_are_left_out_beside_the_raw_score():
    leaked = {"humaneval": [f"HumanEval/{i}" for i in range(10)] + ["HumanEval/none"], "gsm8k": []}
    board = make_scoreboard([score(passed=16), score("gsm8k", 3, 30, num_items_total=1319)], leaked=leaked)
    row = next(row for row in rows(board) if row.reference_model == "Qwen2.5-Coder-1.5B")
    assert row.ours is not None
    assert row.clean is not None
    assert (row.ours.n, row.clean.n, row.num_leaked) == (164, 154, 10)
    assert row.clean.value == pytest.approx(6 / 154)
    assert row.clean_ratio is not None
    assert row.ratio is not None
    assert row.clean_ratio.value < row.ratio.value
    text = to_markdown(board)
    assert "3.9 % ± 1.6 (1.8–8.2), 10 left out" in text
    assert "none leaked" in text


def test_nobody_looked_is_not_none_leaked():
    board = make_scoreboard([score()])
    assert {(row.num_leaked, row.clean) for row in rows(board)} == {(None, None)}
    assert "none leaked" not in to_markdown(board)


def test_every_score_shows_its_standard_error_interval_and_n():
    table = to_markdown(make_scoreboard([score(passed=16)]))
    assert "| 9.8 % ± 2.3 (6.1–15.3) |" in table
    # a narrow page shows the first three columns
    assert "| benchmark | ours ± s.e. (95 %) | ours ÷ theirs (95 %) |" in table


def test_a_language_counts_a_problem_once_however_many_benchmarks_hold_it():
    plus = Measurement(replace(score().score, benchmark="humaneval_plus"), score().pass_rates)
    one, two = (make_scoreboard(own).by_language[0] for own in ([score()], [score(), plus]))
    assert one.name == two.name == "python"
    assert one.ours is not None
    assert two.ours is not None
    assert two.ours.stderr == pytest.approx(one.ours.stderr, rel=0.01)
    assert one.ratio is not None
    assert "published references" in one.note


def test_scores_of_two_models_make_no_scoreboard():
    with pytest.raises(ValueError, match="scores of 2 models"):
        make_scoreboard([score(), score("embedded", 1, 44, model_hash="x")])


def test_the_json_is_strict_and_the_plot_is_the_same_twice():
    board = make_scoreboard([score(), score("embedded", 0, 44)])
    assert json.loads(json.dumps(to_json(board), allow_nan=False))["rows"]
    assert plot_svg(board) == plot_svg(board)


def test_the_plot_has_no_background_and_no_black_or_white_ink():
    svg = plot_svg(make_scoreboard([score()])).lower()
    assert "#ffffff" not in svg
    assert "fill: #000000" not in svg
    assert "stroke: #000000" not in svg


def test_the_page_escapes_what_it_shows():
    assert "<script>" not in scoreboard_html(make_scoreboard([score(model="<script>alert(1)</script>")]), "<svg></svg>")


def test_only_the_authors_own_figures_stand_beside_a_benchmark():
    figures = published_for(BENCHMARKS["humaneval"], "raw")
    assert [row.model for row in figures] == list(REFERENCE_MODELS[:4])
    chats = published_for(BENCHMARKS["humaneval"], "chat")
    assert [row.model for row in chats] == list(REFERENCE_MODELS[4:])
    assert {row.authority for row in [*figures, *chats]} == {"official"}
    assert published_for(BENCHMARKS["humaneval"], "unstated") == []
    # users' own runs of the same model are in the table, and lower
    assert any(row.authority == "rerun" and row.model == "Qwen2.5-Coder-1.5B" for row in reference_scores())
    assert published_for(BENCHMARKS["embedded"], "raw") == []


def test_every_figure_names_its_source():
    assert all(row.source and 0 <= row.score <= 1 for row in reference_scores())
    assert "| Embedded functions | – | none |" in reference_table()


def test_a_figure_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"must lie in 0\.\.1"):
        replace(reference_scores()[0], score=47.5)


def test_published_verdicts_agree_with_the_published_figure():
    verdicts = published_verdicts("Qwen2.5-Coder-1.5B", "humaneval")
    assert (len(verdicts), sum(verdicts.values())) == (164, 72)
    assert published_verdicts("Qwen2.5-Coder-0.5B", "humaneval") == {}
    assert published_verdicts("Qwen2.5-Coder-1.5B", "mbpp") == {}  # 500 tasks, tests in the prompt: another protocol


@pytest.mark.parametrize(
    ("benchmark", "changes", "reason"),
    [
        ("humaneval", {}, ""),
        ("humaneval", {"data_sha256": "e" * 64}, "never replayed under these tests"),
        ("humaneval", {"version": 2}, "never replayed under these tests"),
        ("mbpp_evalplus", {}, "another verdict on 14 of 399 items"),
    ],
)
def test_verdicts_are_paired_only_where_the_models_own_completions_got_each_of_them_again(benchmark, changes, reason):
    own = score(benchmark, 72, 399 if "mbpp" in benchmark else 164, **changes).score
    found = reference_verdicts("Qwen2.5-Coder-1.5B", own)
    assert bool(found.passed) == (not reason)
    assert reason in found.reason


def test_an_unpaired_comparison_says_why():
    row = next(
        row for row in rows(make_scoreboard([score("mbpp_evalplus", 272, 399)])) if "1.5B" in row.reference_model
    )
    assert row.comparison is not None
    assert row.comparison.kind == "unpaired"
    assert "unpaired (replayed under these tests, its completions got another verdict on 14 of 399 items" in row.note


def test_a_chat_is_compared_with_chats_and_never_in_one_mean_with_other_protocols():
    chat = {"protocol_name": "chat", "protocol": "a chat", "title": "HumanEval (chat)"}
    board = make_scoreboard([score(passed=23), score(passed=40, **chat)])
    models = {
        name: {row.reference_model for row in rows(board) if row.protocol_name == name} for name in ("raw", "chat")
    }
    assert models == {"raw": set(REFERENCE_MODELS[:4]), "chat": set(REFERENCE_MODELS[4:])}
    assert board.by_language[0].ours is not None
    assert board.by_language[0].ours.value == pytest.approx(23 / 164)
    alone = make_scoreboard([score(passed=40, **chat)])
    assert alone.headline == "Qwen2.5-Coder-0.5B-Instruct"
    assert alone.by_language[0].ratio is not None
    table = to_markdown(board)
    assert "| HumanEval (chat) | 24.4 % ±" in table
    assert "| chat |" in table


def test_a_measured_reference_of_another_protocol_stands_beside_no_score():
    theirs = score(passed=80, protocol_name="chat", protocol="a chat")
    board = make_scoreboard([score(passed=23)], {"Qwen2.5-Coder-0.5B": [theirs]})
    assert {row.provenance for row in rows(board)} == {"published"}
