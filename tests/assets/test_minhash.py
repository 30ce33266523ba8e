"""The word kernels against the definition of a word, written down a second time in plain Python."""

import random
import re

import numba
import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from codeft_assets.curation.dedup.minhash import MinHashParams, compute_signatures
from codeft_assets.curation.dedup.shingle_sets import ShingleSets, jaccard
from codeft_assets.curation.kernels.ngrams import word_hashes
from codeft_assets.curation.kernels.shingles import _words, words_scratch
from codeft_assets.curation.text_buffers import text_buffers

WORD = re.compile(rb"[A-Za-z0-9_\x80-\xff]+")
ALPHABET = "abcXYZ019__ \t\n.,;()=éж\u00a0`~@[{\x7f"


def words_of(text):
    return [word.translate(LOWER) for word in WORD.findall(text.encode())]


LOWER = bytes(ord(chr(byte).lower()) if byte < 128 else byte for byte in range(256))


def shingles_of(text, width=5):
    words = words_of(text)
    return {tuple(words[i : i + width]) for i in range(len(words) - width + 1)}


def arrow(texts):
    return pa.array(texts, pa.large_string())


def prose(texts):
    return pl.Series(["text"] * len(texts))


def noise(seed, size):
    rng = random.Random(seed)
    return "".join(rng.choices(ALPHABET, weights=[8] * 11 + [4, 2, 2] + [1] * (len(ALPHABET) - 14), k=size))


def similarities(texts, width=5):
    left = np.repeat(np.arange(len(texts)), len(texts))
    right = np.tile(np.arange(len(texts)), len(texts))
    measured = jaccard(arrow(texts), prose(texts), left, right, width)
    sets = [shingles_of(text, width) for text in texts]
    expected = [len(sets[i] & sets[j]) / max(len(sets[i] | sets[j]), 1) for i, j in zip(left, right, strict=True)]
    return measured, expected


@pytest.mark.parametrize("width", [1, 2, 5, 8])
def test_similarity_is_that_of_python_sets_on_noise(width):
    texts = []
    for seed in range(12):
        texts += [noise(seed, 40 + 37 * seed), noise(seed, 40 + 37 * seed).upper() + noise(99 - seed, 30)]
    measured, expected = similarities(texts, width)
    assert measured == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("length", [1, 7, 8, 9, 14, 15, 16, 22, 23, 24, 31, 63, 64, 65, 200])
def test_words_of_every_length_that_differ_in_one_byte_are_told_apart(length):
    context = "one two three four"
    words = ["q" * at + "z" + "q" * (length - at - 1) for at in range(length)]
    signed = compute_signatures(arrow([f"{context} {word}" for word in words]), MinHashParams())
    assert signed["num_shingles"].to_list() == [1] * length
    assert signed["shingle_sum"].n_unique() == length


