"""The reasons of the Hub's client, in a few words for a sentence of ours."""

from __future__ import annotations

from collections.abc import Iterator


def hub_reason(error: Exception) -> str:
    """Return the reason: no network, HF_HUB_OFFLINE, the status of an answer, or the first line of another error."""
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    causes = list(_causes(error))
    if any(isinstance(cause, OfflineModeIsEnabled) for cause in causes):
        return "HF_HUB_OFFLINE keeps the Hub's client from the network"
    answered = [cause for cause in causes if getattr(cause, "response", None) is not None]
    if answered:
        status = getattr(answered[-1], "response").status_code  # noqa: B009  of several classes
        hidden = ": it is not there, or HF_TOKEN may not see it" if status in {401, 403, 404} else ""
        return f"the Hub answers with status {status}{hidden}"
    what = (str(causes[-1]).strip() or type(causes[-1]).__name__).splitlines()[0]
    return f"the Hub cannot be reached ({what})" if isinstance(error, LocalEntryNotFoundError) else what


def is_path(name: str) -> bool:
    """Return whether ``name`` can only be a path: ids of the Hub are NAME or OWNER/NAME, and begin with no dot."""
    return name.startswith((".", "/", "~")) or name.count("/") > 1


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
