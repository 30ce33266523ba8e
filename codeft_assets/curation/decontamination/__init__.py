"""Decontamination: benchmark items found in documents."""
