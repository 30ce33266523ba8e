"""The check of every documents table: a document's columns, unique ids, and no row unaccounted for."""

import dagster as dg

from codeft_assets.curation.documents import DOCUMENT_SCHEMA
from codeft_assets.defs.workspace import Workspace
from codeft_assets.source import Source
from codeft_assets.sources import SOURCES
from codeft_assets.store.bounded import count_distinct


def build_documents_check(source: Source) -> dg.AssetChecksDefinition:
    """Return the check of one source's documents: columns, unique ids and row counts."""

    @dg.asset_check(
        asset=dg.AssetKey(["documents", source.name]),
        name="accounts_balance",
        blocking=True,
        description="The table has a document's columns, rows, unique ids, and rows in = documents + rejects.",
    )
    def accounts_balance(workspace: Workspace) -> dg.AssetCheckResult:
        table = workspace.store.table(f"documents/{source.name}")
        manifest = table.manifest()
        found = table.scan().collect_schema().names()
        num_ids = count_distinct(table, "document_id")
        num_rejects = sum(shard.num_rows for shard in manifest.rejects)
        balanced = manifest.report.num_in == manifest.num_rows + num_rejects
        passed = found == DOCUMENT_SCHEMA.names and 0 < num_ids == manifest.num_rows and balanced
        counts = {"rows_in": manifest.report.num_in, "documents": manifest.num_rows, "rejects": num_rejects}
        return dg.AssetCheckResult(passed=passed, metadata={**counts, "num_unique_ids": num_ids})

    return accounts_balance


DOCUMENT_CHECKS = [build_documents_check(source) for source in SOURCES.values()]
