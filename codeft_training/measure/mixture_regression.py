"""RegMix (arXiv 2407.01492): the loss of a mixture, predicted from short runs on drawn mixtures, and the best mixture.

Mixtures are shares of sources that add up to 1. The paper fits LightGBM to 512 runs; a Gaussian process is fitted here,
for a few dozen runs are what a small machine can pay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
NUM_CANDIDATES = 20_000
NUM_BEST = 100
"""Candidates whose mean is the found mixture, as in the paper: a single best one follows the noise."""
_CONCENTRATIONS = (0.5, 5.0)
"""Of the Dirichlet distribution, times the number of sources: from nearly one source to nearly the given shares."""
MIN_RUNS = 4


@dataclass(frozen=True, slots=True)
class Regression:
    """A fitted regression of losses on mixtures."""

    process: Any
    mean: float
    scale: float
    rank_correlation: float
    """Spearman's, of measured losses and those predicted by a fit to the other runs (leave one out)."""

    def predict(self, mixtures: Floats) -> Floats:
        """Return the loss of each mixture, ``[mixtures, sources]``."""
        return self.process.predict(mixtures) * self.scale + self.mean


def draw_mixtures(natural: Sequence[float], number: int, *, seed: int) -> Floats:
    """Return drawn mixtures, ``[number, sources]``; the first ones are the same whatever the number."""
    shares = np.asarray(natural, dtype=float)
    # half of the mass is even, so that a small source is tried, too
    center = (shares / shares.sum() + 1 / len(shares)) / 2
    return np.stack([_draw(center, np.random.default_rng([seed, place])) for place in range(number)])


def _draw(center: Floats, rng: np.random.Generator) -> Floats:
    scale = np.exp(rng.uniform(*np.log(_CONCENTRATIONS))) * len(center)
    return rng.dirichlet(np.maximum(center * scale, 1e-3))


def fit_losses(mixtures: Floats, losses: Sequence[float]) -> Regression:
    """Return the regression of losses on mixtures.

    Raises:
        ValueError: there are fewer runs than ``MIN_RUNS``.
    """
    if len(losses) < MIN_RUNS:
        raise ValueError(f"{len(losses)} runs are too few for a regression; make at least {MIN_RUNS}")
    values = np.asarray(losses, dtype=float)
    mean, scale = values.mean(), values.std() or 1.0
    scaled = (values - mean) / scale
    everything = np.arange(len(values))
    left_out = [_fit(mixtures[everything != i], scaled[everything != i]).predict(mixtures[[i]])[0] for i in everything]
    return Regression(_fit(mixtures, scaled), float(mean), float(scale), rank_correlation(scaled, np.array(left_out)))


def rank_correlation(first: Floats, second: Floats) -> float:
    """Return Spearman's rank correlation; 0 where all of either are equal."""
    from scipy.stats import spearmanr

    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    found: Any = spearmanr(first, second)
    return float(found.statistic)


def best_mixture(regression: Regression, natural: Sequence[float], *, seed: int) -> Floats:
    """Return the mean of the candidates of the least predicted losses; shares add up to 1."""
    candidates = draw_mixtures(natural, NUM_CANDIDATES, seed=seed)
    order = np.argsort(regression.predict(candidates), kind="stable")[:NUM_BEST]
    return candidates[order].mean(axis=0)


def _fit(mixtures: Floats, losses: Floats) -> Any:
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, WhiteKernel

    kernel = ConstantKernel(1.0) * RBF(1.0) + DotProduct(1.0) + WhiteKernel(0.1, (1e-5, 1.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a bound of the kernel is a fine answer
        return GaussianProcessRegressor(kernel, random_state=0).fit(mixtures, losses)
