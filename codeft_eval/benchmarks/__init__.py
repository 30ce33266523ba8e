"""Benchmarks: items, prompts, stops, extraction and checks."""
