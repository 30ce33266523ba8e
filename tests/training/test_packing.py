"""Packing loses no token, trains on what it should, and knows every row's documents."""

import json
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer

from codeft_training.corpus import Corpus
from codeft_training.packing import encode_documents, pack
from codeft_training.placement import place_pieces
from codeft_training.rows import PackedRows, row_order, token_bytes
from tests.training.corpus_folder import chat, default_rows, plain, write_corpus


def pieces_of(lengths, row_tokens):
    pieces = place_pieces(lengths, row_tokens)
    rows = {}
    for piece in pieces:
        rows.setdefault(piece.row, []).append(piece)
    return pieces, rows


@pytest.mark.parametrize("seed", range(6))
def test_every_token_is_in_exactly_one_piece_and_one_row_at_most_is_short(seed):
    rng = random.Random(seed)
    lengths = [rng.choice([1, 5, 31, 32, 33, 64, 200, rng.randrange(1, 400)]) for _ in range(rng.randrange(1, 200))]
    pieces, rows = pieces_of(lengths, 32)
    for document, length in enumerate(lengths):
        covered = sorted((p.document_start, p.length) for p in pieces if p.document == document)
        assert sum(size for _, size in covered) == length
        assert [start for start, _ in covered] == list(np.cumsum([0] + [size for _, size in covered])[:-1])
    used = [sum(piece.length for piece in row) for row in rows.values()]
    assert max(used) <= 32
    assert sum(1 for size in used if size < 32) <= 1
    for row in rows.values():
        assert sorted(p.start for p in row) == list(np.cumsum([0] + [p.length for p in row])[:-1])


def test_a_document_of_one_row_is_not_split():
    pieces, _ = pieces_of([32, 10, 22], 32)
    assert sorted((piece.document, piece.length) for piece in pieces) == [(0, 32), (1, 10), (2, 22)]


def test_the_packed_tokens_are_the_documents_tokens(made):
    tokenizer = Tokenizer.from_file(str(made / "tokenizer" / "tokenizer.json"))
    rows = PackedRows(made / "packed")
    index = pq.read_table(made / "packed" / "train.index.parquet").to_pylist()
    tokens = rows.tokens("train")
    found: dict[str, list] = {}
    for piece in sorted(index, key=lambda piece: piece["document_start"]):
        part = tokens[piece["row"], piece["start"] : piece["start"] + piece["length"]]
        found.setdefault(piece["document_id"], []).extend(int(token) for token in part)
    for document in encode_documents(Corpus(made / "corpus").documents("train"), tokenizer):
        assert found[document.document_id] == document.tokens.tolist()
    manifest = rows.manifest()["splits"]["train"]
    assert manifest["num_tokens"] == sum(len(tokens) for tokens in found.values())
    assert manifest["fill_fraction"] > 0.97


def test_loss_is_on_the_assistant_only_and_on_all_of_plain_text(made):
    tokenizer = Tokenizer.from_file(str(made / "tokenizer" / "tokenizer.json"))
    [document] = encode_documents([chat(1, "What is 2 + 2?", "It is four.")], tokenizer)
    trained = tokenizer.decode(document.tokens[document.in_loss].tolist(), skip_special_tokens=False)
    assert trained == "It is four.<|im_end|><|endoftext|>"
    [document] = encode_documents([plain(1)], tokenizer)
    assert document.in_loss.all()


def test_a_turn_renders_as_the_chat_template_does(made):
    from transformers import AutoTokenizer

    fast = AutoTokenizer.from_pretrained(made / "tokenizer")
    row = chat(1, "What is 2 + 2?\nThink.", "It is\n\nfour.")
    [document] = encode_documents([row], Tokenizer.from_file(str(made / "tokenizer" / "tokenizer.json")))
    rendered = fast.apply_chat_template(row["messages"], return_dict=True, return_assistant_tokens_mask=True)
    assert document.tokens[:-1].tolist() == rendered["input_ids"]
    assert document.in_loss[:-1].astype(int).tolist() == rendered["assistant_masks"]


def test_the_first_token_of_a_piece_is_never_trained_on(made):
    in_loss = PackedRows(made / "packed").in_loss("train")
    for piece in pq.read_table(made / "packed" / "train.index.parquet").to_pylist():
        assert in_loss[piece["row"], piece["start"]] == 0


