"""One map per class against the rest, then rows divided by their sums."""

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np

from sksve.calibration._base import Calibrator
from sksve.calibration._scores import normalise
from sksve.metrics._binning import bin_index

__all__ = ["OneVsRestCalibrator", "StepCalibrator"]


class OneVsRestCalibrator(Calibrator):
    """A map from [0, 1] to [0, 1] for each class; a row whose values are all 0 stays as it was."""

    _space: ClassVar[str] = "proba"

    def _fit(
        self, scores: np.ndarray, codes: np.ndarray, weight: np.ndarray | None
    ) -> dict[str, Any]:
        maps = []
        for k in range(scores.shape[1]):
            maps.append(self._fit_class(np.ascontiguousarray(scores[:, k]), codes == k, weight))
        return {name: [fitted[name] for fitted in maps] for name in maps[0]}

    def _map(self, scores: np.ndarray) -> np.ndarray:
        columns = [self._map_class(k, scores[:, k]) for k in range(scores.shape[1])]
        return normalise(np.column_stack(columns), fallback=scores)

    @abstractmethod
    def _fit_class(
        self, proba: np.ndarray, hit: np.ndarray, weight: np.ndarray | None
    ) -> dict[str, np.ndarray]:
        """Learn one class's map from its probabilities and whether it was the label."""

    @abstractmethod
    def _map_class(self, k: int, proba: np.ndarray) -> np.ndarray:
        """Apply class k's map."""


class StepCalibrator(OneVsRestCalibrator):
    """One-vs-rest by step functions: `values_[k][b]` on the bin (edges_[k][b], edges_[k][b + 1]]."""

    edges_: list[np.ndarray]
    values_: list[np.ndarray]

    def _map_class(self, k: int, proba: np.ndarray) -> np.ndarray:
        return self.values_[k][bin_index(proba, self.edges_[k])]
