"""Components are those that scipy finds, in whatever parts the links come and whatever range is asked for."""

import itertools

import numpy as np
import polars as pl
import pytest

from codeft_assets.curation.dedup.components import Components
from codeft_assets.curation.dedup.stars import count_nodes, in_both_directions, large_star, small_star
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


def by_rounds(left, right, num_parts=3):
    """Rounds as the stages run them: the nodes of a part at a time, and no links of others."""
    links, num_rounds = in_both_directions(pl.DataFrame({"node": left, "other": right})), 0
    while count_nodes(links)[1]:
        star = small_star if num_rounds % 2 else large_star
        parts = [links.filter(pl.col("node") % num_parts == part) for part in range(num_parts)]
        links, num_rounds = pl.concat(map(star, parts)).unique(), num_rounds + 1
    roots = links.group_by("node").agg(root=pl.min_horizontal("node", "other").min()).sort("node")
    return roots["node"].to_list(), roots["root"].to_list(), num_rounds


GRAPHS = {
    "random, many small": lambda rng: rng.integers(0, 3000, (2, 900)),
    "random, one large": lambda rng: rng.integers(0, 2000, (2, 3000)),
    "a chain": lambda rng: rng.permutation(2000)[np.stack([np.arange(1999), np.arange(1, 2000)])],
    "a chain in order": lambda rng: np.stack([np.arange(1, 1000), np.arange(999)]),
    "a ring": lambda rng: np.stack([np.arange(500), (np.arange(500) + 1) % 500]),
    "the largest is the center": lambda rng: np.stack([np.arange(999), np.full(999, 999)]),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_rounds_of_stars_find_the_components_in_few_rounds(name):
    left, right = GRAPHS[name](np.random.default_rng(1))
    left, right = left[left != right], right[left != right]
    linked, wanted = expected(3000, left, right)
    nodes, roots, num_rounds = by_rounds(left, right)
    assert (nodes, roots) == (linked.tolist(), wanted.tolist())
    assert num_rounds <= 24


def test_a_star_is_settled_and_what_hangs_on_a_ray_is_not():
    star = pl.DataFrame({"node": [5, 9, 7], "other": [2, 2, 2]})
    assert count_nodes(in_both_directions(star)) == (4, 0)
    hanging = pl.concat([star, pl.DataFrame({"node": [8], "other": [5]})])
    assert count_nodes(in_both_directions(hanging)) == (5, 1)
    assert count_nodes(in_both_directions(star.clear())) == (0, 0)