@pytest.mark.parametrize("size", [62, 63, 64, 65, 127, 128, 16_383, 16_384, 16_385, 40_000])
def test_words_are_whole_wherever_a_block_or_a_part_ends(size):
    for shift in (0, 1, 5):
        text = ("alpha_beta " * (size // 11 + 2))[shift : size + shift]
        expected = len(words_of(text)) - 4
        assert compute_signatures(arrow([text]), MinHashParams())["num_shingles"].to_list() == [expected]


def test_a_word_longer_than_a_part_is_one_word():
    text = "a b " + "x" * 100_000 + " c d"
    assert compute_signatures(arrow([text]), MinHashParams())["num_shingles"].to_list() == [1]


def test_a_signature_does_not_depend_on_where_in_the_buffer_its_text_lies():
    text = noise(5, 700)
    alone = compute_signatures(arrow([text]), MinHashParams()).row(0)
    for before in (0, 1, 13, 64):
        among = arrow(["x" * before, text, "tail"])
        assert compute_signatures(among, MinHashParams()).row(1) == alone
        assert compute_signatures(among.slice(1, 1), MinHashParams()).row(0) == alone
    exact = pa.Array.from_buffers(  # no padding behind the last byte
        pa.large_string(),
        1,
        [None, pa.py_buffer(np.array([0, len(text.encode())]).tobytes()), pa.py_buffer(text.encode())],
    )
    assert compute_signatures(exact, MinHashParams()).row(0) == alone


def test_case_white_space_and_punctuation_do_not_matter_but_digits_and_accents_do():
    base = "return the first 10 items of the list"
    same = ["Return  the first\n10 ITEMS, of (the) list!", base]
    other = [base.replace("10", "11"), base.replace("first", "fïrst")]
    signed = compute_signatures(arrow([*same, *other]), MinHashParams())
    assert signed["shingle_sum"].n_unique() == 3
    assert signed.row(0) == signed.row(1)


def test_a_null_text_is_refused():
    with pytest.raises(ValueError, match="null"):
        compute_signatures(pa.array(["a", None], pa.large_string()), MinHashParams())


def test_kernels_are_compiled_once_for_texts_just_made_and_for_stored_ones():
    made = pa.array(["one text", "another"], pa.large_string())
    stored = pa.ipc.open_stream(pa.py_buffer(ipc_bytes(made))).read_all()["text"].chunk(0)
    assert [buffer.is_mutable for array in (made, stored) for buffer in array.buffers()[1:]] == [True] * 2 + [False] * 2
    types = [[numba.typeof(part) for part in text_buffers(array)] for array in (made, stored, made[:0], stored[1:])]
    assert types == types[:1] * 4


def ipc_bytes(text):
    sink = pa.BufferOutputStream()
    table = pa.table({"text": text})
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue().to_pybytes()


def test_a_band_key_is_shared_as_often_as_theory_says():
    rng = np.random.default_rng(0)
    words = [f"w{i}" for i in range(5000)]
    shared, total = 0, 0
    similarity = []
    for _ in range(150):
        base = list(rng.choice(words, 300))
        edited = list(base)
        for at in rng.choice(300, 8, replace=False):
            edited[at] = f"e{rng.integers(10**9)}"
        left, right = " ".join(base), " ".join(edited)
        signed = compute_signatures(arrow([left, right]), MinHashParams())
        keys = signed.select(MinHashParams().band_columns()).to_numpy()
        shared += int((keys[0] == keys[1]).sum())
        total += 16
        a, b = shingles_of(left), shingles_of(right)
        similarity.append(len(a & b) / len(a | b))
    expected = np.mean(np.array(similarity) ** 7)
    assert shared / total == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / total) + 0.02)


@pytest.mark.parametrize("max_held", [0, 400, 10**6])
def test_shingle_sets_in_memory_and_on_disk_give_the_same_similarity(max_held):
    texts = [noise(seed % 4, 300 + seed) for seed in range(8)] + ["", "one two"]
    sets = ShingleSets(np.zeros(len(texts), dtype=np.int8), 5, max_held)
    for first in (4, 0, 8):
        rows = np.arange(first, min(first + 4, len(texts)))
        assert len(sets.missing(rows)) == len(rows)
        sets.add(rows, arrow([texts[i] for i in rows]))
    left, right = np.repeat(np.arange(10), 10), np.tile(np.arange(10), 10)
    expected = jaccard(arrow(texts), prose(texts), left, right, 5)
    assert (sets.jaccard(left, right) == expected).all()
    assert len(sets.missing(np.arange(10))) == 0


def test_all_words_of_a_text_are_hashed_as_each_alone_is_whatever_their_length():
    words = [character * size for character in "aZé_7" for size in (1, 7, 8, 9, 14, 15, 16, 17, 40, 200)] * 40
    random.Random(3).shuffle(words)
    data, offsets = text_buffers(arrow([" ".join(words), "\0" * 100]))
    out = np.zeros(len(data), dtype=np.uint64)
    assert _words(data, offsets[0], offsets[1], words_scratch(len(data)), out) == len(words)
    alone = arrow(words)
    assert (out[: len(words)] == word_hashes(*text_buffers(alone))).all()
    assert len(set(out[: len(words)].tolist())) == len({word.lower() for word in words})
