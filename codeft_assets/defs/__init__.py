"""The Dagster shell: with ``definitions.py``, the only code that imports Dagster."""
