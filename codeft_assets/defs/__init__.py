"""The Dagster shell: with ``definitions.py``, the only code that imports Dagster.

Modules of assets, checks, ops and sensors have no ``from __future__ import annotations``: Dagster reads
their annotations.
"""
