"""Errors that a person can mend, shown in the web UI by their reason and not by Dagster's words and frames."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dagster as dg
from dagster._core.definitions.metadata import normalize_metadata
from dagster._core.errors import DagsterUserCodeProcessError
from dagster_shared.error import SerializableErrorInfo

from codeft_assets.base.report import FAILURE
from codeft_assets.origins.errors import UpstreamError


class ExplainedError(DagsterUserCodeProcessError, dg.Failure, ValueError):
    """A wrong value, with the rule and the remedy: all that the rows of step and run show.

    Dagster hands on the information of such an error as it is, here without a frame, and does not wrap it.
    """

    def __init__(self, description: str, metadata: Mapping[str, Any] | None = None) -> None:
        """Explain an error, with ``metadata`` below it; it is not retried."""
        info = SerializableErrorInfo(message=description, stack=[], cls_name=type(self).__name__)
        super().__init__(description, user_code_process_error_infos=[info])
        self.metadata = normalize_metadata(metadata or {})
        self.allow_retries = False


def failed_check_reason(check: dg.AssetCheckEvaluation) -> str:
    """Return why a check failed: its own sentence, else the numbers and words that it measured."""
    plain = (dg.IntMetadataValue, dg.FloatMetadataValue, dg.TextMetadataValue)
    measured = {name: value.value for name, value in check.metadata.items() if isinstance(value, plain)}
    said = ", ".join(f"{name} {value}" for name, value in measured.items())
    return check.description or said or "see its page in the web UI"


def explain_program(handler: Any, otherwise: str) -> ExplainedError:
    """Return the failure of a program: the reason that it sent to Dagster's ``handler``, else ``otherwise``."""
    said = [message[FAILURE] for message in handler.get_custom_messages() if FAILURE in message]
    return ExplainedError(said[-1] if said else otherwise)


@contextmanager
def explained_failures() -> Iterator[None]:
    """Raise a wrong value as a failure that explains itself; an upstream's has its own handling.

    The frames go to the output of the step: the value may be wrong by a fault of ours.
    """
    try:
        yield
    except (UpstreamError, ExplainedError):
        raise
    except ValueError as error:
        traceback.print_exception(error)
        raise ExplainedError(str(error)) from error
