"""The dataset card: a corpus, its contents, how to load it, and the source and license of every row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from codeft_assets.base.markdown import table
from codeft_training.export.model_card import corpus_sections, license_fields

if TYPE_CHECKING:
    import pyarrow as pa


def dataset_card(
    manifest: Mapping[str, Any], lineage: dict[str, Any], num_rows: Mapping[str, int], schema: pa.Schema
) -> str:
    """Return the README of a corpus: how to load it, its splits and columns, its sources and dropped documents.

    Args:
        manifest: The mixture table's.
        lineage: As for ``model_card``.
        num_rows: Documents by split; each split has files ``data/<split>-*.parquet``.
        schema: The columns.
    """
    files = "\n".join(f"  - split: {split}\n    path: data/{split}-*.parquet" for split in num_rows)
    licenses = "\n".join(license_fields(source["license"] for source in lineage.get("sources", [])))
    configs = f"configs:\n- config_name: default\n  data_files:\n{files}"
    front = f"---\n{licenses}\n{configs}\ntags:\n- code\n- codeft\n---"
    return "\n\n".join(
        [
            front,
            "# codeFT corpus",
            "Documents that passed quality, decontamination and deduplication, keys and addresses replaced. "
            "`datasets.load_dataset` reads this folder, or its repository, with both splits.",
            "`epochs` says how often training reads a document, `annealing_epochs` how many readings come last; "
            "no near duplicate of a training document is in the validation split. Every row names its source, revision "
            "and upstream row. Each source keeps its own license: the column `license` and the table below.",
            "## Splits",
            table(("split", "documents"), num_rows.items()),
            "## Columns",
            table(("column", "type"), [(field.name, field.type) for field in schema]),
            *corpus_sections(manifest["content_hash"], lineage),
            "",
        ]
    )
