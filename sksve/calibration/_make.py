"""Calibrators by name."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from sklearn.base import clone

from sksve.calibration._affine import (
    DirichletCalibration,
    MatrixScaling,
    StructuredMatrixScaling,
    VectorScaling,
)
from sksve.calibration._base import Calibrator
from sksve.calibration._netcal import BBQ, ENIR
from sksve.calibration._one_vs_rest import BetaCalibration, HistogramBinning, IsotonicCalibration
from sksve.calibration._temperature import EnsembleTemperatureScaling, TemperatureScaling
from sksve.calibration._venn_abers import VennAbers

# Name -> class, in the order in which they are usually tried: few parameters first.
CALIBRATORS: Mapping[str, type[Calibrator]] = MappingProxyType(
    {
        "temperature": TemperatureScaling,
        "ensemble-temperature": EnsembleTemperatureScaling,
        "vector": VectorScaling,
        "matrix": MatrixScaling,
        "structured-matrix": StructuredMatrixScaling,
        "dirichlet": DirichletCalibration,
        "beta": BetaCalibration,
        "isotonic": IsotonicCalibration,
        "venn-abers": VennAbers,
        "histogram": HistogramBinning,
        "bbq": BBQ,
        "enir": ENIR,
    }
)


def make_calibrator(method: Any, **params: Any) -> Any:
    """Return an unfitted calibrator.

    Parameters
    ----------
    method : str or object
        A name out of ``CALIBRATORS``, or an unfitted calibrator, which is cloned: anything with
        ``fit(y_proba, y, sample_weight)``, ``predict_proba(y_proba)`` and ``get_params``.
    **params : object
        Parameters to set, for example ``input="logits"``.

    Returns
    -------
    calibrator : object
        A new calibrator; nothing is shared with `method`.

    Raises
    ------
    ValueError
        If the name is unknown or the object is no calibrator; the message lists the names.

    Examples
    --------
    >>> from sksve.calibration import make_calibrator
    >>> make_calibrator("temperature", input="logits")
    TemperatureScaling(input='logits')
    """
    if isinstance(method, str) and method in CALIBRATORS:
        return CALIBRATORS[method](**params)
    wanted = ("fit", "predict_proba", "get_params")
    if isinstance(method, type) or not all(hasattr(method, name) for name in wanted):
        names = ", ".join(repr(name) for name in CALIBRATORS)
        raise ValueError(
            f"A calibrator must be one of {names}, or an object with fit, predict_proba and "
            f"get_params, such as TemperatureScaling(). Got {method!r}."
        )
    made = clone(method)
    return made.set_params(**params) if params else made
