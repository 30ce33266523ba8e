"""Tables of Parquet shards with manifests, and the engine that computes their units of work."""
