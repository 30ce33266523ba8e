"""Scripts without spaces: each character is a word, whatever stands beside it."""

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from codeft_assets.curation.dedup.minhash import MinHashParams, compute_signatures
from codeft_assets.curation.dedup.shingle_sets import jaccard
from codeft_assets.curation.scripts import separate_words

CHINESE, JAPANESE, THAI = "二分查找在有序数组中查找目标值", "二分探索は、整列済みのデータを探す", "การค้นหาแบบทวิภาค"


def arrow(texts):
    return pa.array(texts, pa.large_string())


def prose(texts):
    return pl.Series(["text"] * len(texts))


def spaced(text):
    rows, separated = separate_words(arrow([text]))
    return separated[0].as_py() if len(rows) else text


@pytest.mark.parametrize("text", [CHINESE, JAPANESE, THAI, "𠀀𠀁丽", f"x = 1  # {CHINESE} y", f"{CHINESE}é{CHINESE}"])
def test_a_space_follows_each_character_of_a_script_without_spaces(text):
    separate = "".join(char if char.isascii() or char in "é" else char + " " for char in text)
    assert spaced(text) == separate


@pytest.mark.parametrize("text", ["двоичный поиск в массиве", "naïve café", "이진 탐색", "😀 🎉", "", "plain"])
def test_other_scripts_stay_as_they_are(text):
    assert spaced(text) == text


def test_only_the_rows_of_such_texts_are_given_and_each_as_if_alone():
    rows, separated = separate_words(arrow(["plain", "skipped", CHINESE, "поиск", THAI]).slice(1))
    assert rows.tolist() == [1, 3]
    assert separated.to_pylist() == [spaced(CHINESE), spaced(THAI)]


def test_near_duplicates_share_band_keys_and_shingles():
    page = "".join(chr(0x4E00 + 37 * i % 3000) for i in range(400))
    edited = page[:200] + "改" + page[201:]
    signed = compute_signatures(arrow([page, edited]), MinHashParams())
    keys = signed.select(MinHashParams().band_columns()).to_numpy()
    assert (keys[0] == keys[1]).any()
    assert jaccard(arrow([page, edited]), prose([page, edited]), np.array([1]), np.array([0]), 5)[0] == pytest.approx(
        391 / 401
    )
