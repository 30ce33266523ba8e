"""Thoughts are told from text that only writes about their tags, and nothing of an answer is lost."""

import pytest

from codeft_training.data.thoughts import split_thoughts

SPLITS_AT_A_TAG = "parts = text.split('<think>')\nlast = text.split(\"</think>\")[-1]\n"
FENCED = "It looks so:\n```text\n<think>\nsum\n</think>\n```\nThat is all."


def said(answer):
    return "".join(piece for piece, is_thought in split_thoughts(answer) if not is_thought)


@pytest.mark.parametrize(
    ("answer", "left"),
    [
        ("It is four.", "It is four."),
        ("<think>\nsum\n</think>\n\nIt is four.", "It is four."),
        ("sum\n</think>\n\nIt is four.", "It is four."),
        ("<think>\nsum\n</think>\n\n`4`", "`4`"),
        ("<think>\nsum\n</think>\n```python\nx = 4\n```\n", "```python\nx = 4\n```\n"),
        ("Let me see. 2 + 2.</think>It is four.", "It is four."),
        ("a<think>b</think>c<think>d</think>e", "ace"),
        ("Wait.\n<think>never closed", "Wait.\n"),
        (SPLITS_AT_A_TAG, SPLITS_AT_A_TAG),
        (FENCED, FENCED),
        ("Write `<think>` first, `</think>` last.", "Write `<think>` first, `</think>` last."),
        ('re.sub(r"<think>.*?</think>", "", x)', 're.sub(r"<think>.*?</think>", "", x)'),
        ("# a <think> without an end", "# a <think> without an end"),
        (f"<think>Split at '</think>' here.\n</think>\n{SPLITS_AT_A_TAG}", SPLITS_AT_A_TAG),
        (f"Split at `</think>`, then join.\n</think>\n{FENCED}", FENCED),
    ],
)
def test_what_is_said_is_all_but_the_thoughts(answer, left):
    assert said(answer) == left
    assert "".join(piece for piece, _ in split_thoughts(answer)) == answer


def test_each_tag_of_a_thought_is_a_piece():
    pieces = [piece for piece, is_thought in split_thoughts("<think>Not '</think>' yet.</think>\nyes") if is_thought]
    assert pieces == ["", "<think>", "Not '</think>' yet.", "</think>", "\n"]


def test_a_long_answer_of_fences_that_never_close_is_split_in_time():
    answer = "```text\n<think>\n" * 1000
    assert said(answer) == "```text\n"
