"""Which differences between variants are more than chance: paired bootstrap, many at once."""

from typing import NamedTuple

import numpy as np

__all__ = ["Differences", "chance_of_best", "differences_from"]


class Differences(NamedTuple):
    """Differences of every variant from one of them, arrays of shape ``(v,)``."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p_value: np.ndarray
    p_adjusted: np.ndarray


def differences_from(
    reference: int,
    values: np.ndarray,
    draws: np.ndarray,
    centres: np.ndarray,
    confidence_level: float,
) -> Differences:
    """Difference of each variant from a reference that the rows did not choose.

    Parameters
    ----------
    reference : int
        Place of the reference.
    values : ndarray of shape (v,)
        The metric.
    draws : ndarray of shape (v, n_resamples)
        The metric on resamples that all variants share.
    centres : ndarray of shape (v,)
        What the draws spread around: the metric, but for metrics that correct a bias.
    confidence_level : float
        Level of each interval.

    Returns
    -------
    Differences
        With basic bootstrap intervals, each for its own difference; two-sided p-values of no
        difference, each alone, and adjusted for all variants by the largest standardised
        deviation of a resample (Westfall and Young), which lets equal variants count once.
    """
    deviation = draws - centres[:, None]
    deviation = deviation - deviation[reference]
    value = values - values[reference]
    tail = (1.0 - confidence_level) / 2
    low_draw, high_draw = np.quantile(deviation, [tail, 1 - tail], axis=1)
    size = _standardised(np.abs(value), deviation)
    moved = _standardised(np.abs(deviation), deviation)
    p_value = _share_at_least(moved, size[:, None])
    p_adjusted = _share_at_least(moved.max(axis=0)[None], size[:, None])
    same = value == 0
    p_value[same], p_adjusted[same] = 1.0, 1.0
    return Differences(
        value,
        np.minimum(value - high_draw, value),
        np.maximum(value - low_draw, value),
        p_value,
        p_adjusted,
    )


def chance_of_best(losses: np.ndarray, draws: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """p-value, for each variant, of being as good as every other one.

    The hypothesis is that no other variant has a smaller expected loss. The statistic is the
    largest standardised lead that another one has, its law that of the resamples' deviations. As
    the maximum is taken in each resample, nothing is gained by having been the luckiest of many;
    and the variants with p > 0.05 hold the truly best one with 95 % (multiple comparisons with the
    best, Hsu 1984), so no further correction is due.
    """
    deviation = draws - centres[:, None]
    found = np.ones(len(losses))
    for i in range(len(losses)):
        others = np.delete(np.arange(len(losses)), i)
        if not len(others):
            continue
        gap = deviation[i] - deviation[others]
        lead = _standardised(losses[i] - losses[others], gap).max()
        if lead > 0:
            moved = _standardised(gap, gap).max(axis=0)
            found[i] = _share_at_least(moved[None], np.array([[lead]]))[0]
    return found


def _standardised(values: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Divide by the spread of the resamples; where there is none, 0 stays 0 and more is infinite."""
    spread = deviation.std(axis=1)
    none = spread <= 1e-12
    scale = np.where(none, 1.0, spread)
    if values.ndim == 2:
        return np.where(none[:, None], 0.0, values / scale[:, None])
    certain = np.where(np.abs(values) <= 1e-12, 0.0, np.copysign(np.inf, values))
    return np.where(none, certain, values / scale)


def _share_at_least(moved: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Share of resamples that deviate as far; never 0, as no finite number of draws shows that."""
    return (1 + np.count_nonzero(moved >= size, axis=1)) / (1 + moved.shape[1])
