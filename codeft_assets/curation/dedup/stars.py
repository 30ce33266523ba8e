"""Components by rounds, of links that do not fit into memory: each round looks at the links of some documents only.

Large-star and small-star of Kiveris and others, "Connected Components in MapReduce and Beyond" (2014): a document's
neighbors are linked to the smallest of them instead, first those that are larger than it, then those that are smaller.
Taken in turn they end, after about the logarithm of the longest chain, in stars: each document of a component is linked
to its smallest number and to nothing else.

Links are ``node`` and ``other``, each in both directions; a round is given all links of its nodes.
"""

from __future__ import annotations

import polars as pl


def large_star(links: pl.DataFrame) -> pl.DataFrame:
    """Return links of the larger neighbors of each node to the smallest of all its neighbors, or to itself."""
    smallest = pl.min_horizontal("node", pl.col("other").min().over("node"))
    found = links.with_columns(smallest=smallest).filter(pl.col("other") > pl.col("node"))
    return in_both_directions(found.select(node="other", other="smallest"))


def small_star(links: pl.DataFrame) -> pl.DataFrame:
    """Return links of each node, and of its smaller neighbors, to the smallest of these."""
    smaller = links.filter(pl.col("other") < pl.col("node"))
    found = smaller.with_columns(smallest=pl.col("other").min().over("node"))
    parts = [found.select(node=name, other="smallest") for name in ("node", "other")]
    return in_both_directions(pl.concat(parts).filter(pl.col("node") != pl.col("other")))


def in_both_directions(links: pl.DataFrame) -> pl.DataFrame:
    """Return distinct links and their reverse."""
    once = links.unique()
    return pl.concat([once, once.select(node="other", other="node")])


def count_nodes(links: pl.DataFrame) -> tuple[int, int]:
    """Return the nodes of ``links``, and how many of these are not part of a star yet.

    A center has larger neighbors only, any other node of a star has one neighbor, which is smaller.
    """
    is_center = pl.col("other").min() > pl.col("node").first()
    is_ray = (pl.len() == 1) & (pl.col("other").first() < pl.col("node").first())
    nodes = links.group_by("node").agg(settled=is_center | is_ray)
    return nodes.height, nodes.height - int(nodes["settled"].sum())
