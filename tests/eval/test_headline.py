"""The first lines of the scoreboard say what the model can do and what to do next, never a bare n/a."""

from dataclasses import replace

from codeft_eval.scoreboard.headline import headline, show_checkpoint
from codeft_eval.scoreboard.history import Change
from codeft_eval.scoreboard.pages import samples_html, scoreboard_html
from codeft_eval.scoreboard.summaries import make_scoreboard
from codeft_eval.scoreboard.tables import to_markdown
from tests.eval.test_scoreboard import score


def test_a_model_that_solves_nothing_is_said_to_and_gets_the_step_that_comes_first():
    board = make_scoreboard([score("embedded", 0, 44)], num_tokens=492_000)
    found = headline(board)
    assert found.ability == "Solves nothing yet of Embedded functions (44 items)"
    assert found.relative == "No ratio to Qwen 2.5 yet: it has not been measured on these items"
    assert found.next_step.startswith("Train on more tokens, exercises above all; 492k tokens so far. Bits per byte")
    for text in (to_markdown(board), scoreboard_html(board, "<svg></svg>")):
        assert found.ability in text
        assert "Next:" in text


def test_passing_and_failing_benchmarks_stand_in_one_sentence_with_their_intervals():
    found = headline(make_scoreboard([score("embedded", 12, 44), score("gsm8k", 0, 1319)]))
    assert found.ability == (
        "Solves 27.3 % of Embedded functions (16.3–41.8, n = 44); nothing yet of GSM8K (1319 items)"
    )


def test_a_score_by_chat_is_named_by_its_title_alone():
    chat = score("embedded", 12, 44, protocol_name="chat", title="Embedded functions (chat)")
    assert headline(make_scoreboard([chat])).ability == "Solves 27.3 % of Embedded functions (chat) (16.3–41.8, n = 44)"


def test_one_ratio_is_shown_before_there_is_an_overall_one_and_a_measured_one_comes_first():
    assert headline(make_scoreboard([score(passed=23)])).relative.startswith("Its pass rate is 0.50 (")
    theirs = score("embedded", 19, 44, model="Qwen", model_hash="q" * 64)
    found = headline(make_scoreboard([score("embedded", 12, 44)], {"Qwen2.5-Coder-0.5B-Instruct": [theirs]}))
    assert found.relative.startswith("Its pass rate is 0.63 (")
    assert found.relative.endswith(" of Qwen2.5-Coder-0.5B-Instruct's on Embedded functions, measured")
    assert found.next_step.startswith("Score a benchmark of more items")


def test_unsound_verdicts_and_lost_items_come_before_any_other_step():
    board = make_scoreboard([score(tainted=True)])
    assert headline(board).next_step.startswith("Make every verdict sound first: HumanEval")
    sound = make_scoreboard([score()])
    lost = Change(
        benchmark="humaneval", title="HumanEval", before_hash="b" * 64, before_tokens=1, n=164, gained=(),
        lost=("HumanEval/1", "HumanEval/2"), difference=-0.01, p_value=0.5,
    )  # fmt: skip
    assert headline(replace(sound, changes=(lost,))).next_step == (
        "Read the 2 samples of HumanEval that the checkpoint before passed"
    )
    assert headline(sound).next_step.startswith("Add data for the weakest: HumanEval")


def test_the_weakest_is_a_benchmark_and_not_a_strategy_that_lost_to_its_control():
    chosen, control = score(passed=5, protocol_name="agree"), score(passed=30, protocol_name="agree")
    board = make_scoreboard([score(), chosen], {"control: any of the same attempts": [control]})
    assert {row.reference_model for row in board.rows if row.protocol_name == "agree" and row.ratio} == {
        "control: any of the same attempts"
    }
    assert headline(board).next_step.endswith(" of Qwen2.5-Coder-1.5B")


def test_no_path_of_this_machine_is_on_the_page():
    page = scoreboard_html(make_scoreboard([score(model="/home/someone/.codeft/model/checkpoint")]), "<svg></svg>")
    assert "/home/someone" not in page
    assert f"checkpoint {'m' * 16}" in page
    shown = [show_checkpoint(make_scoreboard([score(model=name)])) for name in ("/a/b/qwen/", "Qwen/Qwen2.5-0.5B")]
    assert [text.split(", ")[0] for text in shown] == ["qwen", "Qwen/Qwen2.5-0.5B"]


def test_the_list_of_samples_shows_why_each_failed():
    sample = {
        "task_id": "codeft/3", "sample": 0, "prompt": "p", "completion": "c", "verdict": "failed",
        "reason": "wrong_answer", "detail": "assert candidate(3, 4) == 12\nmore", "stderr": "",
    }  # fmt: skip
    page = samples_html("m" * 64, {"Embedded functions": [sample, sample | {"reason": "failed", "detail": ""}]})
    assert "wrong answer: assert candidate(3, 4) == 12</span>" in page
