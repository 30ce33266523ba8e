"""Deduplication on shards: signatures a shard at a time, then the clusters of all documents that pass.

Clustering is five stages of bounded units (``participants.py``, ``candidates.py``), the last of which deduplicates a
group of linked documents at a time.

Invariant: the clusters are those that one look at all documents would find, and no process holds a list of these.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from codeft_assets.curation.dedup.deduplicate import DedupParams, deduplicate
from codeft_assets.curation.dedup.minhash import MinHashParams, compute_signatures
from codeft_assets.curation.dedup.pairs import Rows
from codeft_assets.curation.report import StageReport
from codeft_assets.stages.candidates import (
    ALONE,
    candidate_units,
    candidates_stage,
    component_units,
    components_stage,
    count_groups,
    gather_candidates,
    join_components,
    link_documents,
    link_units,
    links_stage,
)
from codeft_assets.stages.code_version import code_version_of
from codeft_assets.stages.participants import (
    ClusterInputs,
    list_batches,
    list_participants,
    participant_units,
    participants_stage,
)
from codeft_assets.stages.stars import Parts, grow_stars, name_components, naming_units, spread_links, star_steps
from codeft_assets.stages.texts import text_column
from codeft_assets.store.data_root import STEPS, Store
from codeft_assets.store.engine import ShardResult, Stage, Step, Unit
from codeft_assets.store.files import write_file
from codeft_assets.store.manifest import Shard, combined_hash
from codeft_assets.store.tables import Table

_TWO_TO_64 = pl.Series([1 << 64], dtype=pl.UInt128)


def signatures_stage(params: MinHashParams) -> Stage:
    """Identify MinHash signatures."""
    return Stage(name="dedup/signatures", code_version=code_version_of(sign_documents), parameters=asdict(params))


def sign_documents(table: Table, shard: Shard, params: MinHashParams) -> Iterator[ShardResult]:
    """Compute the signature of every document of a shard."""
    rows = table.read_shard(shard, ["document_id", "content_hash", "text"])
    signed = pl.DataFrame(rows.drop_columns(["text"])).hstack(compute_signatures(text_column(rows), params))
    yield ShardResult(rows=signed.to_arrow(), report=StageReport(num_in=signed.height, num_out=signed.height))


@dataclass(frozen=True, slots=True, kw_only=True)
class DedupTables:
    """The tables that clustering writes, the last of which is its result."""

    participants: Table
    links: Table
    components: Table
    candidates: Table
    clusters: Table

    @classmethod
    def of(cls, store: Store) -> DedupTables:
        """Return those of a data root."""
        *steps, clusters = cls.__slots__
        return cls(clusters=store.table(f"dedup/{clusters}"), **{name: store.table(f"{STEPS}{name}") for name in steps})


def clustering_version() -> str:
    """Return the code version of all of clustering."""
    steps = (list_participants, link_documents, join_components, spread_links, grow_stars, name_components)
    return code_version_of(*steps, gather_candidates, cluster_group)


def clustering_steps(
    inputs: ClusterInputs, tables: DedupTables, params: DedupParams, priorities: Mapping[str, int]
) -> Iterator[Step]:
    """Yield the stages of clustering; the units of each are listed once the one before is committed.

    Raises:
        ValueError: signatures, scores or matches are of other documents.
    """
    participants, links, components = tables.participants, tables.links, tables.components
    bands, max_documents = params.minhash.band_columns(), params.max_documents
    batches = list_batches(inputs, max_documents)
    units = participant_units(inputs, batches)
    yield Step(function=list_participants, units=units, stage=participants_stage(), output=participants)
    units = link_units(participants, bands, params.max_keys)
    yield Step(function=link_documents, units=units, stage=links_stage(), output=links)
    yield from _component_steps(tables, [batch.first_place for batch in batches], params)
    units = candidate_units(participants, components, batches)
    yield Step(function=gather_candidates, units=units, stage=candidates_stage(), output=tables.candidates)
    units = group_units(tables, params, priorities)
    yield Step(function=cluster_group, units=units, stage=clusters_stage(params, priorities), output=tables.clusters)


def _component_steps(tables: DedupTables, places: list[int], params: DedupParams) -> Iterator[Step]:
    """Yield the one unit that joins all links, or, of more documents than it may hold, rounds of units."""
    participants, links, output = tables.participants, tables.links, tables.components
    stage = components_stage(params.max_documents)
    if participants.manifest().num_rows <= params.max_keys:
        units = component_units(participants, links, places, params.max_documents)
        yield Step(function=join_components, units=units, stage=stage, output=output)
        return
    parts, stars = Parts.divide(participants, links.manifest().num_rows, params.max_keys), links
    for step in star_steps(links, output, parts):
        yield step
        stars = step.output
    units = naming_units(stars, parts, places, params.max_documents)
    stage = replace(stage, code_version=code_version_of(name_components))
    yield Step(function=name_components, units=units, stage=stage, output=output)


def clusters_stage(params: DedupParams, priorities: Mapping[str, int]) -> Stage:
    """Identify the deduplication of a group; its candidates are part of the unit."""
    return Stage(
        name="dedup/clusters",
        code_version=code_version_of(cluster_group),
        parameters={
            **{"threshold": params.threshold, "code_threshold": params.code_threshold},
            "priorities": dict(priorities),
        },
    )


def group_units(tables: DedupTables, params: DedupParams, priorities: Mapping[str, int]) -> list[Unit]:
    """Return one unit per group of components; the report of the first counts the documents that are in none, too."""
    fingerprints = group_fingerprints(tables, params.max_documents)
    num_groups = len(fingerprints)
    num_alone = _count_alone(tables)
    units = []
    for group, fingerprint in enumerate(fingerprints):
        candidates = Group(candidates=tables.candidates, number=group, num_alone=0 if group else num_alone)
        cache = SimilarityCache.of(tables.clusters, params.minhash, f"{group}-of-{num_groups}")
        args = (candidates, cache, params, priorities)
        units.append(Unit(name=f"group {group} of {num_groups}", fingerprint=fingerprint, args=args))
    return units


def group_fingerprints(tables: DedupTables, max_documents: int) -> list[str]:
    """Return what identifies each group of components, and its report."""
    manifest = tables.candidates.manifest()
    num_groups = count_groups(manifest.num_rows, max_documents)
    counted = [_count_alone(tables), *itertools.repeat(0, num_groups - 1)]
    return [
        combined_hash((manifest.content_hash, f"{group} of {num_groups}", f"{num_alone} alone"))
        for group, num_alone in enumerate(counted)
    ]


def _count_alone(tables: DedupTables) -> int:
    return tables.candidates.manifest().report.dropped.get(ALONE, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The candidates of some components: documents that are linked to no others."""

    candidates: Table
    number: int
    num_alone: int
    """Documents that are linked to none, to be counted."""

    def read(self, columns: list[str]) -> Iterator[pa.Table]:
        """Yield the group's rows, shard by shard."""
        return (rows for _, rows in self.read_by_batch(columns))

    def sources(self) -> pl.DataFrame:
        """Return ``document_id``, in hex, and ``source`` of the group's documents."""
        rows = pl.concat([pl.DataFrame(part) for part in self.read(["document_id", "source"])])
        return rows.with_columns(pl.col("document_id").bin.encode("hex"))

    def read_by_batch(self, columns: list[str]) -> Iterator[tuple[int, pa.Table]]:
        """Yield the number of a batch of documents and rows of the group that are in it, shard by shard."""
        batches = itertools.groupby(self.candidates.manifest().shards, key=lambda shard: shard.unit)
        for number, (_, shards) in enumerate(batches):
            for shard in shards:
                yield number, self.candidates.read_part(shard, columns, where=("group", self.number))


