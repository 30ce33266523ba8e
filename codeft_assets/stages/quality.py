"""Quality on shards: signals and educational value, then the drop reasons that follow from them.

Only measurement reads text; a decision reads measurements, so that another threshold costs no reading.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping

import polars as pl
import pyarrow as pa

from codeft_assets.annotators.hub_encoder import open_embedding
from codeft_assets.curation.quality.classifier import (
    Classifier,
    deserialize_classifier,
    fit_classifier,
    score_documents,
)
from codeft_assets.curation.quality.labels import LabeledDocuments
from codeft_assets.curation.quality.rules import QUALITY_RULES, drop_reasons
from codeft_assets.curation.quality.signals import SIGNALS
from codeft_assets.curation.quality.thresholds import (
    NO_THRESHOLD,
    OTHER_LANGUAGES,
    MinimumByLanguage,
    Threshold,
    minimum_by_language,
)
from codeft_assets.curation.report import StageReport
from codeft_assets.stages.code_version import code_version_of
from codeft_assets.stages.opencoder import OTHER_RULES, with_preset
from codeft_assets.stages.texts import text_column
from codeft_assets.store.engine import ShardResult, Stage, Unit, table_units
from codeft_assets.store.files import located
from codeft_assets.store.manifest import Shard
from codeft_assets.store.tables import Table


def labeled(table: Table, *, held_out: bool) -> LabeledDocuments:
    """Return one side of the annotations as the classifier reads them; of two labels of a text the first counts."""
    rows = table.read().filter(pl.col("is_held_out") == held_out).unique("text", keep="first", maintain_order=True)
    return LabeledDocuments(
        text=rows["text"].to_arrow().cast(pa.large_string()),
        language=rows["language"].to_arrow().cast(pa.string()),
        label=rows["label"].cast(pl.Int64).to_numpy(),
        origin=tuple(rows["origin"]),
        name=tuple(rows["name"]),
        reason=tuple(rows["reason"]),
        num_left_out=table.manifest().report.num_dropped,
    )


CLASSIFIER_VERSION = code_version_of(labeled, fit_classifier)
"""Of the code that trains a classifier; the code that applies it is part of ``quality/signals``."""


SIGNAL_COLUMNS = {
    "educational_value": "0 to 1: what a student of coding or mathematics would learn, by the classifier",
    "natural_language": "ISO 639-1 code of the language that prose is in; empty for code and where it is not clear",
} | {signal.name: signal.definition for signal in SIGNALS}
_ATTRIBUTES = ["document_id", "source", "domain", "format", "language", "num_chars"]


def signals_stage() -> Stage:
    """Identify signals and educational value; the classifier's version is part of each unit."""
    return Stage(name="quality/signals", code_version=code_version_of(measure_documents))


def signals_units(tables: list[Table], classifier_file: str, version: str) -> list[Unit]:
    """Return one unit per shard of documents, to be scored by the classifier of this version."""
    return [
        Unit(name=unit.name, fingerprint=f"{unit.fingerprint} {version}", args=unit.args)
        for unit in table_units(tables, classifier_file, version)
    ]


def measure_documents(table: Table, shard: Shard, classifier_file: str, version: str) -> Iterator[ShardResult]:
    """Measure the signals of a shard's documents and predict their educational value.

    Raises:
        ValueError: the classifier is no longer of this version: it was trained again meanwhile.
    """
    classifier = _loaded(classifier_file, version)
    rows = table.read_shard(shard, [*_ATTRIBUTES, "text"])
    scored = score_documents(classifier, text_column(rows), rows["language"].combine_chunks())
    measured = pl.DataFrame(rows.drop_columns(["text"])).hstack(scored)
    report = StageReport(num_in=measured.height, num_out=measured.height)
    yield ShardResult(rows=measured.select(*_ATTRIBUTES, *SIGNAL_COLUMNS).to_arrow(), report=report)


@functools.lru_cache(maxsize=1)
def _loaded(classifier_file: str, version: str) -> Classifier:
    """Return the classifier; a worker loads it once for all its shards, which takes half a second."""
    classifier = load_classifier(classifier_file)
    if classifier.version != version:
        raise ValueError(
            f"{classifier_file} is version {classifier.version!r}, not {version!r}: it was trained while documents "
            f"were measured; materialize quality/signals again"
        )
    return classifier


