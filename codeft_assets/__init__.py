"""The data pipeline: sources to corpus, and the Dagster shell around it."""
