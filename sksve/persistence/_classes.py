"""Which classes a saved folder may name: a closed list, so that no file can make sksve import anything."""

from importlib import import_module
from typing import Any

from sksve._exceptions import PersistenceError

__all__ = ["class_named"]

_HOME = {
    "SVEClassifier": "sksve.estimators",
    "LinearProbeClassifier": "sksve.baselines",
    "FineTunedClassifier": "sksve.baselines",
    "DeepEnsembleClassifier": "sksve.baselines",
    "LoRAEnsembleClassifier": "sksve.baselines",
    "BatchEnsembleClassifier": "sksve.baselines",
    "MCDropoutClassifier": "sksve.baselines",
    "LaplaceClassifier": "sksve.baselines",
    "CalibratedClassifier": "sksve.calibration",
}


def class_named(name: Any) -> Any:
    """Return a class of sksve that can be saved, imported now.

    Parameters
    ----------
    name : str

    Returns
    -------
    type

    Raises
    ------
    sksve.PersistenceError
        If `name` is none of them.

    Examples
    --------
    >>> from sksve.persistence import class_named
    >>> class_named("SVEClassifier")
    <class 'sksve.estimators._sve.SVEClassifier'>
    """
    home = _HOME.get(name) if isinstance(name, str) else None
    if home is None:
        raise PersistenceError(
            f"A saved folder may hold {', '.join(_HOME)}. Got {str(name)!r:.80} instead."
        )
    found = getattr(import_module(home), name, None)
    if not isinstance(found, type):
        raise PersistenceError(f"This version of sksve has no {name}. Install a newer one.")
    return found