def load_classifier(place: str) -> Classifier:
    """Return the classifier stored at a path or URL, with its embedding.

    Raises:
        ValueError: the file is missing, of another version, or holds types that could run code.
    """
    filesystem, path = located(place)
    try:
        content = bytes(filesystem.cat_file(path))  # type: ignore[arg-type]
    except FileNotFoundError as error:
        raise ValueError(f"{place} does not exist; materialize quality/classifier first") from error
    return deserialize_classifier(content, open_embedding=open_embedding)


SCORE_COLUMNS = {
    "educational_value": SIGNAL_COLUMNS["educational_value"],
    "minimum_educational_value": "what the source's documents of the language must reach; null for no minimum",
    "drop_reason": "language, the first quality rule the document breaks, low_educational_value, or null",
    "drop_detail": "the rule's signal, its value and its bounds",
}


def scores_stage() -> Stage:
    """Identify the decision; a source's minimum is part of its units."""
    return Stage(name="quality/scores", code_version=code_version_of(decide_documents))


def minimum_values(measured: Table, wanted: Mapping[str, Threshold]) -> dict[str, MinimumByLanguage]:
    """Return the educational value that each source's documents must reach, by language."""
    shards: dict[str, list[Shard]] = {}
    for shard in measured.manifest().shards:
        shards.setdefault(_source(shard), []).append(shard)
    return {source: _minimum(measured, shards.get(source, []), threshold) for source, threshold in wanted.items()}


def _source(shard: Shard) -> str:
    return shard.unit.split("/")[1]  # documents/<source>/…


def _minimum(measured: Table, shards: list[Shard], threshold: Threshold) -> MinimumByLanguage:
    """Return the minimum of a source, of whose documents nothing but language and value is in memory."""
    if threshold == NO_THRESHOLD or not shards:
        return minimum_by_language(_NO_VALUES, threshold)
    columns = ["language", "educational_value"]
    values = pl.concat([measured.scan_shard(shard).select(columns).collect() for shard in shards])
    return minimum_by_language(values, threshold)


_NO_VALUES = pl.DataFrame(schema={"language": pl.String, "educational_value": pl.Float32})


def scores_units(
    measured: Table,
    minimum: Mapping[str, MinimumByLanguage],
    languages: Mapping[str, tuple[str, ...]],
    verdicts: Table | None = None,
) -> list[Unit]:
    """Return one unit per shard of the measurements, in their order: what is wanted of a source re-decides it only.

    Args:
        measured: The signals.
        minimum: Educational value to reach in each source, by language.
        languages: Natural languages that each source keeps; empty for all.
        verdicts: Those of OpenCoder's rules, where they take the place of ours for code.
    """
    units, preset = [], f" {verdicts.manifest().content_hash}" if verdicts else ""
    for number, shard in enumerate(measured.manifest().shards):
        source = _source(shard)
        # numbered, because files without documents all have one and the same shard
        wanted = minimum[source], languages[source]
        name, fingerprint = f"{number} {shard.unit}", f"{shard.content_hash} {wanted}{preset}"
        units.append(Unit(name=name, fingerprint=fingerprint, args=(measured, shard, *wanted, verdicts)))
    return units


def decide_documents(
    table: Table, shard: Shard, minimum: MinimumByLanguage, languages: tuple[str, ...], verdicts: Table | None = None
) -> Iterator[ShardResult]:
    """Decide by the source's natural languages, the quality rules, or OpenCoder's for code, and its minimum."""
    measured = pl.DataFrame(table.read_shard(shard)).with_columns(
        minimum_educational_value=pl.col("language").replace_strict(
            minimum, default=minimum.get(OTHER_LANGUAGES), return_dtype=pl.Float32
        )
    )
    rules = OTHER_RULES if verdicts else QUALITY_RULES
    decided = measured.hstack(drop_reasons(measured, rules=rules, natural_languages=languages))
    if verdicts:
        decided = with_preset(decided, verdicts, shard.unit)
    dropped = dict(decided["drop_reason"].drop_nulls().value_counts().sort("drop_reason").iter_rows())
    report = StageReport(num_in=decided.height, num_out=decided.height - sum(dropped.values()), dropped=dropped)
    yield ShardResult(rows=decided.select("document_id", "source", *SCORE_COLUMNS).to_arrow(), report=report)
