"""Deduplication on shards: signatures a shard at a time, then clustering of all documents that pass.

Invariant: of a document that takes part, clustering holds about 60 bytes; texts are read only of candidates, a shard at
a time.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from codeft_assets.curation.dedup.deduplicate import DedupParams, deduplicate
from codeft_assets.curation.dedup.minhash import MinHashParams, compute_signatures
from codeft_assets.curation.dedup.pairs import Rows
from codeft_assets.curation.report import StageReport
from codeft_assets.stages.code_version import code_version_of
from codeft_assets.stages.texts import TextsByPlace, text_column
from codeft_assets.store.engine import ShardResult, Stage
from codeft_assets.store.files import write_file
from codeft_assets.store.manifest import Shard
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


def clusters_stage(params: DedupParams, priorities: Mapping[str, int]) -> Stage:
    """Identify clustering; its inputs' hashes are part of the unit."""
    return Stage(
        name="dedup/clusters",
        code_version=code_version_of(cluster_documents),
        parameters={
            **{"threshold": params.threshold, "code_threshold": params.code_threshold},
            "priorities": dict(priorities),
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterInputs:
    """The tables that clustering reads."""

    documents: list[Table]
    signatures: Table
    scores: Table
    matches: Table


def cluster_documents(
    inputs: ClusterInputs, cache: SimilarityCache, params: DedupParams, priorities: Mapping[str, int]
) -> Iterator[ShardResult]:
    """Find the duplicates among the documents that pass quality and decontamination."""
    participants = pl.concat(_participants(inputs, priorities))
    places = participants["place"].to_numpy()
    texts = TextsByPlace(inputs.documents)

    bands = _Bands(signatures=inputs.signatures, names=params.minhash.band_columns(), max_keys=params.max_keys)

    def band_keys(band: int) -> npt.NDArray[np.uint64]:
        return bands.keys(band)[places]

    def read_texts(rows: Rows) -> Iterator[tuple[Rows, pa.Array]]:
        return texts.batches(places[rows])

    found = deduplicate(participants.drop("place"), band_keys, read_texts, params, cache.read())
    cache.write(found.similarities)
    named = found.clusters.with_columns(
        _as_hex(found.clusters[name]).alias(name) for name in ("document_id", "representative_id")
    )
    yield ShardResult(rows=named.to_arrow(), report=found.report)


def _participants(inputs: ClusterInputs, priorities: Mapping[str, int]) -> Iterator[pl.DataFrame]:
    """Yield of each shard the documents that take part, ids and hashes as numbers, and their place among all."""
    matched = inputs.matches.read(["document_id"])["document_id"].unique()
    priority = pl.col("source").replace_strict(dict(priorities), return_dtype=pl.Int32)
    place = 0
    for documents, signed, scored in _aligned_shards(inputs):
        yield (
            pl.concat([documents, signed, scored], how="horizontal")
            .lazy()
            .with_columns(place=pl.int_range(place, place + documents.height, dtype=pl.UInt32))
            .filter(pl.col("drop_reason").is_null() & ~pl.col("document_id").is_in(matched.implode()))
            .select(
                _as_number(pl.col("document_id").str.decode("hex")),
                _as_number(pl.col("content_hash").cast(pl.Binary)),
                *("language", priority.alias("priority"), "educational_value", "num_chars"),
                *("num_shingles", "shingle_sum", "place"),
            )
            .collect()
        )
        place += documents.height


def _aligned_shards(inputs: ClusterInputs) -> Iterator[tuple[pl.DataFrame, ...]]:
    """Yield the shards of documents with their signatures and scores, all by the same rows.

    Raises:
        ValueError: signatures or scores are of other documents.
    """
    shards = [(table, shard) for table in inputs.documents for shard in table.manifest().shards]
    derived = [
        (inputs.signatures, ["document_id", "content_hash", "num_shingles", "shingle_sum"]),
        (inputs.scores, ["document_id", "drop_reason", "educational_value"]),
    ]
    columns = [[_read(table, shard, names) for shard in table.manifest().shards] for table, names in derived]
    for number, (table, shard) in enumerate(shards):
        documents = _read(table, shard, ["document_id", "source", "language", "num_chars"]).collect()
        others = [found[number].collect() if number < len(found) else documents.clear() for found in columns]
        for other, (made, _) in zip(others, derived, strict=True):
            if not other["document_id"].equals(documents["document_id"]):
                raise ValueError(
                    f"table {made.key!r} holds other documents than {table.key!r} in shard {shard.path}; materialize "
                    f"the asset {made.key!r} again, then this one"
                )
        yield documents, *(other.drop("document_id") for other in others)


def _read(table: Table, shard: Shard, columns: list[str]) -> pl.LazyFrame:
    return table.scan_shard(shard).select(columns)


def _as_number(sixteen_bytes: pl.Expr) -> pl.Expr:
    """Return ids as numbers, which sort as their hex digits do in a third of the memory."""
    return sixteen_bytes.bin.reinterpret(dtype=pl.UInt128, endianness="big")


def _as_hex(numbers: pl.Series) -> pl.Series:
    """Return the hex digits of numbers that ``_as_number`` made."""
    halves = [half.cast(pl.UInt64).to_numpy() for half in (numbers // _TWO_TO_64, numbers % _TWO_TO_64)]
    buffer = pa.py_buffer(np.stack(halves, axis=1).astype(">u8"))
    sixteen_bytes = pa.Array.from_buffers(pa.binary(16), len(numbers), [None, buffer]).cast(pa.binary())
    return pl.Series(sixteen_bytes).bin.encode("hex")


@dataclass(slots=True, kw_only=True)
class _Bands:
    """Band keys of all documents, asked for in order: as many bands are read at a time as ``max_keys`` allows."""

    signatures: Table
    names: list[str]
    max_keys: int
    _held: pl.DataFrame = field(default_factory=pl.DataFrame)

    def keys(self, band: int) -> npt.NDArray[np.uint64]:
        if self.names[band] not in self._held.columns:
            self._held = pl.DataFrame()  # before the next are read
            at_a_time = max(self.max_keys // max(self.signatures.manifest().num_rows, 1), 1)
            self._held = self.signatures.read(self.names[band : band + at_a_time])
        return self._held[self.names[band]].to_numpy()


@dataclass(frozen=True, slots=True)
class SimilarityCache:
    """Similarities of pairs that earlier runs verified, beside the clusters' table; a lost cache is computed again."""

    clusters: Table
    version: str
    """Of code and parameters: the similarity of other shingles is another."""

    @classmethod
    def of(cls, clusters: Table, params: MinHashParams) -> SimilarityCache:
        """Return the cache beside ``clusters`` of the present code and ``params``."""
        return cls(clusters, xxhash.xxh3_64_hexdigest(f"{code_version_of(cluster_documents)} {params}"))

    def _path(self) -> str:
        return self.clusters.path(f"similarities-{self.version}.parquet")

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