def cluster_group(
    group: Group, cache: SimilarityCache, params: DedupParams, priorities: Mapping[str, int]
) -> Iterator[ShardResult]:
    """Find the duplicates among the documents of a group."""
    bands = params.minhash.band_columns()
    parts = [pl.DataFrame(part) for part in group.read([*_GROUP_COLUMNS, *bands])]
    listed = pl.concat(parts).with_columns(
        _as_number(pl.col("document_id")),
        _as_number(pl.col("content_hash")),
        priority=pl.col("source").replace_strict(dict(priorities), return_dtype=pl.Int32),
    )
    begins = np.cumsum([0, *(part.height for part in parts)])
    del parts

    def read_texts(rows: Rows) -> Iterator[tuple[Rows, pa.Array]]:
        order = np.argsort(rows, kind="stable")
        bounds = np.searchsorted(rows[order], begins)
        for number, part in enumerate(group.read(["text"])):
            positions = order[bounds[number] : bounds[number + 1]]
            if len(positions):
                yield positions, text_column(part.take(pa.array(rows[positions] - begins[number])))

    keys = listed.select(bands)
    found = deduplicate(listed.drop(bands), lambda band: keys[bands[band]].to_numpy(), read_texts, params, cache.read())
    cache.write(found.similarities)
    named = found.clusters.with_columns(
        _as_hex(found.clusters[name]).alias(name) for name in ("document_id", "representative_id")
    )
    counts = found.report
    report = replace(counts, num_in=counts.num_in + group.num_alone, num_out=counts.num_out + group.num_alone)
    yield ShardResult(rows=named.to_arrow(), report=report)


