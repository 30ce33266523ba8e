"""Measurements that change no weight: held-out bits per byte, evaluation texts, samples, metrics and throughput."""
