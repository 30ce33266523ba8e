"""Components of more documents than one unit holds: rounds of units that each have the links of a part of them.

A part is some batches that follow each other. Links lie in both directions, sorted by the part of their node, so that a
unit reads its own of every shard and no others. A table is written each round, until the links are stars.

Invariant: the components are those that ``Components`` finds.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from codeft_assets.curation.dedup.stars import count_nodes, in_both_directions, large_star, small_star
from codeft_assets.curation.report import StageReport
from codeft_assets.stages.candidates import Places, count_groups
from codeft_assets.stages.code_version import code_version_of
from codeft_assets.store.data_root import STEPS
from codeft_assets.store.engine import ShardResult, Stage, Step, Unit
from codeft_assets.store.manifest import Shard, combined_hash
from codeft_assets.store.tables import Table

LINKS_OF_A_KEY = 4
"""A link takes about as much memory as four keys."""
UNSETTLED = "unsettled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The documents by number, in batches, and these in parts."""

    begins: tuple[int, ...]
    """The first number of each batch, and the number behind the last."""
    first_batches: tuple[int, ...]
    """Of each part, and the number of batches."""

    @classmethod
    def divide(cls, participants: Table, num_links: int, max_keys: int) -> Parts:
        """Return parts of about ``max_keys / LINKS_OF_A_KEY`` links, but of one batch at least."""
        begins = tuple(itertools.accumulate((s.num_rows for s in participants.manifest().shards), initial=0))
        num_batches = len(begins) - 1
        num_parts = min(-(-2 * num_links * LINKS_OF_A_KEY // max_keys), num_batches) or 1
        return cls(begins=begins, first_batches=tuple(part * num_batches // num_parts for part in range(num_parts + 1)))

    def with_part(self, links: pl.DataFrame) -> pl.DataFrame:
        """Return ``links`` with the part of their node, sorted by it."""
        bounds = np.array([self.begins[batch] for batch in self.first_batches[1:]])
        part = np.searchsorted(bounds, links["node"].to_numpy(), side="right").astype(np.uint32)
        return links.with_columns(part=part).sort("part", "node", "other")

    def __len__(self) -> int:
        """The number of parts."""
        return len(self.first_batches) - 1


def star_steps(links: Table, output: Table, parts: Parts) -> Iterator[Step]:
    """Yield rounds until the links are stars; ``output`` is the table beside which theirs stand.

    The last of them found nothing to do: its links are those of the one before.
    """
    before = links
    for number in itertools.count():
        table = Table(f"{output.url.rpartition('/')[0]}/stars-{number}", f"{STEPS}stars-{number}")
        function = spread_links if not number else grow_stars
        units = _spreading_units(links, parts) if not number else _growing_units(before, parts, is_large=number % 2 > 0)
        yield Step(function=function, units=units, stage=_stage(table, function, parts), output=table)
        if number and not table.manifest().report.dropped:
            return
        before = table


def _stage(table: Table, function: object, parts: Parts) -> Stage:
    return Stage(
        name=table.key, code_version=code_version_of(function), parameters={"first_batches": list(parts.first_batches)}
    )


def _spreading_units(links: Table, parts: Parts) -> list[Unit]:
    return [
        Unit(name=f"{n} {shard.unit}", fingerprint=f"{n} {shard.content_hash}", args=(links, shard, parts))
        for n, shard in enumerate(links.manifest().shards)
    ]


def spread_links(links: Table, shard: Shard, parts: Parts) -> Iterator[ShardResult]:
    """Put the links of a shard in both directions, by part."""
    found = pl.DataFrame(links.read_part(shard, ["later", "first"])).rename({"later": "node", "first": "other"})
    yield _written(in_both_directions(found), parts, StageReport(num_in=found.height, num_out=found.height))


def _growing_units(before: Table, parts: Parts, *, is_large: bool) -> list[Unit]:
    whole = before.manifest().content_hash
    return [
        Unit(
            name=f"part {part} of {len(parts)}",
            fingerprint=combined_hash((whole, str(part), str(is_large))),
            args=(before, part, parts, is_large),
        )
        for part in range(len(parts))
    ]


def grow_stars(before: Table, part: int, parts: Parts, is_large: bool) -> Iterator[ShardResult]:
    """Take large-star or small-star of the nodes of a part; the report counts those that were not part of a star."""
    links = read_links(before, part)
    num_nodes, num_unsettled = count_nodes(links)
    dropped = {UNSETTLED: num_unsettled} if num_unsettled else {}
    report = StageReport(num_in=num_nodes, num_out=num_nodes - num_unsettled, dropped=dropped)
    yield _written(large_star(links) if is_large else small_star(links), parts, report)


def _written(links: pl.DataFrame, parts: Parts, report: StageReport) -> ShardResult:
    return ShardResult(rows=parts.with_part(links).to_arrow(), report=report, in_parts=True)


def read_links(table: Table, part: int) -> pl.DataFrame:
    """Return the distinct links of the nodes of a part; no other rows are read."""
    shards = table.manifest().shards
    rows = [pl.DataFrame(table.read_part(shard, ["node", "other"], where=("part", part))) for shard in shards]
    return pl.concat(rows).unique()


def naming_units(stars: Table, parts: Parts, first_places: list[int], max_documents: int) -> list[Unit]:
    """Return one unit per part, which names the components of its documents."""
    manifest = stars.manifest()
    num_groups = count_groups(manifest.report.num_in, max_documents)
    return [
        Unit(
            name=f"part {part} of {len(parts)}",
            fingerprint=combined_hash((manifest.content_hash, str(first_places), str(part))),
            args=(stars, part, parts, first_places, num_groups),
        )
        for part in range(len(parts))
    ]


def name_components(
    stars: Table, part: int, parts: Parts, first_places: list[int], num_groups: int
) -> Iterator[ShardResult]:
    """Yield, a shard for each batch of a part, the rows of its linked documents, their component and their group."""
    links = read_links(stars, part)
    roots = links.group_by("node").agg(root=pl.min_horizontal(pl.col("other").min(), pl.col("node").first()))
    nodes, centers = (roots.sort("node")[name].to_numpy().astype(np.int64) for name in ("node", "root"))
    begins = np.array(parts.begins)
    places = Places(begins=begins, first_places=np.array(first_places), num_groups=num_groups)
    for batch in range(parts.first_batches[part], parts.first_batches[part + 1]):
        first, behind = np.searchsorted(nodes, begins[batch : batch + 2])
        rows = places.rows(batch, nodes[first:behind], centers[first:behind])
        yield ShardResult(rows=rows, report=StageReport(num_in=rows.num_rows, num_out=rows.num_rows))
