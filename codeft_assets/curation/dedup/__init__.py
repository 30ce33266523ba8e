"""Deduplication: exact and near duplicates, and the one representative of each cluster."""
