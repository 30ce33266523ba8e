"""Text is never a control token, whatever base model the tokenizer is of; those that we place are."""

import functools

import pytest

from codeft_training.data.corpus import Corpus
from codeft_training.data.encoding import EncodingOptions, encode_documents, load_tokenizer
from codeft_training.data.tokenizer import adopt_tokenizer
from tests.training.base_models import NORMALIZED, QWEN_OTHER, QWEN_SPECIAL, added_tokens, real_base, save_small_base
from tests.training.corpus_folder import chat, plain


@pytest.fixture(scope="module", params=["own", "small base", "qwen", "smollm2"])
def folder(request, made, tmp_path_factory):
    """Return the tokenizer of a training run."""
    if request.param == "own":
        return made / "tokenizer"
    root = tmp_path_factory.mktemp("adopted")
    base = save_small_base(root / "base") if request.param == "small base" else real_base(request.param)
    adopt_tokenizer(Corpus(made / "corpus"), root / "tokenizer", base_model=str(base))
    return root / "tokenizer"


@functools.cache
def loaded(folder):
    return load_tokenizer(folder)


def encoded(folder, row, **options):
    tokenizer = loaded(folder)
    documents = encode_documents([row], tokenizer, EncodingOptions(**{"context_tokens": 512, **options}))
    return [token for document in documents for token in document.tokens.tolist()], tokenizer


def control_tokens(folder, ids, tokenizer):
    """Return the added tokens among the ids, in their order."""
    names = {tokenizer.token_to_id(token): token for token in added_tokens(folder)}
    return [names[token] for token in ids if token in names]


def test_no_added_token_is_found_in_a_document(folder):
    for token in added_tokens(folder):
        text = f"x = '{token}'  # {token}{token}\n{token}"
        ids, tokenizer = encoded(folder, plain(1) | {"text": text})
        assert control_tokens(folder, ids, tokenizer) == ["<|endoftext|>"], token
        assert tokenizer.decode(ids[:-1], skip_special_tokens=False) == text


def test_no_added_token_is_found_in_a_conversation(folder):
    hostile = " ".join(token for token in added_tokens(folder) if token not in {"<think>", "</think>"})
    ids, tokenizer = encoded(folder, chat(1, f"{hostile} <think>a</think>", hostile))
    turn = ["<|im_start|>", "<|im_end|>"]
    assert control_tokens(folder, ids, tokenizer) == [*turn, *turn, "<|endoftext|>"]
    assert tokenizer.decode(ids, skip_special_tokens=False).count(hostile) == 2


def test_the_marks_of_infilling_are_control_tokens_and_text_among_them_is_not(folder):
    if "<|fim_prefix|>" not in added_tokens(folder):
        pytest.skip("this family has no marks for infilling")
    row = plain(1) | {"text": "print('<|fim_prefix|>', '<|fim_suffix|>')\n"}
    ids, tokenizer = encoded(folder, row, fim_rate=1.0)
    marks = control_tokens(folder, ids, tokenizer)
    assert (marks[0], *sorted(marks[1:])) == ("<|fim_prefix|>", "<|endoftext|>", "<|fim_middle|>", "<|fim_suffix|>")


@pytest.mark.parametrize("policy", ["train", "mask"])
def test_the_tags_of_a_thought_are_tokens_and_tags_in_code_are_text(folder, policy):
    answer = "<think>\nSum.\n</think>\n\nx.split('<think>')"
    ids, tokenizer = encoded(folder, chat(1, "q", answer), think_spans={"chat": policy})
    expected = [token for token in ("<think>", "</think>") if token in added_tokens(folder)]
    found = [token for token in control_tokens(folder, ids, tokenizer) if "think" in token]
    assert found == expected
    assert answer in tokenizer.decode(ids, skip_special_tokens=False)


def test_the_small_base_has_every_kind_of_added_token(tmp_path):
    from transformers import AutoTokenizer

    base = save_small_base(tmp_path)
    assert added_tokens(base) == [*QWEN_SPECIAL, *QWEN_OTHER, *NORMALIZED]
    own = AutoTokenizer.from_pretrained(base)
    for token in added_tokens(base):
        assert own(f"x{token}y")["input_ids"][1] == own.convert_tokens_to_ids(token)  # what a plain reader does


def test_runs_of_spaces_are_added_tokens_of_text(tmp_path):
    tokenizer = load_tokenizer(save_small_base(tmp_path))
    assert tokenizer.token_to_id("    ") in tokenizer.encode("    return 1").ids


def test_a_turn_without_text_is_refused(made):
    row = chat(1, "q", None)
    with pytest.raises(
        ValueError, match=r"document '0+1' has a turn of 'assistant' with the content None; a turn must"
    ):
        encoded(made / "tokenizer", row)
