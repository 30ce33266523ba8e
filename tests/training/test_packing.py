"""Packing loses no token, trains on what it should, and knows every row's documents."""

import ast
import hashlib
import json
import random
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer

from codeft_training.data.corpus import Corpus
from codeft_training.data.encoding import EncodingOptions, encode_documents, load_tokenizer
from codeft_training.data.packed_rows import PackedRows, token_bytes
from codeft_training.data.packing import PACKING_VERSION, pack
from codeft_training.data.placement import place_pieces
from codeft_training.data.row_order import RowOrder
from tests.training.corpus_folder import chat, default_rows, plain, write_corpus

ROOT = Path(__file__).parents[2]


def pieces_of(lengths, row_tokens):
    found = place_pieces(np.array(lengths, dtype=np.int64), row_tokens)
    return list(zip(found.row, found.start, found.length, found.document, found.document_start, strict=True))


def lengths_of(seed):
    rng = random.Random(seed)
    return [rng.choice([0, 1, 5, 31, 32, 33, 64, 200, rng.randrange(1, 400)]) for _ in range(rng.randrange(1, 200))]


@pytest.mark.parametrize("seed", range(12))
def test_every_token_is_in_exactly_one_piece_and_one_row_at_most_is_short(seed):
    lengths = lengths_of(seed)
    pieces = pieces_of(lengths, 32)
    for document, length in enumerate(lengths):
        covered = sorted((begins, size) for _, _, size, owner, begins in pieces if owner == document)
        assert sum(size for _, size in covered) == length
        assert [begins for begins, _ in covered] == list(np.cumsum([0] + [size for _, size in covered])[:-1])
    rows = {}
    for row, start, size, _, _ in pieces:
        rows.setdefault(row, []).append((start, size))
    assert sorted(rows) == list(range(len(rows)))
    for row in rows.values():
        assert [start for start, _ in row] == list(np.cumsum([0] + [size for _, size in row])[:-1])
    used = [sum(size for _, size in row) for row in rows.values()]
    assert max(used) <= 32
    assert sum(1 for size in used if size < 32) <= 1


def fitted_free_space(sizes, row_tokens):
    """Return the free space of each row after plain best fit decreasing, by its definition."""
    free = []
    for size in sorted(sizes, reverse=True):
        open_rows = [row for row, left in enumerate(free) if left >= size]
        if open_rows:
            free[min(open_rows, key=lambda row: free[row])] -= size
        else:
            free.append(row_tokens - size)
    return sorted(free)


@pytest.mark.parametrize("row_tokens", [16, 31, 32, 33, 100])
def test_the_tree_finds_the_best_fit(row_tokens):
    from codeft_training.data.placement_kernel import best_fit

    rng = random.Random(row_tokens)
    sizes = sorted((rng.randrange(1, row_tokens + 1) for _ in range(300)), reverse=True)
    free, first, last = (np.full(300, -1, dtype=np.int64) for _ in range(3))
    num_rows = best_fit(np.array(sizes), row_tokens, free, first, last, np.full(300, -1, dtype=np.int64))
    assert sorted(free[:num_rows]) == fitted_free_space(sizes, row_tokens)


def test_a_document_of_one_row_is_not_split():
    pieces = pieces_of([32, 10, 22], 32)
    assert sorted((owner, size) for _, _, size, owner, _ in pieces) == [(0, 32), (1, 10), (2, 22)]


def test_no_documents_are_no_rows():
    assert place_pieces(np.zeros(0, dtype=np.int64), 32).num_rows == 0


def packed_tokens(folder, split="train"):
    """Return the tokens of every reading of every document, as the index puts them together."""
    tokens = PackedRows(folder).tokens(split)
    found = {}
    for piece in pq.read_table(folder / f"{split}.index.parquet").to_pylist():
        part = tokens[piece["row"], piece["start"] : piece["start"] + piece["length"]]
        at = found.setdefault(piece["document_id"], {})
        for i, token in enumerate(part):
            at.setdefault(piece["document_start"] + i, []).append(int(token))
    return found


def test_the_packed_tokens_are_the_documents_tokens(made):
    tokenizer = load_tokenizer(made / "tokenizer")
    found = packed_tokens(made / "packed")
    options = EncodingOptions(context_tokens=64)
    num_tokens = 0
    for document in encode_documents(Corpus(made / "corpus").documents("train"), tokenizer, options):
        at = found.pop(document.document_id)
        assert [at[i] for i in range(len(at))] == [[token] for token in document.tokens.tolist()]
        num_tokens += len(document.tokens)
    assert not found
    manifest = PackedRows(made / "packed").manifest()["splits"]["train"]
    assert manifest["num_tokens"] == num_tokens == sum(manifest["tokens_by_source"].values())
    assert manifest["fill_fraction"] > 0.97


