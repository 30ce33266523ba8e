"""Exports: model folder, GGUF, model card, dataset card."""
