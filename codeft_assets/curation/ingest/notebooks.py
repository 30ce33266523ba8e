"""Jupyter notebooks: the cells in their order, as Markdown with the code in fences."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from codeft_assets.base.markdown import fence
from codeft_assets.curation.ingest.drafts import BadRowError, Draft
from codeft_assets.curation.ingest.normalize import normalize_text
from codeft_assets.curation.ingest.programming_languages import LANGUAGE_BY_FENCE

MAX_OUTPUT_CHARS = 2000
"""Of one cell's text: longer outputs are logs and tables."""


def is_notebook(path: str) -> bool:
    """True for the name of a notebook."""
    return path.lower().endswith(".ipynb")


def notebook(text: str, *, with_outputs: bool = False) -> Draft:
    """Return a notebook of format 3 or 4 as one document; of the outputs only text is read, and only if it is wanted.

    Raises:
        BadRowError: it is no notebook, or all its cells are empty.
    """
    try:
        content = json.loads(text)
        cells = content["cells"] if "cells" in content else content["worksheets"][0]["cells"]
        language = _language(content.get("metadata", {}))
        parts = [part for cell in cells for part in _cell_parts(cell, language, with_outputs=with_outputs)]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise BadRowError("malformed_notebook", f"no cells to read: {type(error).__name__}: {error}") from error
    if not parts:
        raise BadRowError("empty_text", "all cells of the notebook are empty")
    return Draft(text=normalize_text("\n\n".join(parts)), language=LANGUAGE_BY_FENCE.get(language, "text"))


def _language(metadata: Mapping[str, Any]) -> str:
    kernel, info = metadata.get("kernelspec") or {}, metadata.get("language_info") or {}
    return str(info.get("name") or kernel.get("language") or "python").lower()


def _cell_parts(cell: Mapping[str, Any], language: str, *, with_outputs: bool) -> Iterator[str]:
    source = _joined(cell.get("source", cell.get("input", "")))
    if cell["cell_type"] != "code":
        heading = f"{'#' * int(cell.get('level', 1))} " if cell["cell_type"] == "heading" else ""
        yield from [f"{heading}{source}"] if source.strip() else []
        return
    if source.strip():
        yield fence(source.strip("\n"), language)
    if with_outputs:
        texts = (_output(output) for output in cell.get("outputs", ()))
        yield from (fence(text.strip("\n")[:MAX_OUTPUT_CHARS], "output") for text in texts if text.strip())


def _output(output: Mapping[str, Any]) -> str:
    data = output.get("data") or output
    return _joined(data.get("text/plain") or data.get("text") or "")


def _joined(source: str | Sequence[str]) -> str:
    return source if isinstance(source, str) else "".join(source)
