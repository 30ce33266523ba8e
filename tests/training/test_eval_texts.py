"""Evaluation texts are measured while a run trains, within their share of its time, and change no weight."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from codeft_training.measure.eval_texts import MAX_SHARE, EvalText, EvalTexts, read_eval_texts, subsample_stride
from codeft_training.recipes import RECIPES
from codeft_training.train.run import train
from tests.training.children import Collected, training_run

TEXTS = [("code", "", "def add(a, b):\n    return a + b\n"), ("math", "If x = 3 then ", "x + 4 = 7.\n")]
MANY_STEPS = RECIPES["smoke"].override(max_steps=10**6, validate_every_steps=10**6)


def write_texts(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def eval_texts_of(made, texts, recipe=MANY_STEPS):
    return EvalTexts([EvalText(*text) for text in texts], made / "tokenizer", recipe)


def one_bit_a_token(ids, labels):
    return np.full(ids.shape, math.log(2), dtype=np.float32)


def num_tokens(made, text):
    from codeft_training.data.encoding import load_tokenizer

    return len(load_tokenizer(made / "tokenizer").encode(text, add_special_tokens=False).ids)


def test_the_bytes_counted_are_exactly_those_of_the_text_behind_its_context(made):
    measured = eval_texts_of(made, TEXTS).measure(one_bit_a_token, batch_rows=2)
    assert measured["probe_bits_per_byte_math"] == pytest.approx(num_tokens(made, "x + 4 = 7.\n") / len("x + 4 = 7.\n"))


def test_the_first_token_of_a_text_without_context_is_not_counted_nor_are_its_bytes(made):
    text = TEXTS[0][2]
    measured = eval_texts_of(made, TEXTS).measure(one_bit_a_token, batch_rows=1)
    first = next(size for size in range(1, len(text)) if num_tokens(made, text[:size]) == 2) - 1
    assert measured["probe_bits_per_byte_code"] == pytest.approx((num_tokens(made, text) - 1) / (len(text) - first))


def test_text_beyond_the_context_is_cut_with_its_bytes(made):
    short = MANY_STEPS.override(context_tokens=8)
    measured = eval_texts_of(made, [("code", "", "1" * 40)], short).measure(one_bit_a_token, batch_rows=1)
    assert measured["probe_bits_per_byte_code"] == pytest.approx(1.0)  # digits are single tokens: 7 of them in 7 bytes


def test_a_domain_without_a_counted_byte_has_no_key(made):
    measured = eval_texts_of(made, [*TEXTS, ("empty", "", "a")]).measure(one_bit_a_token, batch_rows=4)
    assert set(measured) == {"probe_bits_per_byte_code", "probe_bits_per_byte_math", "probe_seconds"}


def test_bits_per_byte_do_not_depend_on_how_texts_are_batched(made):
    texts = [("code", "", text * n) for n in (1, 3, 7) for _, _, text in TEXTS]

    def by_token(ids, labels):
        return (labels % 7).astype(np.float32)

    found = [eval_texts_of(made, texts).measure(by_token, batch_rows=n)["probe_bits_per_byte_code"] for n in (1, 2, 6)]
    assert found[0] == pytest.approx(found[1]) == pytest.approx(found[2])


def test_a_run_with_evaluation_texts_ends_in_the_same_bits_as_without(made, tmp_path):
    plain, evaluated = training_run(made, tmp_path / "plain"), training_run(made, tmp_path / "evaluated")
    rows = [dict(zip(("domain", "context", "text"), text, strict=True)) for text in TEXTS]
    evaluated = replace(evaluated, eval_texts=write_texts(tmp_path / "eval_texts.jsonl", rows))
    reporter = Collected()
    first, second = train(plain, Collected()), train(evaluated, reporter)
    assert first["weights_hash"] == second["weights_hash"]
    assert first["identity"] == second["identity"]
    entries = [entry for entry in reporter.observed if "probe_seconds" in entry]
    assert [entry["step"] for entry in entries] == [6, 12]
    assert [entry["num_tokens"] for entry in entries] == [6 * 512, 12 * 512]
    assert second["probe"] == {name: entries[-1][name] for name in second["probe"]}
    assert second["probe_seconds"] == pytest.approx(sum(entry["probe_seconds"] for entry in entries), abs=0.01)
    assert "probe_seconds" not in first
    assert any(line.startswith("evaluation texts: ") for line in reporter.lines)


@pytest.mark.parametrize("num_tokens", [1_000, 60_000, 600_000])
def test_an_evaluation_that_would_cost_too_much_reads_fewer_texts(num_tokens):
    recipe = RECIPES["smoke"].override(max_steps=120, batch_rows=8, validate_every_steps=40)  # 491,520 tokens
    expected = 0.5 * 3 * num_tokens / subsample_stride(num_tokens, recipe) / 491_520
    assert expected <= MAX_SHARE
    assert subsample_stride(1_000, recipe) == 1


def test_every_kth_text_of_each_domain_is_read(made):
    texts = [(domain, "", f"{i}" * 60) for domain in ("code", "math") for i in range(10)]
    found = eval_texts_of(made, texts, RECIPES["smoke"].override(max_steps=4, validate_every_steps=1))
    assert found.stride > 1
    assert found.describe() == (
        f"evaluation texts: {2 * -(-10 // found.stride)} of 20 texts in 2 domains, every {found.stride}th so that "
        f"it takes at most 4% of the run"
    )
    assert {"probe_bits_per_byte_code", "probe_bits_per_byte_math"} < set(found.measure(one_bit_a_token, 3))


@pytest.mark.parametrize(
    "line", ['{"domain": "code"', '{"domain": "Code", "text": "a"}', '{"domain": "code", "text": ""}', '["code", "a"]',
             '{"domain": "code", "text": 3}', '{"text": "a"}', '{"domain": "code", "text": "a", "item": 3}'],
)  # fmt: skip
def test_a_malformed_line_is_named(tmp_path, line):
    path = tmp_path / "eval_texts.jsonl"
    path.write_text('{"domain": "code", "text": "fine"}\n' + line + "\n")
    with pytest.raises(ValueError, match="line 2"):
        read_eval_texts(path)
