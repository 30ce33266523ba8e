"""Exports of finished runs and of the corpus: Hub folders, GGUF, model card and dataset card."""
