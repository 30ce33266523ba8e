"""Shares of sources, as a mixture search finds them, as the shares of domains and weights that a plan is made of."""

from __future__ import annotations

from collections.abc import Mapping

from codeft_assets.curation.documents import DOMAINS

_LEAST_WEIGHT = 1e-6
"""Of a source that the search gave nothing, or did not know: it is read where its domain has no others left."""


def adopt_shares(
    shares: Mapping[str, float], domain_by_source: Mapping[str, str]
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the shares of the domains, which add up to 1, and the weight of each source in its domain.

    Args:
        shares: Source -> its share of the tokens.
        domain_by_source: Of every source of the catalogue.

    Raises:
        ValueError: a share is of no source of the catalogue, or all are 0.
    """
    unknown = sorted(set(shares) - set(domain_by_source))
    total = sum(shares.values())
    if unknown or total <= 0:
        problem = f"has shares of {unknown}, which are no sources" if unknown else "has no positive share"
        raise ValueError(f"the mixture search {problem}; materialize corpus/mixture_search again")
    in_domain: dict[str, float] = dict.fromkeys(DOMAINS, 0.0)
    for source, share in shares.items():
        in_domain[domain_by_source[source]] += share / total
    weights = {source: max(shares.get(source, 0.0) / total, _LEAST_WEIGHT) for source in domain_by_source}
    return in_domain, weights
