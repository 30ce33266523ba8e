"""Reference models that this harness measured once: their scores and verdicts are part of the package, no texts.

A folder's name says which weights were measured, quantization included. ``tests/shipped_reference.py`` adds one.
"""

from __future__ import annotations

from pathlib import Path

from codeft_eval.scoring.scores import SCORES_FILE

FOLDER = Path(__file__).parent.parent / "data" / "measured"


def shipped_references() -> list[tuple[str, Path]]:
    """Return model name and folder of each score, as ``publish`` takes references."""
    folders = sorted(path.parent for path in FOLDER.rglob(SCORES_FILE))
    return [(folder.relative_to(FOLDER).parts[0], folder) for folder in folders]
