"""The question to a model and the parsing of its answer: nothing is guessed, and the sample covers all strata."""

import numpy as np
import polars as pl
import pytest

from codeft_assets.curation.quality.annotation import (
    MalformedAnswerError,
    build_question,
    fill_prompt,
    measure_agreement,
    parse_answer,
    stratified_sample,
)


@pytest.mark.parametrize(
    "answer",
    [
        '{"reason": "sorting, step by step", "label": 4}',
        '```json\n{"label": 4, "reason": "sorting, step by step"}\n```',
        'Let me think {about it}. {"reason": "sorting,\\n step by  step", "label": 4} Done.',
        '<think>{"reason": "draft", "label": 1}</think>{"reason": "sorting, step by step", "label": 4}',
    ],
)
def test_the_last_object_with_a_label_is_the_answer(answer):
    judgment = parse_answer(answer)
    assert (judgment.label, judgment.reason) == (4, "sorting, step by step")


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "4",
        "I give it a 4.",
        '{"reason": "cut off", "label": ',
        '{"reason": "no label"}',
        '{"label": 4}',
        '{"label": 4, "reason": " "}',
        '{"label": 6, "reason": "r"}',
        '{"label": -1, "reason": "r"}',
        '{"label": "4", "reason": "r"}',
        '{"label": 3.5, "reason": "r"}',
        '{"label": true, "reason": "r"}',
        "{" * 2000,
        '{"a":' * 2000,
    ],
)
def test_half_an_answer_is_malformed(answer):
    with pytest.raises(MalformedAnswerError):
        parse_answer(answer)


def test_a_long_text_is_cut_and_says_so():
    prompt = fill_prompt("x" * 30 + "tail", language="python", max_chars=30)
    assert "x" * 30 + "\n[4 more characters]" in prompt
    assert "tail" not in prompt
    assert "Language: python" in prompt


def test_a_text_cannot_fill_the_prompts_own_blanks():
    assert "print({language}, {text})" in fill_prompt("print({language}, {text})", language="go", max_chars=99)


def key(text="a", **changes):
    values = {"language": "text", "name": "n", "annotator": "m", "reading": 0, "max_chars": 100}
    return build_question(text, **(values | changes)).key


def test_a_question_is_another_when_text_annotator_reading_or_prompt_change(monkeypatch):
    keys = [key(), key("b"), key(annotator="other"), key(reading=1), key(language="go")]
    monkeypatch.setattr("codeft_assets.curation.quality.annotation.PROMPT", "Another prompt: {language} {text}")
    keys.append(key())
    assert len(set(keys)) == len(keys)
    assert key(name="renamed") == key()  # the same text under another name is paid once


def corpus(**counts):
    rows = [
        {"document_id": f"{source}-{i}", "content_hash": f"{source}-{i}", "source": source, "language": "python"}
        for source, num in counts.items()
        for i in range(num)
    ]
    return pl.DataFrame(rows).with_columns(num_chars=pl.lit(500))


def test_a_small_source_is_sampled_like_a_large_one():
    chosen = stratified_sample(corpus(large=5000, small=20, tiny=3), 23, seed=1)
    assert dict(chosen["source"].value_counts().iter_rows()) == {"large": 10, "small": 10, "tiny": 3}


def test_languages_and_lengths_are_sampled_evenly():
    rows = corpus(a=400).with_columns(
        language=pl.Series(["python"] * 380 + ["go"] * 20), num_chars=pl.Series([500] * 300 + [50_000] * 100)
    )
    chosen = stratified_sample(rows, 30, seed=1)
    assert sorted(chosen["language"].value_counts()["count"]) == [10, 20]
    assert sorted(chosen["num_chars"].value_counts()["count"]) == [10, 20]


def test_the_sample_does_not_depend_on_the_order_of_rows_but_on_the_seed():
    rows = corpus(a=300, b=200)
    first = stratified_sample(rows, 50, seed=1)
    assert stratified_sample(rows.reverse(), 50, seed=1).equals(first)
    assert not stratified_sample(rows, 50, seed=2).equals(first)


def test_equal_texts_are_asked_about_once():
    rows = corpus(a=5, b=5).with_columns(content_hash=pl.lit("same"))
    assert stratified_sample(rows, 10, seed=1).height == 1


def test_agreement_is_told_by_label():
    found = measure_agreement(np.array([0, 0, 3, 3, 5]), np.array([0, 1, 3, 3, 2]))
    assert found.same_fraction == pytest.approx(0.6)
    assert [(row.label, row.num_repeated, row.same_fraction, row.mean_difference) for row in found.by_label] == [
        (0, 2, 0.5, 0.5),
        (3, 2, 1.0, 0.0),
        (5, 1, 0.0, 3.0),
    ]


def test_kappa_is_one_for_equal_readings_and_zero_for_chance():
    labels = np.array([0, 1, 2, 3, 4, 5] * 4)
    assert measure_agreement(labels, labels).weighted_kappa == 1
    # every label meets every label equally often
    first, second = np.repeat(np.arange(6), 6), np.tile(np.arange(6), 6)
    assert measure_agreement(first, second).weighted_kappa == pytest.approx(0)


def test_what_was_not_read_twice_has_no_agreement():
    nothing = np.zeros(0, dtype=np.int64)
    assert measure_agreement(nothing, nothing).same_fraction is None
    assert measure_agreement(np.array([2, 2]), np.array([2, 2])).weighted_kappa is None