_GROUP_COLUMNS = [
    *("document_id", "content_hash", "source", "language", "educational_value", "num_chars"),
    *("num_shingles", "shingle_sum"),
]


def _as_number(sixteen_bytes: pl.Expr) -> pl.Expr:
    """Return ids as numbers, which sort as their hex digits do in a third of the memory."""
    return sixteen_bytes.bin.reinterpret(dtype=pl.UInt128, endianness="big")


def _as_hex(numbers: pl.Series) -> pl.Series:
    """Return the hex digits of numbers that ``_as_number`` made."""
    halves = [half.cast(pl.UInt64).to_numpy() for half in (numbers // _TWO_TO_64, numbers % _TWO_TO_64)]
    buffer = pa.py_buffer(np.stack(halves, axis=1).astype(">u8"))
    sixteen_bytes = pa.Array.from_buffers(pa.binary(16), len(numbers), [None, buffer]).cast(pa.binary())
    return pl.Series(sixteen_bytes).bin.encode("hex")


@dataclass(frozen=True, slots=True)
class SimilarityCache:
    """Similarities of pairs that earlier runs verified, beside the clusters' table; a lost cache is computed again."""

    clusters: Table
    version: str
    """Of code and parameters: the similarity of other shingles is another."""

    group: str

    @classmethod
    def of(cls, clusters: Table, params: MinHashParams, group: str) -> SimilarityCache:
        """Return the cache beside ``clusters`` of the present code, ``params`` and a group of components."""
        return cls(clusters, xxhash.xxh3_64_hexdigest(f"{code_version_of(cluster_group)} {params}"), group)

    def _path(self) -> str:
        return self.clusters.path(f"similarities-{self.version}-{self.group}.parquet")

    def read(self) -> pl.DataFrame | None:
        """Return the similarities, None if there are none that can be trusted."""
        try:
            with self.clusters.filesystem.open(self._path(), "rb") as file:
                return pl.DataFrame(pq.read_table(file, page_checksum_verification=True))
        except (FileNotFoundError, pa.ArrowException, OSError):
            return None

    def write(self, similarities: pl.DataFrame) -> None:
        """Replace the similarities."""
        buffer = io.BytesIO()
        pq.write_table(similarities.to_arrow(), buffer, compression="zstd", write_page_checksum=True)
        write_file(self.clusters.filesystem, self._path(), buffer.getvalue())
