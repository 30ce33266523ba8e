"""Errors that a person can mend, shown in the web UI by their reason and not by Dagster's words and frames."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from codeft_assets.origins.errors import UpstreamError


class ExplainedError(dg.Failure, ValueError):
    """A wrong value, with the rule and the remedy; the rows of step and run begin with them."""


@contextmanager
def explained_failures() -> Iterator[None]:
    """Raise a wrong value as a failure that explains itself; an upstream's has its own handling."""
    try:
        yield
    except UpstreamError:
        raise
    except ValueError as error:
        raise ExplainedError(description=str(error), allow_retries=False) from error
