"""The reasons of the Hub's client, in a few words for a sentence of ours."""

from __future__ import annotations

from collections.abc import Iterator


def hub_reason(error: Exception) -> str:
    """Return the reason: no network, HF_HUB_OFFLINE, the status of an answer, or the first line of another error."""
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    chain = list(causes(error))
    if any(isinstance(cause, OfflineModeIsEnabled) for cause in chain):
        return "HF_HUB_OFFLINE keeps the Hub's client from the network"
    answered = [cause for cause in chain if getattr(cause, "response", None) is not None]
    if answered:
        status = getattr(answered[-1], "response").status_code  # noqa: B009  of several classes
        hidden = ": it is not there, or HF_TOKEN may not see it" if status in {401, 403, 404} else ""
        return f"the Hub answers with status {status}{hidden}"
    what = (str(chain[-1]).strip() or type(chain[-1]).__name__).splitlines()[0]
    return f"the Hub cannot be reached ({what})" if isinstance(error, LocalEntryNotFoundError) else what


def is_path(name: str) -> bool:
    """Return whether ``name`` can only be a path: ids of the Hub are NAME or OWNER/NAME, and begin with no dot."""
    return name.startswith((".", "/", "~")) or name.count("/") > 1


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it was raised from, the root last."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
