"""Curation bound to shards: the functions that run in worker processes, and the identity of each stage."""