def encoded(made, row, **options):
    tokenizer = load_tokenizer(made / "tokenizer")
    [document] = encode_documents([row], tokenizer, EncodingOptions(**{"context_tokens": 64, **options}))
    return document, tokenizer


def trained_text(made, row, **options):
    document, tokenizer = encoded(made, row, **options)
    return tokenizer.decode(document.tokens[document.loss_mask].tolist(), skip_special_tokens=False)


def test_loss_is_on_the_assistant_only_and_on_all_of_plain_text(made):
    assert trained_text(made, chat(1, "What is 2 + 2?", "It is four.")) == "It is four.<|im_end|><|endoftext|>"
    assert encoded(made, plain(1))[0].loss_mask.all()


THINKING = "<think>\nTwo and two.\n</think>\n\nIt is four."


@pytest.mark.parametrize(
    ("policy", "trained", "read"),
    [
        ("train", f"{THINKING}<|im_end|><|endoftext|>", True),
        ("mask", "It is four.<|im_end|><|endoftext|>", True),
        ("remove", "It is four.<|im_end|><|endoftext|>", False),
    ],
)
def test_think_spans_are_trained_on_masked_or_removed_by_source(made, policy, trained, read):
    row = chat(1, "What is 2 + 2?", THINKING)
    assert trained_text(made, row, think_spans={"chat": policy}) == trained
    document, tokenizer = encoded(made, row, think_spans={"chat": policy})
    assert ("Two and two" in tokenizer.decode(document.tokens.tolist())) == read
    assert trained_text(made, row, think_spans={"another": policy}).startswith("<think>")


@pytest.mark.parametrize(
    ("content", "left"),
    [
        ("<think>never closed", ""),
        ("a<think>b</think>c<think>d</think>e", "ace"),
        ("only the end is marked</think> here", "here"),
        ("<think></think>x", "x"),
    ],
)
def test_odd_think_spans_are_removed_to_their_end(made, content, left):
    row = chat(1, "q", content)
    assert trained_text(made, row, think_spans={"chat": "remove"}) == f"{left}<|im_end|><|endoftext|>"
    assert trained_text(made, row, think_spans={"chat": "mask"}) == f"{left}<|im_end|><|endoftext|>"


