"""BBQ and ENIR: fitted by netcal, stored as step functions of our own.

Both average models that are constant between edges, so what they learned is one step function a
class. It is read out of netcal after the fit: no netcal object is kept, and prediction needs no
netcal.
"""

import contextlib
import io
import warnings
from abc import abstractmethod
from importlib import import_module
from typing import Any, ClassVar

import numpy as np
from numpy import ndarray
from sklearn.utils._param_validation import StrOptions

from sksve.calibration._base import Calibrator
from sksve.calibration._one_vs_rest import StepCalibrator

MOST_CELLS = 1_000_000  # of BBQ: half a minute


class _NetcalCalibrator(StepCalibrator):
    """One netcal model per class against the rest."""

    _parameter_constraints: ClassVar[dict[str, list]] = {
        **Calibrator._parameter_constraints,
        "score_function": [StrOptions({"BIC", "AIC"})],
    }

    def __init__(self, *, score_function: str = "BIC", input: str = "proba") -> None:
        super().__init__(input=input)
        self.score_function = score_function

    def _fit(self, scores: ndarray, codes: ndarray, weight: ndarray | None) -> dict[str, Any]:
        if weight is not None:
            repeats = np.rint(weight).astype(np.int64)
            if (repeats != weight).any():
                raise ValueError(
                    f"{type(self).__name__} takes whole numbers as sample_weight only (netcal has no "
                    f"weights: a row of weight 2 is repeated). Got {weight[repeats != weight][0]:g}. "
                    "Use IsotonicCalibration or HistogramBinning for other weights."
                )
            scores, codes = np.repeat(scores, repeats, axis=0), np.repeat(codes, repeats)
        return super()._fit(scores, codes, None)

    def _fit_class(
        self, proba: ndarray, hit: ndarray, weight: ndarray | None
    ) -> dict[str, ndarray]:
        edges = np.array([0.0, 1.0])
        if hit.all() or not hit.any():
            # netcal fails on one class alone, whose share is the same everywhere.
            return {"edges_": edges, "values_": np.array([float(hit[0])])}
        proba = proba.clip(0.0, 1.0)
        with _quiet():
            shares, models = self._fit_netcal(proba, hit.astype(np.float64))
        steps = [_steps_of(model) for model in models]
        edges = np.unique(np.concatenate([edges, *(lower for lower, _ in steps)]))
        # Bins are right-closed, so a bin's value is that of its right edge.
        values = sum(
            share * heights[np.searchsorted(lower, edges[1:], side="left") - 1]
            for share, (lower, heights) in zip(shares, steps, strict=True)
        )
        return {"edges_": edges, "values_": np.clip(values, 0.0, 1.0)}

    @abstractmethod
    def _fit_netcal(self, proba: ndarray, hit: ndarray) -> tuple[Any, list[Any]]:
        """Return weights that sum to 1, and netcal's models of constant pieces."""


def _steps_of(model: Any) -> tuple[ndarray, ndarray]:
    """Lower edges and heights of the pieces of a netcal model, which are right-closed."""
    if hasattr(model, "_group_bounds"):
        # The upper bounds are not read: where netcal merges three groups at once it forgets the
        # third's, and predicts 0 in the gap. The merged group ends where the next one begins.
        bounds = np.asarray(model._group_bounds, dtype=np.float64)
        return bounds[:, 0].copy(), np.asarray(model._group_values, dtype=np.float64).copy()
    edges = np.asarray(model._bin_bounds[0], dtype=np.float64)
    return edges[:-1].copy(), np.asarray(model._bin_map, dtype=np.float64).ravel().copy()


