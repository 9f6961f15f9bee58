"""Smooth calibration error: kernel smoothing with an automatic bandwidth instead of bins."""

from functools import lru_cache

import numpy as np

from sksve.metrics._inputs import top_label

# The numerical choices below are those of the authors' package, so that the numbers agree.
SMALLEST_BANDWIDTH = 1e-3
HALVINGS = 10
DENSITY_FLOOR = 1e-4  # rows: where there are practically none, residuals do not count


def smooth_calibration_error(y_true, y_proba, *, labels=None, sample_weight=None):
    r"""Smooth calibration error (smECE) of the predicted class, without bins.

    The residuals confidence minus correct are smoothed by a Gaussian kernel K of width
    :math:`\sigma`, reflected at 0 and 1:

    .. math::
        \mathrm{smECE}_\sigma = \int_0^1 \Big\lvert \frac1n \sum_i K_\sigma(t, \hat p_i)
        \, (\hat p_i - 1[\hat y_i = y_i]) \Big\rvert \, dt

    The bandwidth is the fixed point :math:`\mathrm{smECE}_\sigma = \sigma`, found by bisection to
    1/1024. It changes continuously with the probabilities, as no binned error does, and bounds the
    distance to the nearest calibrated predictor from both sides.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Labels of any kind.
    y_proba : array-like of shape (n_samples, n_classes) or (n_samples,)
        Probabilities; one-dimensional: of the positive class.
    labels : array-like of shape (n_classes,), default=None
        The columns' labels. None: the sorted labels of `y_true`.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights; weight 2 equals the row twice.

    Returns
    -------
    error : float
        Between 0 (best) and 1.

    Raises
    ------
    ValueError
        If shapes, labels, probabilities or weights are not as above.

    See Also
    --------
    expected_calibration_error : With bins.

    Notes
    -----
    The integral is a sum over a mesh, the smoothing a convolution on a grid of 1001 points or more,
    with a floor of 1e-4 rows for the density: the choices of the authors' package relplot, with
    which the value agrees to 1e-9.

    References
    ----------
    Błasiok and Nakkiran, "Smooth ECE: Principled Reliability Diagrams via Kernel Smoothing",
    ICLR 2024, arXiv:2309.12236.

    Examples
    --------
    >>> from sksve.metrics import smooth_calibration_error
    >>> y_proba = [[0.8, 0.2], [0.8, 0.2], [0.8, 0.2], [0.3, 0.7]]
    >>> round(smooth_calibration_error([0, 0, 1, 1], y_proba), 3)
    0.081
    """
    return smooth_error(*top_label(y_true, y_proba, labels, sample_weight))


def smooth_error(confidence, correct, weight):
    """Smooth calibration error of checked confidences, at the fixed-point bandwidth."""
    weight = np.ones(len(confidence)) if weight is None else weight
    residuals = weight * (confidence - correct)
    spectra: dict[int, np.ndarray] = {}

    def error_at(sigma):
        size = max(2000, round(20 / sigma)) // 2 + 1
        if size not in spectra:  # one grid serves every bandwidth from 0.01 up
            values = _to_grid(confidence, (residuals, weight), size)
            # Mirrored at both ends, so that no mass leaves: a period of an even periodic sequence.
            mirrored = np.concatenate([values, values[:, -2:0:-1]], axis=1)
            spectra[size] = np.fft.rfft(mirrored, axis=1)
        return _error_at(sigma, spectra[size], size)

    narrow, wide = 0.0, 1.0
    if error_at(wide) > wide:
        return error_at(wide)
    for _ in range(HALVINGS):
        middle = (wide + narrow) / 2
        if middle < SMALLEST_BANDWIDTH or middle < error_at(middle):
            narrow = middle
        else:
            wide = middle
    return error_at(wide)


def _error_at(sigma, spectrum, size):
    """Error at one bandwidth, from the transform of mirrored residuals and weights."""
    smooth = np.fft.irfft(spectrum * _kernel(sigma, size), 2 * size - 2, axis=1)
    mesh, grid = _mesh(max(round(10 / sigma), 200)), _mesh(size)
    votes = np.abs(np.interp(mesh, grid, smooth[0, :size])).sum()
    mass = (np.interp(mesh, grid, smooth[1, :size]) + DENSITY_FLOOR).sum()
    return float(votes / mass)


@lru_cache(maxsize=32)
def _kernel(sigma, size):
    """Transform of the kernel, around index 0: a bootstrap meets the same bandwidths again."""
    kernel = np.exp(-((_mesh(size) - 0.5) ** 2) / (2 * sigma**2)) / (np.sqrt(2 * np.pi) * sigma)
    around_0 = np.zeros(2 * size - 2)
    # An even size has two middle points; the authors take the right one for 0.
    around_0[(np.arange(size) - size // 2) % len(around_0)] = kernel
    return np.fft.rfft(around_0)


@lru_cache(maxsize=64)
def _mesh(size):
    return np.linspace(0.0, 1.0, size)


def _to_grid(positions, values, size):
    """Share each value out between the two grid points around its position."""
    place = np.minimum(positions, 1.0) * (size - 1)
    left = np.clip(place.astype(np.intp), 0, size - 2)
    share = place - left
    return np.stack(
        [
            np.bincount(left, (1 - share) * v, minlength=size)
            + np.bincount(left + 1, share * v, minlength=size)
            for v in values
        ]
    )
