"""The plan of the mixture, by units that each hold a bounded part of the documents.

*Relatives* puts what deduplication found in the order of the batches of documents, a group of components a unit.
*Drawn* draws the documents of a batch. *Cuts* looks through the drawn documents of all batches, one batch in memory at
a time, and is a few rows; with these a batch plans its own documents.

Invariant: the plan is the one that ``plan_mixture`` makes of all documents at once. It has a shard for every shard of
documents, in their order, so that what reads both reads one of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import polars as pl

from codeft_assets.curation.corpus.ledger import NOT_SELECTED
from codeft_assets.curation.corpus.mixture import Mixture
from codeft_assets.curation.corpus.plan import apply_cuts, count_planned, decide_cuts, draw, measure_groups
from codeft_assets.curation.dedup.groups import group_near_duplicates
from codeft_assets.curation.report import StageReport
from codeft_assets.stages.candidates import candidate_units
from codeft_assets.stages.code_version import code_version_of
from codeft_assets.stages.dedup import DedupTables, Group, group_fingerprints
from codeft_assets.stages.participants import Batch, ClusterInputs, list_batches, participant_units
from codeft_assets.store.data_root import STEPS, Store
from codeft_assets.store.engine import ShardResult, Stage, Step, Unit, is_made_of
from codeft_assets.store.manifest import Shard, combined_hash
from codeft_assets.store.tables import Table

IS_SELECTED = "is_selected"
"""Parameter of a plan that was made of what the selection selected."""
LEFT_OUT_COLUMNS = ["document_id", "drop_reason", "drop_detail"]
_RELATIVE_COLUMNS = (
    *("batch", "document_id", "kind", "representative_id", "jaccard"),
    *("is_representative", "group_id", "group_size", "home"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deduplicated:
    """The documents, what the stages before found of them, and the choice among them, if there is one."""

    inputs: ClusterInputs
    tables: DedupTables
    selection: Table | None = None

    @property
    def max_documents(self) -> int:
        """The documents of a batch, as deduplication was configured."""
        return self.tables.components.manifest().parameters["max_documents"]

    def list_batches(self) -> list[Batch]:
        """Return the batches that deduplication went through.

        Raises:
            ValueError: deduplication is of other documents.
        """
        batches, tables = list_batches(self.inputs, self.max_documents), self.tables
        is_current = (
            is_made_of(tables.participants, (unit.fingerprint for unit in participant_units(self.inputs, batches)))
            and len(tables.components.manifest().shards) == len(batches)
            and is_made_of(
                tables.candidates,
                (unit.fingerprint for unit in candidate_units(tables.participants, tables.components, batches)),
            )
            and is_made_of(tables.clusters, group_fingerprints(tables, self.max_documents))
        )
        if not is_current:
            raise ValueError(
                f"table {tables.clusters.key!r} was made of other documents, scores or matches than there are now; "
                f"materialize the asset {tables.clusters.key!r} again, then this one"
            )
        return batches


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanTables:
    """The tables that planning writes, the last of which is its result."""

    relatives: Table
    drawn: Table
    cuts: Table
    plan: Table

    @classmethod
    def of(cls, store: Store) -> PlanTables:
        """Return those of a data root."""
        *steps, _ = cls.__slots__
        return cls(plan=store.table("corpus/mixture_plan"), **{name: store.table(f"{STEPS}{name}") for name in steps})


def planning_version() -> str:
    """Return the code version of all of planning."""
    return code_version_of(find_relatives, draw_documents, cut_sources, plan_documents)


def planning_steps(
    documents: Deduplicated, tables: PlanTables, mixture: Mixture, weights: Mapping[str, float]
) -> Iterator[Step]:
    """Yield the stages of planning; the units of each are listed once the one before is committed.

    Raises:
        ValueError: deduplication is of other documents.
    """
    batches = documents.list_batches()
    units = relative_units(documents)
    stage = Stage(name="steps/relatives", code_version=code_version_of(find_relatives))
    yield Step(function=find_relatives, units=units, stage=stage, output=tables.relatives)
    units = drawing_units(documents, batches, tables.relatives, mixture.seed)
    stage = Stage(name="steps/drawn", code_version=code_version_of(draw_documents), parameters={"seed": mixture.seed})
    yield Step(function=draw_documents, units=units, stage=stage, output=tables.drawn)
    units = cut_units(tables.drawn, weights, mixture, documents.max_documents)
    parameters = asdict(mixture) | {"weights": dict(weights)}
    stage = Stage(name="steps/cuts", code_version=code_version_of(cut_sources), parameters=parameters)
    yield Step(function=cut_sources, units=units, stage=stage, output=tables.cuts)
    units = plan_units(tables, batches, mixture)
    parameters |= {IS_SELECTED: True} if documents.selection else {}
    stage = Stage(name="corpus/mixture_plan", code_version=code_version_of(plan_documents), parameters=parameters)
    yield Step(function=plan_documents, units=units, stage=stage, output=tables.plan)


def _identity(selection: Table | None) -> str:
    return selection.manifest().content_hash if selection else ""


def relative_units(documents: Deduplicated) -> list[Unit]:
    """Return one unit per group of components."""
    candidates, clusters = documents.tables.candidates, documents.tables.clusters
    shards, chosen = clusters.manifest().shards, documents.selection
    whole = candidates.manifest().content_hash
    return [
        Unit(
            name=f"group {number} of {len(shards)}",
            fingerprint=combined_hash((whole, str(number), shard.content_hash, _identity(chosen))),
            args=(Group(candidates=candidates, number=number, num_alone=0), clusters, shard, chosen),
        )
        for number, shard in enumerate(shards)
    ]


def find_relatives(group: Group, clusters: Table, duplicates: Shard, selection: Table | None) -> Iterator[ShardResult]:
    """List the documents of a group of components by batch: of whom each is a duplicate, and who are like it."""
    columns = ["document_id", "source", "component"]
    parts = [pl.DataFrame(part).with_columns(batch=pl.lit(n, pl.UInt32)) for n, part in group.read_by_batch(columns)]
    found = pl.DataFrame(clusters.read_shard(duplicates))
    linked = pl.concat(parts).with_columns(pl.col("document_id").bin.encode("hex"))
    joined = linked.join(found, on="document_id", how="left").with_columns(
        is_representative=pl.col("document_id").is_in(found["representative_id"].implode())
    )
    left_out = not_selected(selection, joined["document_id"])["document_id"]
    is_planned = pl.col("kind").is_null() & ~pl.col("document_id").is_in(left_out.implode())
    grouped = group_near_duplicates(joined.with_columns(is_planned=is_planned))
    rows = measure_groups(grouped, "component").select(_RELATIVE_COLUMNS).sort("batch", maintain_order=True)
    report = StageReport(num_in=rows.height, num_out=rows.height)
    yield ShardResult(rows=rows.to_arrow(), report=report, in_parts=True)


def read_relatives(relatives: Table, batch: int) -> pl.DataFrame:
    """Return the rows of a batch; no other rows are read."""
    shards = relatives.manifest().shards
    parts = [relatives.read_part(shard, _RELATIVE_COLUMNS, where=("batch", batch)) for shard in shards]
    return pl.concat([pl.DataFrame(part) for part in parts]).drop("batch")


def not_selected(selection: Table | None, document_ids: pl.Series) -> pl.DataFrame:
    """Return ``LEFT_OUT_COLUMNS`` of those of some documents that a selection leaves out."""
    if selection is None:
        return pl.DataFrame(schema=dict.fromkeys(LEFT_OUT_COLUMNS, pl.String))
    is_left_out = pl.col("drop_reason").is_not_null() & pl.col("document_id").is_in(document_ids.implode())
    return selection.scan().filter(is_left_out).select(LEFT_OUT_COLUMNS).collect()


def drawing_units(documents: Deduplicated, batches: list[Batch], relatives: Table, seed: int) -> list[Unit]:
    """Return one unit per batch."""
    participants, whole = documents.tables.participants, relatives.manifest().content_hash
    listed = participants.manifest().shards
    return [
        Unit(
            name=f"{number} {shard.unit}",
            fingerprint=combined_hash((shard.content_hash, whole, _identity(documents.selection), str(number))),
            args=(documents, relatives, batch, number, seed),
        )
        for number, (batch, shard) in enumerate(zip(batches, listed, strict=True))
    ]


def draw_documents(
    documents: Deduplicated, relatives: Table, batch: Batch, number: int, seed: int
) -> Iterator[ShardResult]:
    """Draw the documents of a batch that are no duplicates and not left out by a selection."""
    columns = ["shard", "row", "document_id", "source", "language", "num_chars"]
    participants = documents.tables.participants
    listed = participants.manifest().shards[number]
    rows = pl.DataFrame(participants.read_part(listed, columns)).with_columns(pl.col("document_id").bin.encode("hex"))
    distinct = rows.join(read_relatives(relatives, number), on="document_id", how="left", maintain_order="left").filter(
        pl.col("kind").is_null()
    )
    left_out = not_selected(documents.selection, distinct["document_id"])
    wanted = distinct.join(left_out, on="document_id", how="anti", maintain_order="left").with_columns(
        pl.col("group_id").fill_null(pl.col("document_id")),
        pl.col("group_size").fill_null(1),
        pl.col("home").fill_null(pl.col("source")),
        is_alone=~pl.col("is_representative").fill_null(value=False),
    )
    drawn = draw(_with_kinds(batch, wanted), seed).select(_DRAWN_COLUMNS)
    dropped = {NOT_SELECTED: left_out.height} if left_out.height else {}
    report = StageReport(num_in=distinct.height, num_out=drawn.height, dropped=dropped)
    yield ShardResult(rows=drawn.to_arrow(), report=report, in_parts=True)


_DRAWN_COLUMNS = (
    *("shard", "document_id", "source", "domain", "format", "language", "num_tokens"),
    *("group_id", "group_size", "home", "rank", "draw", "group_draw"),
)


def _with_kinds(batch: Batch, rows: pl.DataFrame) -> pl.DataFrame:
    """Return ``rows`` with the domain and the format of each document."""
    parts = []
    for number, piece in enumerate(batch.pieces):
        chosen = rows.filter(pl.col("shard") == number)
        kinds = batch.documents.scan_shard(piece.documents).select("domain", "format").collect()
        parts.append(chosen.hstack(kinds[chosen["row"]]))
    return pl.concat(parts)


def cut_units(drawn: Table, weights: Mapping[str, float], mixture: Mixture, max_documents: int) -> list[Unit]:
    """Return the one unit; it holds a batch, and of all documents about as many again."""
    manifest = drawn.manifest()
    num_bits = (manifest.num_rows // max_documents).bit_length()
    args = (drawn, weights, mixture, num_bits)
    return [Unit(name="all drawn documents", fingerprint=manifest.content_hash, args=args)]


def cut_sources(drawn: Table, weights: Mapping[str, float], mixture: Mixture, num_bits: int) -> Iterator[ShardResult]:
    """Cut every source, in one look after another through the drawn documents."""
    shards = drawn.manifest().shards

    def parts(columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        return (pl.DataFrame(drawn.read_part(shard, columns)) for shard in shards)

    cuts = decide_cuts(parts, weights, mixture, num_bits)
    yield ShardResult(rows=cuts.to_arrow(), report=StageReport(num_in=cuts.height, num_out=cuts.height))


def plan_units(tables: PlanTables, batches: list[Batch], mixture: Mixture) -> list[Unit]:
    """Return one unit per batch; the report of the first counts the documents that the selection leaves out, too."""
    drawn, cuts = tables.drawn.manifest(), tables.cuts.manifest()
    num_left_out = drawn.report.dropped.get(NOT_SELECTED, 0)
    units = []
    for number, (batch, shard) in enumerate(zip(batches, drawn.shards, strict=True)):
        counted = 0 if number else num_left_out
        identity = (shard.content_hash, cuts.content_hash, str(len(batch.pieces)), str(counted))
        args = (tables, shard, len(batch.pieces), mixture, counted)
        units.append(Unit(name=shard.unit, fingerprint=combined_hash(identity), args=args))
    return units


def plan_documents(
    tables: PlanTables, drawn: Shard, num_shards: int, mixture: Mixture, num_left_out: int
) -> Iterator[ShardResult]:
    """Plan the documents of a batch, a shard for each shard of documents."""
    cuts = tables.cuts.read()
    rows = pl.DataFrame(tables.drawn.read_part(drawn, _DRAWN_COLUMNS))
    for number in range(num_shards):
        plan = apply_cuts(rows.filter(pl.col("shard") == number), cuts, mixture)
        report, counted = count_planned(plan), 0 if number else num_left_out
        dropped = {**report.dropped, **({NOT_SELECTED: counted} if counted else {})}
        yield ShardResult(rows=plan.to_arrow(), report=replace(report, num_in=report.num_in + counted, dropped=dropped))
