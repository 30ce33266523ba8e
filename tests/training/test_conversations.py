"""A conversation longer than a row keeps its question before each answer, by every policy, and is counted by source."""

import json
import random

import numpy as np
import pyarrow.parquet as pq
import pytest

from codeft_training.data.conversations import ConversationFitter
from codeft_training.data.corpus import Corpus
from codeft_training.data.encoding import EncodingOptions, encode_documents, load_tokenizer
from codeft_training.data.packed_rows import PackedRows
from codeft_training.data.packing import pack
from codeft_training.data.placement import place_pieces
from tests.training.corpus_folder import chat, plain, row, write_corpus

QUESTION = "What?"
SYSTEM = "Be brief."
CONTEXT = 64


def words(number, seed=0):
    rng = random.Random(seed)
    return " ".join(rng.choice(["def", "return", "import", "print", "class", "range"]) for _ in range(number))


def conversation(*turns, number=1, source="chat"):
    made = row(number, "x", [{"role": role, "content": content} for role, content in turns], "train", 1, "code")
    return made | {"source": source}


def fitted(made, document, policy, context=CONTEXT):
    """Return the spans as text, what of each is trained on, and the spans themselves."""
    tokenizer = load_tokenizer(made / "tokenizer")
    encoded = encode_documents([document], tokenizer, EncodingOptions(context_tokens=context))
    spans = list(ConversationFitter(tokenizer, context, policy).fit(encoded))

    def text(ids):
        return tokenizer.decode(ids.tolist(), skip_special_tokens=False)

    found = [(text(entry.span.tokens), text(entry.span.tokens[entry.span.loss_mask])) for entry in spans]
    return [entry for entry in found if entry[0]], spans


def turn(role, content):
    return f"<|im_start|>{role}\n{content}<|im_end|>\n"


def test_a_conversation_that_fits_is_left_alone(made):
    found, [entry] = fitted(made, conversation(("user", QUESTION), ("assistant", "That.")), "split")
    assert found == [
        (turn("user", QUESTION) + turn("assistant", "That.") + "<|endoftext|>", "That.<|im_end|><|endoftext|>")
    ]
    assert (entry.is_whole, entry.is_long, entry.num_repeated, entry.num_left_out) == (True, False, 0, 0)


def test_plain_text_may_be_divided(made):
    _, [entry] = fitted(made, plain(1, lines=40), "split")
    assert not entry.is_whole
    assert len(entry.span.tokens) > CONTEXT


@pytest.mark.parametrize("system", [(), (("system", SYSTEM),)])
def test_a_long_answer_is_split_and_each_part_has_the_question(made, system):
    answer = words(80)
    document = conversation(*system, ("user", QUESTION), ("assistant", answer))
    found, spans = fitted(made, document, "split")
    before = "".join(turn(*entry) for entry in (*system, ("user", QUESTION))) + "<|im_start|>assistant\n"
    assert len(found) > 2
    assert all(text.startswith(before) for text, _ in found)
    assert "".join(text.removeprefix(before) for text, _ in found) == answer + "<|im_end|>\n<|endoftext|>"
    assert all(len(entry.span.tokens) <= CONTEXT and entry.is_whole for entry in spans)
    whole = answer + "<|im_end|><|endoftext|>"
    num_unpredictable = len(found) - 1  # the first token of each part but the first
    tokenizer = load_tokenizer(made / "tokenizer")
    num_answer = len(tokenizer.encode(answer, add_special_tokens=False).ids) + 2
    assert sum(int(entry.span.loss_mask.sum()) for entry in spans) == num_answer - num_unpredictable
    assert all(trained in whole for _, trained in found)
    assert spans[0].num_left_out == 0
    assert spans[0].num_repeated == sum(len(e.span.tokens) for e in spans) - len(encoded_tokens(made, document))


def encoded_tokens(made, document):
    [span] = encode_documents([document], load_tokenizer(made / "tokenizer"), EncodingOptions(context_tokens=CONTEXT))
    return span.tokens


def test_exchanges_are_kept_together_while_they_fit(made):
    turns = [entry for i in range(8) for entry in (("user", f"{i} + {i}?"), ("assistant", f"It is {2 * i}."))]
    found, _ = fitted(made, conversation(("system", SYSTEM), *turns), "split")
    assert "".join(text.removeprefix(turn("system", SYSTEM)) for text, _ in found) == (
        "".join(turn(*entry) for entry in turns) + "<|endoftext|>"
    )
    for text, _ in found:
        assert text.startswith(turn("system", SYSTEM))
        assert text.count("<|im_start|>user") == text.count("<|im_start|>assistant") > 0


def test_answers_after_one_another_repeat_the_question_of_the_first(made):
    document = conversation(("user", QUESTION), ("assistant", words(9)), ("assistant", words(9, 1)))
    found, _ = fitted(made, document, "split")
    assert len(found) == 2
    assert all(text.startswith(turn("user", QUESTION)) for text, _ in found)


@pytest.mark.parametrize("policy", ["split", "cut", "drop"])
def test_a_question_that_leaves_no_room_takes_its_answer_with_it(made, policy):
    asked = [("user", words(40)), ("assistant", "That.")]
    found, [entry] = fitted(made, conversation(*asked), policy)
    assert found == []
    assert (entry.is_long, entry.num_left_out, entry.span.epochs) == (
        True,
        len(encoded_tokens(made, conversation(*asked))),
        0,
    )
    later, _ = fitted(made, conversation(*asked, ("user", QUESTION), ("assistant", "This.")), "split")
    assert [text for text, _ in later] == [turn("user", QUESTION) + turn("assistant", "This.") + "<|endoftext|>"]


