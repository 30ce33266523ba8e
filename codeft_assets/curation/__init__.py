"""The data library: pure functions from documents to decisions; no Dagster, no network, no paths."""
