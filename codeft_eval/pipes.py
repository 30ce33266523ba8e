"""Reports to Dagster when it started this process through Pipes, and to the log otherwise."""

import base64
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

Report = Callable[[Mapping[str, Any], str], None]
"""(metadata, data version) -> None; floats, integers and strings as they are, Markdown as {"type", "raw_value"}."""


def markdown(text: str) -> dict[str, str]:
    """A metadata value that the web UI renders."""
    return {"type": "md", "raw_value": text}


def images(svgs: Iterable[str]) -> dict[str, str]:
    """A metadata value that the web UI shows as pictures."""
    encoded = [base64.b64encode(svg.encode()).decode() for svg in svgs]
    return markdown("\n\n".join(f"![plot](data:image/svg+xml;base64,{code})" for code in encoded))


def path(value: object) -> dict[str, str]:
    """A metadata value that the web UI shows as a path."""
    return {"type": "path", "raw_value": str(value)}


def version_of(document: str) -> str:
    """A data version: a hash of what was written."""
    return hashlib.sha256(document.encode()).hexdigest()


@contextmanager
def reporting(log: Callable[[str], None]) -> Iterator[tuple[Callable[[str], None], Report]]:
    """Gives (log, report): live log lines, and the one materialization with its data version."""
    if "DAGSTER_PIPES_CONTEXT" not in os.environ:
        yield log, lambda metadata, data_version: None
        return
    from dagster_pipes import open_dagster_pipes

    with open_dagster_pipes() as context:

        def report(metadata: Mapping[str, Any], data_version: str) -> None:
            context.report_asset_materialization(metadata=dict(metadata), data_version=data_version)

        yield context.log.info, report