@contextlib.contextmanager
def _quiet():
    """Keep netcal's prints, progress bars and warnings to itself."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
        np.errstate(all="ignore"),
    ):
        warnings.simplefilter("ignore")
        yield


def _netcal(module: str) -> Any:
    """Import a module of netcal (which imports torch), or say how to get it."""
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(
            "BBQ and ENIR are fitted by netcal, which is not installed. Run pip install "
            "'sksve[netcal]', or use HistogramBinning or IsotonicCalibration, which need nothing."
        ) from error


class BBQ(_NetcalCalibrator):
    r"""Bayesian binning into quantiles: histograms of many sizes, averaged by their evidence.

    .. math:: f_k(p) = \sum_m \frac{e^{-S_m / 2}}{\sum_l e^{-S_l / 2}}\, f_{km}(p), \qquad
              q_{ik} = f_k(p_{ik}) \Big/ \sum_j f_j(p_{ij}),

    with histograms :math:`f_{km}` of about n^(1/3) / 10 to 10 n^(1/3) bins of equal width and their
    BIC or AIC :math:`S_m`. Fitted by netcal (``pip install sksve[netcal]``), in float64, each class
    against the rest.

    Parameters
    ----------
    score_function : {"BIC", "AIC"}, default="BIC"
        How a histogram's evidence is judged.
    input : {"proba", "logits"}, default="proba"
        What `y_proba` holds, in `fit` and in `predict_proba`. It is never guessed.

    Attributes
    ----------
    edges_ : list of n_classes ndarrays
        Per class the edges of all its histograms, from 0 to 1.
    values_ : list of n_classes ndarrays
        Per class the averaged value between two edges.
    classes_ : ndarray of shape (n_classes,)
        Labels, in the order of the columns.

    See Also
    --------
    HistogramBinning : One histogram.
    ENIR : Near-isotonic functions instead of histograms.

    Notes
    -----
    `sample_weight` must hold whole numbers: such rows are repeated. A row whose values are all
    0 keeps its probabilities. While netcal fits, this
    process's standard output and error are held back.

    References
    ----------
    .. [1] Naeini, M.P., Cooper, G. and Hauskrecht, M. (2015). Obtaining Well Calibrated Probabilities
           Using Bayesian Binning. AAAI. :doi:`10.1609/aaai.v29i1.9602`

    Examples
    --------
    >>> from sksve.calibration import BBQ
    >>> y_proba = [[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9]]
    >>> y = ["cat", "cat", "dog", "dog", "dog", "cat"]
    >>> BBQ().fit(y_proba, y).predict_proba([[0.9, 0.1]]).round(2)
    array([[0.56, 0.44]])
    """

    def _demand_quick(self, n_samples: int, n_classes: int) -> None:
        if n_samples * n_classes > MOST_CELLS:
            raise ValueError(
                f"BBQ would bin {n_samples * n_classes:,} probabilities ({n_samples:,} rows of {n_classes:,} "
                f"classes) in every size, more than {MOST_CELLS:,}, which takes minutes. Use "
                "IsotonicCalibration, HistogramBinning or TemperatureScaling, or fewer rows."
            )

    def _fit_netcal(self, proba: ndarray, hit: ndarray) -> tuple[Any, list[Any]]:
        model = _netcal("netcal.binning").BBQ(score_function=self.score_function).fit(proba, hit)
        return model._model_scores, model._binning_models


class ENIR(_NetcalCalibrator):
    r"""Ensemble of near-isotonic regressions, averaged by their evidence.

    .. math:: f_k(p) = \sum_m \frac{e^{-S_m / 2}}{\sum_l e^{-S_l / 2}}\, f_{km}(p), \qquad
              q_{ik} = f_k(p_{ik}) \Big/ \sum_j f_j(p_{ij}),

    with the step functions :math:`f_{km}` on the path of the modified pool-adjacent-violators
    algorithm, from nearly any shape to an increasing one, and their BIC or AIC :math:`S_m`. Fitted
    by netcal (``pip install sksve[netcal]``), in float64, each class against the rest. The time
    grows with the square of the rows: minutes beyond some 10,000.

    Parameters
    ----------
    score_function : {"BIC", "AIC"}, default="BIC"
        How a function's evidence is judged.
    input : {"proba", "logits"}, default="proba"
        What `y_proba` holds, in `fit` and in `predict_proba`. It is never guessed.

    Attributes
    ----------
    edges_ : list of n_classes ndarrays
        Per class the edges of all its functions, from 0 to 1.
    values_ : list of n_classes ndarrays
        Per class the averaged value between two edges.
    classes_ : ndarray of shape (n_classes,)
        Labels, in the order of the columns.

    See Also
    --------
    IsotonicCalibration : One increasing function.
    BBQ : Histograms instead of near-isotonic functions.

    Notes
    -----
    `sample_weight` must hold whole numbers: such rows are repeated. A row whose values are all
    0 keeps its probabilities. While netcal fits, this
    process's standard output and error are held back. Where netcal 1.4 merges three groups at once
    it leaves a gap in which it predicts 0; here the merged group fills the gap.

    References
    ----------
    .. [1] Naeini, M.P. and Cooper, G.F. (2016). Binary Classifier Calibration Using an Ensemble of
           Near Isotonic Regression Models. ICDM. :doi:`10.1109/ICDM.2016.0047`

    Examples
    --------
    >>> from sksve.calibration import ENIR
    >>> y_proba = [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.7, 0.3], [0.2, 0.8], [0.3, 0.7]]
    >>> y = ["cat", "cat", "dog", "dog", "dog", "cat"]
    >>> ENIR().fit(y_proba, y).predict_proba([[0.9, 0.1]]).round(2)
    array([[1., 0.]])
    """

    def _fit_netcal(self, proba: ndarray, hit: ndarray) -> tuple[Any, list[Any]]:
        near_isotonic = _netcal("netcal.binning.NearIsotonicRegression").NearIsotonicRegression
        # Equal probabilities: hits first, so that their rows form a violation, which is merged, and
        # not a step between values that no row can tell apart.
        order = np.lexsort((-hit, proba))
        proba, hit = proba[order], hit[order]
        # The path is walked here: netcal's own loop fails where it ends in one group.
        model = near_isotonic(quick_init=True).fit(proba, hit)
        path: list[Any] = []
        while model._num_groups > 1 and (model := model.get_next_model()) is not None:
            path.append(model)
        if not path:
            # The labels already increase with the probability: there is nothing to merge.
            return [1.0], [near_isotonic(quick_init=True).fit(proba, hit)]
        judge = _netcal("netcal.binning").ENIR(score_function=self.score_function)
        judge.num_classes = 2
        return judge._elbow(proba, hit, path, self.score_function.lower(), 0.001)
