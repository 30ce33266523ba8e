"""Which documents may be duplicates of each other, found by units that each hold a bounded part of the corpus.

A unit of *links* has a range of the keys of one band, or whole bands of a small corpus, and reads only these columns of
the participants. *Components* joins the links: deduplication of one component needs to know no other. *Candidates*
gathers the linked documents with their texts, a batch a unit, sorted by group: so a group of components, which is the
unit of deduplication, reads its own rows of every shard and no others.

Invariant: documents that share a band key are in one component, wherever they lie; a document that shares none is in
no group. Which group a component is in depends on the place of its first document only.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from codeft_assets.curation.dedup.components import Components, Numbers
from codeft_assets.curation.kernels.buckets import bucket_links
from codeft_assets.curation.report import StageReport
from codeft_assets.stages.code_version import code_version_of
from codeft_assets.stages.participants import Batch
from codeft_assets.stages.texts import text_column
from codeft_assets.store.engine import ShardResult, Stage, Unit
from codeft_assets.store.manifest import Shard, combined_hash
from codeft_assets.store.tables import Table

ALONE = "alone"
MAX_TEXT_BYTES = 1 << 26
"""Of candidates that are held before they are written."""


def links_stage() -> Stage:
    """Identify the links; a unit is a range of keys."""
    return Stage(name="steps/links", code_version=code_version_of(link_documents))


def link_units(participants: Table, bands: list[str], max_keys: int) -> list[Unit]:
    """Return units of about ``max_keys`` keys: several bands each, or each a part of one."""
    manifest = participants.manifest()
    num_documents = max(manifest.num_rows, 1)
    at_a_time = max(max_keys // num_documents, 1)
    part_bits = (-(-num_documents // max_keys) - 1).bit_length()
    units = []
    for first in range(0, len(bands), at_a_time):
        names = bands[first : first + at_a_time]
        for part in range(1 << part_bits):
            name = f"{names[0]} to {names[-1]}, part {part} of {1 << part_bits}"
            fingerprint = combined_hash((manifest.content_hash, name))
            units.append(Unit(name=name, fingerprint=fingerprint, args=(participants, names, part, part_bits)))
    return units


def link_documents(participants: Table, bands: list[str], part: int, part_bits: int) -> Iterator[ShardResult]:
    """Link the documents that share a key whose upper bits are ``part``; documents are numbered as they are listed."""
    keys, numbers = _keys_of_part(participants, bands, part, part_bits)
    for name in bands:
        later, first = bucket_links(np.concatenate(keys.pop(name)))
        of_band = np.concatenate(numbers.pop(name))
        rows = pa.table({"later": of_band[later], "first": of_band[first]})
        report = StageReport(num_in=rows.num_rows, num_out=rows.num_rows)
        yield ShardResult(rows=rows, report=report, in_parts=True)


def _keys_of_part(
    participants: Table, bands: list[str], part: int, part_bits: int
) -> tuple[dict[str, list[npt.NDArray[np.uint64]]], dict[str, list[Numbers]]]:
    manifest = participants.manifest()
    dtype = np.uint32 if manifest.num_rows < 1 << 32 else np.uint64
    keys = {name: [np.empty(0, dtype=np.uint64)] for name in bands}
    numbers: dict[str, list[Numbers]] = {name: [np.empty(0, dtype=dtype)] for name in bands}
    begin = 0
    for shard in manifest.shards:
        columns = participants.read_part(shard, bands)
        for name in bands:
            found = columns[name].to_numpy()
            # shifted by one bit and then by the rest: a shift by 64 bits is undefined
            chosen = np.flatnonzero((found >> np.uint64(1)) >> np.uint64(63 - part_bits) == part)
            keys[name].append(found[chosen] << np.uint64(part_bits))  # the kernel groups by the upper bits
            numbers[name].append((chosen + begin).astype(dtype))
        begin += shard.num_rows
    return keys, numbers


def components_stage(max_documents: int) -> Stage:
    """Identify the components; ``max_documents`` is about the largest group, unless one component is larger."""
    return Stage(
        name="steps/components",
        code_version=code_version_of(join_components),
        parameters={"max_documents": max_documents},
    )


def component_units(participants: Table, links: Table, places: list[int], max_documents: int) -> list[Unit]:
    """Return the one unit; it holds two bits a document, and sixteen bytes one that is linked."""
    fingerprint = combined_hash((participants.manifest().content_hash, links.manifest().content_hash, str(places)))
    return [Unit(name="all links", fingerprint=fingerprint, args=(participants, links, places, max_documents))]


def join_components(
    participants: Table, links: Table, first_places: list[int], max_documents: int
) -> Iterator[ShardResult]:
    """Yield, a shard for each batch, the rows of its linked documents, their component and their group."""
    sizes = [shard.num_rows for shard in participants.manifest().shards]
    begins = np.cumsum([0, *sizes])

    def read_links() -> Iterator[tuple[Numbers, Numbers]]:
        for shard in links.manifest().shards:
            rows = links.read_part(shard, ["later", "first"])
            yield rows["later"].to_numpy(), rows["first"].to_numpy()

    found = Components(int(begins[-1]), read_links)
    num_groups = count_groups(found.num_linked, max_documents)
    places = Places(begins=begins, first_places=np.asarray(first_places, dtype=np.int64), num_groups=num_groups)
    for batch, (begin, end) in enumerate(itertools.pairwise(begins)):
        rows = places.rows(batch, *found.members(int(begin), int(end)))
        yield ShardResult(rows=rows, report=StageReport(num_in=rows.num_rows, num_out=rows.num_rows))


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Names components by the place of their first document, which its number among the participants is not."""

    begins: npt.NDArray[np.int64]
    """The first number of each batch, and the number behind the last."""
    first_places: npt.NDArray[np.int64]
    num_groups: int

    def rows(self, batch: int, numbers: Numbers, roots: Numbers) -> pa.Table:
        """Return row, component and group of some documents of a batch, given their numbers and their components'."""
        home = np.searchsorted(self.begins, roots, side="right") - 1
        component = (self.first_places[home] + roots - self.begins[home]).astype(np.uint64)
        group = (_mixed(component) & np.uint64(self.num_groups - 1)).astype(np.uint32)
        return pa.table(
            {"row": (numbers - self.begins[batch]).astype(np.uint32), "component": component, "group": group}
        )