def test_a_question_that_holds_a_think_span_is_left_alone(made):
    document, tokenizer = encoded(made, chat(1, "What does <think>x</think> do?", "y"), think_spans={"chat": "remove"})
    assert "<think>x</think>" in tokenizer.decode(document.tokens.tolist())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"context_tokens": 15}, "context_tokens 15"),
        ({"fim_rate": 1.1}, "fim_rate 1.1"),
        ({"think_spans": {"chat": "drop"}}, "'chat': 'drop'.*must each be one of"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        EncodingOptions(**{"context_tokens": 64, **change})


@pytest.mark.parametrize(
    "turns",
    [
        [("user", "What is 2 + 2?\nThink."), ("assistant", "It is\n\nfour.")],
        [("system", "Be  brief."), ("user", "1 + 1?"), ("assistant", THINKING)],
        [("user", "a"), ("assistant", " b "), ("user", "c\r\n"), ("assistant", "ü\n")],
    ],
)
def test_a_turn_renders_as_the_chat_template_does(made, turns):
    from transformers import AutoTokenizer

    fast = AutoTokenizer.from_pretrained(made / "tokenizer")
    messages = [{"role": role, "content": content} for role, content in turns]
    document, _ = encoded(made, chat(1, "", "") | {"messages": messages})
    rendered = fast.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
    assert document.tokens[:-1].tolist() == rendered["input_ids"]
    assert document.loss_mask[:-1].astype(int).tolist() == rendered["assistant_masks"]


def test_the_first_token_of_a_piece_is_never_trained_on(made):
    loss_mask = PackedRows(made / "packed").loss_mask("train")
    for piece in pq.read_table(made / "packed" / "train.index.parquet").to_pylist():
        assert loss_mask[piece["row"], piece["start"]] == 0


def test_epochs_repeat_a_document_and_annealing_readings_come_last(tmp_path, made):
    corpus = Corpus(write_corpus(tmp_path / "corpus", [plain(1, epochs=3, annealing=1), plain(2, lines=40)]))
    manifest = pack(corpus, made / "tokenizer", tmp_path / "packed", context_tokens=64)["splits"]["train"]
    index = pq.read_table(tmp_path / "packed" / "train.index.parquet").to_pylist()
    counts = {}
    for piece in index:
        phase = "annealing" if piece["row"] >= manifest["num_rows"] - manifest["num_annealing_rows"] else "broad"
        key = (int(piece["document_id"], 16), phase)
        counts[key] = counts.get(key, 0) + piece["length"]
    assert counts[1, "broad"] == 2 * counts[1, "annealing"]
    assert (2, "annealing") not in counts
    assert (manifest["num_documents"], manifest["num_readings"]) == (2, 4)
    assert sum(counts.values()) == manifest["num_tokens"]


def test_a_run_reads_the_annealing_rows_at_its_end_in_their_proportion():
    phases = RowOrder(num_rows=10, num_annealing_rows=4, seed=1)
    begins = phases.phase_begins((0,), 20)
    order = phases.rows(0, 20, begins)
    assert sorted(order[:6].tolist()) == sorted(order[6:12].tolist()) == [0, 1, 2, 3, 4, 5]
    assert sorted(order[12:16].tolist()) == [6, 7, 8, 9]
    assert phases.rows(0, 5, phases.phase_begins((0,), 5))[3:].min() >= 6
    assert np.concatenate([phases.rows(i, i + 5, begins) for i in (0, 5, 10, 15)]).tolist() == order.tolist()


def test_the_domain_of_every_token_is_that_of_its_document(made):
    rows = PackedRows(made / "packed")
    names, domains = rows.domains("train")
    for piece in pq.read_table(made / "packed" / "train.index.parquet").to_pylist():
        part = domains[piece["row"], piece["start"] : piece["start"] + piece["length"]]
        assert {names[number] for number in part} == {piece["domain"]}


def test_packing_again_does_nothing_and_a_new_corpus_is_packed(tmp_path, made):
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
    order = RowOrder(num_rows=10, num_annealing_rows=0, seed=1).rows(0, 35, (0, 35))
    assert RowOrder(num_rows=10, num_annealing_rows=0, seed=1).rows(7, 26, (0, 35)).tolist() == order[7:26].tolist()
    assert sorted(order[:10].tolist()) == list(range(10))
    assert sorted(order[10:20].tolist()) == list(range(10))
    assert RowOrder(num_rows=10, num_annealing_rows=0, seed=2).rows(0, 35, (0, 35)).tolist() != order.tolist()


def test_token_bytes_add_up_to_the_text(made):
    tokenizer = Tokenizer.from_file(str(made / "tokenizer" / "tokenizer.json"))
    text = "def größe(x):\n\treturn '→' * x\n"
    sizes = token_bytes(made / "tokenizer")
    assert sizes[tokenizer.encode(text).ids].sum() == len(text.encode())
    assert sizes[tokenizer.token_to_id("<|im_end|>")] == 0


def test_the_manifest_names_every_file(made):
    manifest = json.loads((made / "packed" / "manifest.json").read_text())
    assert set(manifest["files"]) == {path.name for path in (made / "packed").iterdir()} - {"manifest.json"}


PACKING_MODULES = (
    *("conversations", "encoding", "infill", "packing", "placement", "placement_kernel", "row_groups", "row_writer"),
    *("thoughts", "windows"),
)
PACKING_CODE = ("6", "af3584cec86a698f")
"""``PACKING_VERSION`` and the hash of the code that had this version."""


def code_hash(modules):
    """Return a hash over the syntax trees of modules, the same under every Python."""
    trees = [ast.parse((ROOT / "codeft_training" / "data" / f"{module}.py").read_text()) for module in modules]
    return hashlib.sha256(repr([structure(tree) for tree in trees]).encode()).hexdigest()[:16]


def structure(node):
    """Return a syntax tree as nested lists, without what is empty, imported or words about the code."""
    if isinstance(node, list):
        return [structure(child) for child in node if not is_left_out(child)]
    if not isinstance(node, ast.AST):
        return repr(node)
    parts = [(name, structure(value)) for name, value in ast.iter_fields(node) if value not in (None, [])]
    return [type(node).__name__, parts]


def is_left_out(node):
    is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    is_version = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PACKING_VERSION"
    return is_text or is_version or isinstance(node, ast.Import | ast.ImportFrom)


def test_the_packing_version_follows_the_code_that_packs():
    assert (PACKING_VERSION, code_hash(PACKING_MODULES)) == PACKING_CODE, (
        "the code that packs has changed: if the same corpus now packs into other rows, count PACKING_VERSION up, so "
        "that users pack again; in any case write the pair on the left into PACKING_CODE"
    )
