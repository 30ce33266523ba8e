"""Measurements of a run: evaluation, samples, metrics, throughput."""
