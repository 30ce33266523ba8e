"""The tokenizer loses nothing, is made once, and says which tokens an assistant wrote."""

import shutil
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from codeft_assets.stages.code_version import code_version_of
from codeft_training.data.corpus import Corpus
from codeft_training.data.encoding import load_tokenizer
from codeft_training.data.tokenizer import TOKENIZER_VERSION, adopt_tokenizer, train_tokenizer

TOKENIZER_CODE = ("3", "c6cfa34593e03612")
"""``TOKENIZER_VERSION`` and the hash of the code that had this version."""

MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "2 + 2?"},
    {"role": "assistant", "content": "<think>\nsum\n</think>\n\nFour."},
    {"role": "user", "content": "Sure?"},
    {"role": "assistant", "content": "Yes."},
]


def test_tokenizing_is_lossless_and_training_it_twice_gives_the_same_file(tmp_path, made):
    tokenizer = Tokenizer.from_file(str(made / "tokenizer" / "tokenizer.json"))
    for text in ("x = 1\r\n\ty\n", "naïve 数学 🙂", "   spaces   ", "<think>", "\x00\x07"):
        assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text
    train_tokenizer(Corpus(made / "corpus"), tmp_path / "again", vocab_size=320)
    first, second = (
        Path(folder / "tokenizer.json").read_bytes() for folder in (made / "tokenizer", tmp_path / "again")
    )
    assert first == second


def test_a_vocabulary_without_room_for_bytes_is_refused(tmp_path, made):
    with pytest.raises(ValueError, match="vocab_size 200"):
        train_tokenizer(Corpus(made / "corpus"), tmp_path, vocab_size=200)


def test_the_mask_of_the_template_covers_what_the_assistant_wrote(made):
    from transformers import AutoTokenizer

    fast = AutoTokenizer.from_pretrained(made / "tokenizer")
    rendered = fast.apply_chat_template(MESSAGES, return_dict=True, return_assistant_tokens_mask=True)
    written = [token for token, mask in zip(rendered["input_ids"], rendered["assistant_masks"], strict=True) if mask]
    assert fast.decode(written) == "<think>\nsum\n</think>\n\nFour.<|im_end|>Yes.<|im_end|>"
    prompt = fast.apply_chat_template(MESSAGES[:2], add_generation_prompt=True, tokenize=False)
    assert prompt == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n2 + 2?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_thoughts_are_one_token_a_tag_and_stay_when_control_tokens_are_skipped(made):
    from transformers import AutoTokenizer

    fast, tokenizer = AutoTokenizer.from_pretrained(made / "tokenizer"), load_tokenizer(made / "tokenizer")
    ids = fast("<think>a</think>")["input_ids"]
    assert fast.convert_ids_to_tokens(ids) == ["<think>", "a", "</think>"]
    for reader in (fast, tokenizer):
        written = [*ids, tokenizer.token_to_id("<|im_end|>")]
        assert reader.decode(written, skip_special_tokens=True) == "<think>a</think>"


def test_digits_are_single_and_words_keep_the_space_before_them(made):
    tokenizer = load_tokenizer(made / "tokenizer")
    pieces = tokenizer.pre_tokenizer.pre_tokenize_str("return 123 items")
    assert [piece for piece, _ in pieces] == ["return", "Ġ", "1", "2", "3", "Ġitems"]


def test_the_report_tells_bytes_per_token_by_language(made):
    report = train_tokenizer(Corpus(made / "corpus"), made / "tokenizer", vocab_size=320)
    assert set(report.bytes_per_token) == {"python"}
    assert 1 < report.bytes_per_token["python"] < 4


def test_a_base_models_tokenizer_is_taken_over_with_our_template(tmp_path, made):
    from transformers import AutoTokenizer

    base = AutoTokenizer.from_pretrained(made / "tokenizer")
    base.chat_template = "{{ messages[0]['content'] }}"
    base.save_pretrained(tmp_path / "base")
    report = adopt_tokenizer(Corpus(made / "corpus"), tmp_path / "own", base_model=str(tmp_path / "base"))
    own = AutoTokenizer.from_pretrained(tmp_path / "own")
    assert own.get_vocab() == base.get_vocab()
    assert "{%- generation -%}" in own.chat_template
    assert own.eos_token == "<|im_end|>"
    assert (report.num_documents, report.vocab_size) == (0, base.vocab_size)


def test_a_base_model_without_chatml_is_refused(tmp_path, made):
    from tokenizers import models
    from transformers import PreTrainedTokenizerFast

    PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE())).save_pretrained(tmp_path / "base")
    with pytest.raises(ValueError, match="lacks .*<|endoftext|>.*choose a base model that knows ChatML"):
        adopt_tokenizer(Corpus(made / "corpus"), tmp_path / "own", base_model=str(tmp_path / "base"))
    assert not (tmp_path / "own").exists()


@pytest.mark.parametrize("change", ["template", "code"])
def test_a_tokenizer_is_made_again_when_its_code_or_its_template_changed(tmp_path, made, monkeypatch, change):
    corpus, again = Corpus(made / "corpus"), tmp_path / "tokenizer"
    shutil.copytree(made / "tokenizer", again)
    first = (again / "tokenizer.json").stat().st_mtime_ns
    train_tokenizer(corpus, again, vocab_size=320)
    assert (again / "tokenizer.json").stat().st_mtime_ns == first
    if change == "template":
        (tmp_path / "changed.jinja").write_text("{{ messages }}")
        monkeypatch.setattr("codeft_training.data.tokenizer._CHAT_TEMPLATE", tmp_path / "changed.jinja")
    else:
        monkeypatch.setattr("codeft_training.data.tokenizer.TOKENIZER_VERSION", "next")
    train_tokenizer(corpus, again, vocab_size=320)
    assert (again / "tokenizer.json").stat().st_mtime_ns > first


def test_the_tokenizers_version_follows_the_code_that_makes_it():
    assert (TOKENIZER_VERSION, code_version_of(train_tokenizer, adopt_tokenizer)) == TOKENIZER_CODE, (
        "the code that makes a tokenizer has changed: if a corpus now gives another, count TOKENIZER_VERSION up, "
        "so that users make it again; in any case write the pair on the left into TOKENIZER_CODE"
    )
