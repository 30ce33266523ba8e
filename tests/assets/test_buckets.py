"""Rows that share a key: every two of a small bucket, few of a large one, whatever the keys are divided into."""

from itertools import combinations

import numpy as np
import pytest

from codeft_assets.curation.kernels.buckets import FULL_BUCKET, add_pairs, bucket_pairs


def pairs_of(keys, part_bits=0):
    found = [bucket_pairs(keys, part, part_bits) for part in range(1 << part_bits)]
    return [(int(pair >> 32), int(pair & 0xFFFFFFFF)) for pair in np.concatenate(found)]


def buckets(sizes, seed=0):
    """Return shuffled random keys of which each stands as often as one of ``sizes`` says."""
    rng = np.random.default_rng(seed)
    keys = np.repeat(rng.integers(0, 2**64, len(sizes), dtype=np.uint64), sizes)
    rng.shuffle(keys)
    return keys


@pytest.mark.parametrize("part_bits", [0, 1, 3])
@pytest.mark.parametrize("num_singles", [0, 100, 200_000])
def test_every_two_rows_of_a_small_bucket_become_one_pair(num_singles, part_bits):
    keys = buckets([1] * num_singles + [2, 3, FULL_BUCKET] * 50)
    rows_of = {}
    for row, key in enumerate(keys):
        rows_of.setdefault(int(key), []).append(row)
    expected = {(later, earlier) for rows in rows_of.values() for earlier, later in combinations(rows, 2)}
    found = pairs_of(keys, part_bits)
    assert len(found) == len(expected)
    assert set(found) == expected


def test_keys_that_differ_in_their_upper_bits_only_are_different_keys():
    keys = (np.arange(64, dtype=np.uint64) << np.uint64(58)) | np.uint64(7)
    assert pairs_of(keys) == []
    assert sorted(pairs_of(np.concatenate([keys, keys]))) == [(row + 64, row) for row in range(64)]


def test_a_row_of_a_large_bucket_is_paired_with_the_first_and_the_one_before():
    found = pairs_of(np.full(1000, 12345, dtype=np.uint64))
    rest = {(row, other) for row in range(FULL_BUCKET, 1000) for other in (0, row - 1)}
    assert set(found) == rest | {(later, earlier) for earlier, later in combinations(range(FULL_BUCKET), 2)}
    assert len(found) <= 2 * 1000


def test_no_keys_give_no_pairs():
    assert pairs_of(np.empty(0, dtype=np.uint64)) == []


def test_a_pair_enters_the_set_once():
    table = np.zeros(64, dtype=np.uint64)
    pairs = np.array([1 << 32, 2 << 32 | 1, 1 << 32], dtype=np.uint64)
    assert add_pairs(table, pairs) == 2
    assert add_pairs(table, pairs) == 0
    assert set(table[table != 0].tolist()) == {1 << 32, 2 << 32 | 1}