def test_cut_keeps_the_first_part_and_drop_none(made):
    document = conversation(("user", QUESTION), ("assistant", words(80)))
    parts, _ = fitted(made, document, "split")
    found, [entry] = fitted(made, document, "cut")
    assert found == parts[:1]
    assert (entry.num_repeated, entry.num_left_out) == (0, len(encoded_tokens(made, document)) - CONTEXT)
    assert fitted(made, document, "drop")[0] == []


def test_an_unanswered_question_at_the_end_of_a_long_conversation_is_left_out(made):
    document = conversation(("user", QUESTION), ("assistant", words(80)), ("user", "Unanswered?"))
    assert all("Unanswered" not in text for text, _ in fitted(made, document, "split")[0])


def unanswerable_share(folder):
    """Return the share of the trained tokens of conversations before which their piece has no question."""
    rows = PackedRows(folder)
    tokens, loss_mask = rows.tokens("train"), rows.loss_mask("train")
    num_all = num_without = 0
    for piece in pq.read_table(folder / "train.index.parquet").to_pylist():
        if piece["source"] != "chat":
            continue
        part = slice(piece["start"], piece["start"] + piece["length"])
        trained = int(loss_mask[piece["row"], part].sum())
        num_all += trained
        num_without += trained if tokens[piece["row"], part.start] != 1 else 0  # <|im_start|>
    return num_without / num_all


def long_and_short(num_plain):
    chats = [conversation(("user", QUESTION), ("assistant", words(3 + i * 3, i)), number=i) for i in range(40)]
    return chats + [plain(100 + i, lines=3 + i) for i in range(num_plain)]


@pytest.mark.parametrize("num_plain", [0, 20])
@pytest.mark.parametrize("policy", ["split", "cut", "drop"])
def test_no_answer_is_trained_without_its_question(made, tmp_path, policy, num_plain):
    corpus = Corpus(write_corpus(tmp_path / "corpus", long_and_short(num_plain)))
    pack(corpus, made / "tokenizer", tmp_path / "packed", context_tokens=CONTEXT, long_conversations=policy)
    assert unanswerable_share(tmp_path / "packed") == 0


def test_what_long_conversations_cost_is_counted_by_source(made, tmp_path):
    documents = [
        conversation(("user", QUESTION), ("assistant", words(80)), number=1, source="a") | {"epochs": 2},
        conversation(("user", words(80)), ("assistant", "x"), number=2, source="b"),
        chat(3, QUESTION, "That."),
    ]
    corpus = Corpus(write_corpus(tmp_path / "corpus", documents))
    sizes = [len(encoded_tokens(made, document)) for document in documents]
    counted = {}
    for policy in ("split", "cut", "drop"):
        folder = tmp_path / policy
        pack(corpus, made / "tokenizer", folder, context_tokens=CONTEXT, long_conversations=policy)
        counted[policy] = json.loads((folder / "manifest.json").read_text())["splits"]["train"]
    split, cut, drop = (counted[policy] for policy in ("split", "cut", "drop"))
    assert split["long_conversations"]["b"] == {
        "num_conversations": 1, "num_tokens_repeated": 0, "num_tokens_left_out": sizes[1]
    }  # fmt: skip
    repeated = split["long_conversations"]["a"]["num_tokens_repeated"]
    assert split["num_tokens"] == 2 * sizes[0] + repeated + sizes[2]
    assert cut["long_conversations"]["a"] == {
        "num_conversations": 1, "num_tokens_repeated": 0, "num_tokens_left_out": 2 * (sizes[0] - CONTEXT)
    }  # fmt: skip
    assert drop["long_conversations"]["a"]["num_tokens_left_out"] == 2 * sizes[0]
    assert [counts["num_documents"] for counts in (split, cut, drop)] == [2, 2, 1]
    assert drop["tokens_by_source"] == {"a": 0, "b": 0, "chat": sizes[2]}


def test_an_unknown_policy_is_refused(made, tmp_path):
    with pytest.raises(ValueError, match=r"long_conversations 'crop' must be one of \('split', 'cut', 'drop'\)"):
        pack(Corpus(made / "corpus"), made / "tokenizer", tmp_path, context_tokens=64, long_conversations="crop")


@pytest.mark.parametrize("seed", range(8))
def test_whole_documents_are_in_one_piece_and_plain_text_fills_their_gaps(seed):
    rng = random.Random(seed)
    lengths = np.array([rng.randrange(1, 33) for _ in range(120)] + [rng.randrange(200, 400) for _ in range(8)])
    whole = np.array([rng.random() < 0.7 for _ in range(120)] + [False] * 8, dtype=np.int64)
    pieces = place_pieces(lengths, 32, whole)
    num_pieces = np.bincount(pieces.document, minlength=len(lengths))
    assert (num_pieces[whole > 0] == 1).all()
    assert np.bincount(pieces.document, pieces.length, len(lengths)).tolist() == lengths.tolist()
    used = np.bincount(pieces.row, pieces.length)
    assert used.max() <= 32
    assert (used < 32).sum() <= 1