def test_epochs_repeat_a_document(tmp_path, made):
    corpus = Corpus(write_corpus(tmp_path / "corpus", [plain(1, epochs=3), plain(2)]))
    manifest = pack(corpus, made / "tokenizer", tmp_path / "packed", context_tokens=64)
    counts = Counter()
    for piece in pq.read_table(tmp_path / "packed" / "train.index.parquet").to_pylist():
        counts[piece["document_id"]] += piece["length"]
    assert counts[f"{1:032x}"] % 3 == 0
    assert manifest["splits"]["train"]["num_documents"] == 4


def test_packing_again_does_nothing_and_a_new_corpus_packs_anew(tmp_path, made):
    corpus = Corpus(write_corpus(tmp_path / "corpus", default_rows()))
    first = pack(corpus, made / "tokenizer", tmp_path / "packed", context_tokens=64)
    stamp = (tmp_path / "packed" / "train.tokens.bin").stat().st_mtime_ns
    assert pack(corpus, made / "tokenizer", tmp_path / "packed", context_tokens=64) == first
    assert (tmp_path / "packed" / "train.tokens.bin").stat().st_mtime_ns == stamp
    corpus = Corpus(write_corpus(tmp_path / "corpus", default_rows()[:-1]))
    assert pack(corpus, made / "tokenizer", tmp_path / "packed", context_tokens=64) != first


def test_a_changed_byte_is_refused(tmp_path, made):
    corpus = Corpus(made / "corpus")
    pack(corpus, made / "tokenizer", tmp_path / "packed", context_tokens=64)
    path = tmp_path / "packed" / "train.tokens.bin"
    content = bytearray(path.read_bytes())
    content[10] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match="train.tokens.bin.*damaged.*materialize corpus/packed again"):
        PackedRows(tmp_path / "packed").verify()


def test_an_empty_training_split_is_refused(tmp_path, made):
    corpus = Corpus(write_corpus(tmp_path / "corpus", [plain(1, split="validation")]))
    with pytest.raises(ValueError, match="no training documents"):
        pack(corpus, made / "tokenizer", tmp_path / "packed", context_tokens=64)
    assert not (tmp_path / "packed").exists()


def test_a_folder_without_a_manifest_says_what_to_materialize(tmp_path):
    with pytest.raises(ValueError, match="materialize corpus/mixture first"):
        Corpus(tmp_path).manifest()
    with pytest.raises(ValueError, match="materialize corpus/packed first"):
        PackedRows(tmp_path).manifest()


def test_the_row_order_depends_on_seed_and_position_only():
    order = row_order(10, 35, seed=1)
    assert row_order(10, 20, seed=1).tolist() == order[:20].tolist()
    assert sorted(order[:10].tolist()) == list(range(10))
    assert sorted(order[10:20].tolist()) == list(range(10))
    assert row_order(10, 35, seed=2).tolist() != order.tolist()


def test_token_bytes_add_up_to_the_text(made):
    tokenizer = Tokenizer.from_file(str(made / "tokenizer" / "tokenizer.json"))
    text = "def größe(x):\n\treturn '→' * x\n"
    sizes = token_bytes(made / "tokenizer")
    assert sizes[tokenizer.encode(text).ids].sum() == len(text.encode())
    assert sizes[tokenizer.token_to_id("<|im_end|>")] == 0


def test_tokenizing_is_lossless_and_training_it_twice_gives_the_same_file(tmp_path, made):
    from codeft_training.tokenizer import train_tokenizer

    tokenizer = Tokenizer.from_file(str(made / "tokenizer" / "tokenizer.json"))
    for text in ("x = 1\r\n\ty\n", "naïve 数学 🙂", "   spaces   ", "<think>"):
        assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text
    train_tokenizer(Corpus(made / "corpus"), tmp_path / "again", vocab_size=320)
    first, second = (
        Path(folder / "tokenizer.json").read_bytes() for folder in (made / "tokenizer", tmp_path / "again")
    )
    assert first == second


def test_a_vocabulary_without_room_for_bytes_is_refused(tmp_path, made):
    from codeft_training.tokenizer import train_tokenizer

    with pytest.raises(ValueError, match="vocab_size 200"):
        train_tokenizer(Corpus(made / "corpus"), tmp_path, vocab_size=200)


def test_the_manifest_names_every_file(made):
    manifest = json.loads((made / "packed" / "manifest.json").read_text())
    assert set(manifest["files"]) == {path.name for path in (made / "packed").iterdir()} - {"manifest.json"}