def count_groups(num_linked: int, max_documents: int) -> int:
    """Return the power of two of groups of at most ``max_documents`` of ``num_linked`` documents, on average."""
    return 1 << (-(-num_linked // max_documents) - 1).bit_length() if num_linked else 1


def _mixed(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return well mixed numbers: the finalizer of splitmix64."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


def candidates_stage() -> Stage:
    """Identify the gathering of the linked documents."""
    return Stage(name="steps/candidates", code_version=code_version_of(gather_candidates))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Linked:
    """The participants of a batch and those of them that are linked."""

    participants: Table
    listed: Shard
    components: Table
    members: Shard


def candidate_units(participants: Table, components: Table, batches: list[Batch]) -> list[Unit]:
    """Return one unit per batch."""
    shards = zip(batches, participants.manifest().shards, components.manifest().shards, strict=True)
    return [
        Unit(
            name=f"{number} {listed.unit}",
            fingerprint=combined_hash(
                (listed.content_hash, members.content_hash, *(piece.documents.content_hash for piece in batch.pieces))
            ),
            args=(batch, _Linked(participants=participants, listed=listed, components=components, members=members)),
        )
        for number, (batch, listed, members) in enumerate(shards)
    ]


def gather_candidates(batch: Batch, linked: _Linked) -> Iterator[ShardResult]:
    """Yield the linked documents of a batch with all that deduplication needs of them, by group."""
    members = linked.components.read_shard(linked.members)
    rows = pl.DataFrame(linked.participants.read_part(linked.listed, None).take(members["row"])).with_columns(
        pl.Series("component", members["component"]), pl.Series("group", members["group"])
    )
    yield from _in_bounded_parts(batch, rows)
    num_alone = linked.listed.num_rows - rows.height
    dropped = {ALONE: num_alone} if num_alone else {}
    nothing = rows.clear().drop("shard", "row").with_columns(text=pl.lit("", pl.String))
    yield ShardResult(
        rows=nothing.to_arrow(), report=StageReport(num_in=num_alone, num_out=0, dropped=dropped), in_parts=True
    )


def _in_bounded_parts(batch: Batch, rows: pl.DataFrame) -> Iterator[ShardResult]:
    held, num_bytes = list[pl.DataFrame](), 0
    for number, piece in enumerate(batch.pieces):
        chosen = rows.filter(pl.col("shard") == number)
        if chosen.is_empty():
            continue
        places = chosen["row"].to_numpy().astype(np.int64)
        texts = text_column(batch.documents.read_rows(piece.documents, places, ["text"]))
        held.append(chosen.with_columns(text=pl.Series(texts)).drop("shard", "row"))
        num_bytes += texts.nbytes
        if num_bytes > MAX_TEXT_BYTES:
            yield _by_group(held)
            held, num_bytes = [], 0
    if held:
        yield _by_group(held)


def _by_group(held: list[pl.DataFrame]) -> ShardResult:
    rows = pl.concat(held).sort("group", maintain_order=True)
    report = StageReport(num_in=rows.height, num_out=rows.height)
    return ShardResult(rows=rows.to_arrow(), report=report, in_parts=True)
