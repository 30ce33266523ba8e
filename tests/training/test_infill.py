"""Fill-in-the-middle reorders each document: nothing is lost, nothing crosses into another document."""

import re

import pytest

from codeft_training.data.corpus import Corpus
from codeft_training.data.encoding import EncodingOptions, encode_documents, load_tokenizer
from codeft_training.data.infill import infill_spans
from codeft_training.data.packing import pack
from tests.training.corpus_folder import chat, default_rows, plain, write_corpus
from tests.training.test_packing import packed_tokens

TEXT = "def add(a, b):\n    return a + b\n" * 20
_SPAN = re.compile(
    r"<\|fim_prefix\|>(?P<prefix>.*?)<\|fim_suffix\|>(?P<suffix>.*?)<\|fim_middle\|>(?P<middle>.*?)<\|endoftext\|>",
    re.DOTALL,
)


def in_order(rendered):
    """Return the text that was reordered; an empty prefix may also mean that the suffix came first."""
    spans = list(_SPAN.finditer(rendered))
    assert "".join(span[0] for span in spans) == rendered
    return [
        {span["prefix"] + span["middle"] + span["suffix"], span["middle"] + span["suffix"]} if not span["prefix"] else
        {span["prefix"] + span["middle"] + span["suffix"]}
        for span in spans
    ]  # fmt: skip


def test_the_parts_in_order_are_the_text():
    spans = [span for key in range(300) for span in infill_spans(TEXT, f"{key}", rate=1, context_tokens=1000)]
    assert len(spans) == 300
    for span in spans:
        assert span.prefix + span.middle + span.suffix == TEXT
        rendered = "".join(part for part, _ in span.parts())
        if span.suffix_first:
            assert rendered == f"<|fim_prefix|><|fim_suffix|>{span.suffix}<|fim_middle|>{span.prefix}{span.middle}"
        else:
            assert rendered == f"<|fim_prefix|>{span.prefix}<|fim_suffix|>{span.suffix}<|fim_middle|>{span.middle}"
    assert 120 < sum(span.suffix_first for span in spans) < 180


def test_half_the_gaps_of_either_order_are_whole_lines():
    spans = [span for key in range(600) for span in infill_spans(TEXT, f"{key}", rate=1, context_tokens=1000)]
    for order in (True, False):
        ours = [span for span in spans if span.suffix_first is order]
        lines = [span for span in ours if span.prefix[-1:] in ("", "\n") and span.middle.endswith("\n")]
        assert 0.45 < len(lines) / len(ours) < 0.6  # some cuts fall there by themselves


@pytest.mark.parametrize(("rate", "low", "high"), [(0, 0, 0), (0.3, 250, 350), (1, 1000, 1000)])
def test_the_rate_is_the_share_of_documents(rate, low, high):
    found = sum(bool(infill_spans(TEXT, f"{key} 0", rate=rate, context_tokens=1000)) for key in range(1000))
    assert low <= found <= high


def test_the_cuts_depend_on_the_key_only():
    first, again, other = (infill_spans(TEXT, key, rate=1, context_tokens=1000) for key in ("a 0", "a 0", "a 1"))
    assert first == again != other


def test_a_long_document_is_reordered_in_spans_that_fit_a_row():
    spans = infill_spans(TEXT * 10, "key", rate=1, context_tokens=64)
    assert "".join(span.prefix + span.middle + span.suffix for span in spans) == TEXT * 10
    assert max(len(span.prefix + span.middle + span.suffix) for span in spans) <= 128


def test_every_infilled_document_can_be_put_back_from_the_packed_rows(tmp_path, made):
    rows = [row for row in default_rows() if row["messages"] is None]
    corpus = Corpus(write_corpus(tmp_path / "corpus", rows))
    manifest = pack(corpus, made / "tokenizer", tmp_path / "packed", context_tokens=64, fim_rate=1.0)
    train, tokenizer = manifest["splits"]["train"], load_tokenizer(made / "tokenizer")
    found = packed_tokens(tmp_path / "packed")
    num_spans = 0
    for row in (row for row in rows if row["split"] == "train"):
        at = found.pop(row["document_id"])
        rendered = tokenizer.decode([at[i][0] for i in range(len(at))], skip_special_tokens=False)
        candidates, rest = in_order(rendered), row["text"]
        for options in candidates:  # span by span: the text is used up from its beginning
            fits = max((text for text in options if rest.startswith(text)), key=len)
            rest = rest[len(fits) :]
        assert rest == ""
        num_spans += len(candidates)
    assert not found
    assert train["num_infilled_spans"] == num_spans > len(rows)
    held_out = packed_tokens(tmp_path / "packed", "validation")
    assert not any(
        tokenizer.token_to_id("<|fim_prefix|>") in tokens for at in held_out.values() for tokens in at.values()
    )


def test_only_plain_code_is_reordered(made):
    tokenizer = load_tokenizer(made / "tokenizer")
    options = EncodingOptions(context_tokens=64, fim_rate=1.0)
    mark = tokenizer.token_to_id("<|fim_prefix|>")

    def is_infilled(row):
        return any(mark in document.tokens for document in encode_documents([row], tokenizer, options))

    assert is_infilled(plain(1))
    assert not is_infilled(plain(1, split="validation"))
    assert not is_infilled(plain(1) | {"language": "text"})
    assert not is_infilled(chat(1, "q", "a"))


def test_every_reading_has_its_own_cuts_and_all_readings_are_there(made):
    tokenizer = load_tokenizer(made / "tokenizer")
    row = plain(1, epochs=40, annealing=10)
    found = list(encode_documents([row], tokenizer, EncodingOptions(context_tokens=512, fim_rate=0.5)))
    assert sum(document.epochs for document in found) == 40
    assert sum(document.annealing_epochs for document in found) == 10
    infilled = [document.tokens.tobytes() for document in found if document.epochs == 1]
    assert 10 < len(set(infilled)) == len(infilled) < 30


def test_another_rate_packs_again(tmp_path, made):
    corpus = Corpus(made / "corpus")
    first = pack(corpus, made / "tokenizer", tmp_path / "packed", context_tokens=64)
    assert pack(corpus, made / "tokenizer", tmp_path / "packed", context_tokens=64, fim_rate=0.5) != first
