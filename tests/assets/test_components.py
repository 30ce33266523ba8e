"""Components are those that scipy finds, in whatever parts the links come and whatever range is asked for."""

import itertools

import numpy as np
import pytest

from codeft_assets.curation.dedup.components import Components
from codeft_assets.curation.kernels.buckets import bucket_links


def expected(num, left, right):
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    labels = connected_components(coo_array((np.ones(len(left)), (left, right)), shape=(num, num)), directed=False)[1]
    first = np.full(num, num)
    np.minimum.at(first, labels, np.arange(num))
    linked = np.unique(np.concatenate([left, right]))
    return linked, first[labels[linked]]


@pytest.mark.parametrize(("num", "num_links"), [(1, 0), (64, 5), (1000, 300), (5000, 6000)])
@pytest.mark.parametrize("dtype", [np.uint32, np.uint64])
def test_they_are_the_connected_components_of_the_links(num, num_links, dtype):
    rng = np.random.default_rng(num)
    left, right = rng.integers(0, num, (2, num_links)).astype(dtype)

    def links():
        for part in np.array_split(np.arange(num_links), 3):
            yield left[part], right[part]

    found = Components(num, links)
    numbers, roots = expected(num, left, right)
    assert found.num_linked == len(numbers)
    bounds = [0, *sorted(rng.integers(0, num, 5).tolist()), num]
    parts = [found.members(begin, end) for begin, end in itertools.pairwise(bounds)]
    assert np.concatenate([part[0] for part in parts]).tolist() == numbers.tolist()
    assert np.concatenate([part[1] for part in parts]).tolist() == roots.tolist()


def test_each_row_is_linked_to_the_first_that_has_its_key():
    keys = np.random.default_rng(1).integers(0, 2**64, 40_000, dtype=np.uint64)[
        np.random.default_rng(2).integers(0, 40_000, 60_000)
    ]
    later, first = bucket_links(keys)
    values, begins = np.unique(keys, return_index=True)
    wanted = begins[np.searchsorted(values, keys)]
    is_later = wanted != np.arange(len(keys))
    order = np.argsort(later)
    assert later[order].tolist() == np.flatnonzero(is_later).tolist()
    assert first[order].tolist() == wanted[is_later].tolist()
    assert [len(part) for part in bucket_links(keys[:0])] == [0, 0]
