"""Ingest: an upstream row becomes a document or a reject with a reason."""
