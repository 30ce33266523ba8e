"""The faults of an upstream. Each error names the value, the rule and the remedy."""

from __future__ import annotations


class UpstreamError(ValueError):
    """An upstream cannot be read as the catalogue describes it."""

    retryable = False
    """True where waiting may help: the network's fault, not ours."""


class MissingUpstreamError(UpstreamError):
    """There is no such dataset, revision or file."""


class GatedUpstreamError(UpstreamError):
    """The dataset's terms must be accepted first."""


class EmptyUpstreamError(UpstreamError):
    """The dataset exists and holds no data files."""


class OversizedUpstreamError(UpstreamError):
    """A file expands to far more than it holds compressed: it is a bomb, or no data of ours."""


class TruncatedUpstreamError(UpstreamError):
    """A file ended before its stated size."""

    retryable = True


class UnreachableUpstreamError(UpstreamError):
    """The network or the server failed, after retries."""

    retryable = True
