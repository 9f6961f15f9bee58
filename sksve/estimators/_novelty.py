"""How foreign rows are to the training rows: an outlier detector on the frozen backbone."""

import os
from dataclasses import KW_ONLY, dataclass
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils import Tags
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils.validation import check_is_fitted

from sksve._validation import SEED, Number, check_declared, parameter
from sksve.backbones import Backbone
from sksve.estimators._features import take_frozen
from sksve.estimators._parameters import LONG_TEXTS
from sksve.novelty import NEIGHBORS, ROWS, NoveltyReference
from sksve.training import base_seed, layer_vectors

_AT_LEAST_ONE = Number(Integral, 1, None, closed="left")


@dataclass(eq=False, repr=False)
class NoveltyDetector(OutlierMixin, BaseEstimator):
    r"""Find rows of another kind than the training rows: texts, images or tables.

    A row is measured by the distance of its vectors to the nearest training rows' vectors in a frozen
    pretrained backbone. Nothing is trained and no labels are needed. It is the ``novelty`` of
    ``SVEClassifier.predict_uncertainty``, as one of scikit-learn's outlier detectors.

    Parameters
    ----------
    backbone : str, path-like, (model, processor) or sksve.backbones.Backbone, \
default="all-MiniLM-L6-v2"
        As in ``SVEClassifier``.
    n_neighbors : int, default=3
        Nearest training rows whose mean distance counts; of fewer rows all.
    contamination : float in (0, 0.5], default=0.05
        Share of the training rows that :meth:`predict` calls outliers, and so of new rows of their kind.
    max_rows : int, default=5000
        Most training rows that are kept: a subset drawn by `random_state`. Memory grows with it (in half
        precision), time with its square in fit and linearly at prediction.
    max_length : int, default=128
        Longest text in tokens.
    long_texts : {"truncate", "windows"}, default="truncate"
        As in ``SVEClassifier``.
    serializer : transformer, "pair" or None, default=None
        As in ``SVEClassifier``.
    side_features : "auto", transformer or None, default="auto"
        Of tables, as in ``SVEClassifier``. A table without text is measured by its standardised side
        features; with text, by the text alone. None: every row is written as text.
    device : str or torch.device, default="auto"
    precision : {"auto", "float32", "float64", "bfloat16"}, default="auto"
    random_state : int, RandomState or None, default=0
        Draws the subset, if there are more than `max_rows` rows.

    Attributes
    ----------
    offset_ : float
        ``decision_function = score_samples - offset_``.
    input_kind_ : str
        What X was in fit.
    n_features_in_, feature_names_in_
        For 2-D input only.

    See Also
    --------
    SVEClassifier.predict_uncertainty : Has the same number beside the members' uncertainty.
    sksve.calibration.SelectiveClassifier : Declines rows that are too novel (`max_novelty`).

    Notes
    -----
    There are two layers of vectors: the pooled hidden states after a third of the blocks, and after the
    last. In each, the distance is one minus the cosine, without centring (for tables without text: one
    layer, Euclidean). The mean distances to the `n_neighbors` nearest rows, each in units of its standard
    deviation over the training rows (every one measured from the others), are added up.

    Copies of a training row count once. A row that is a copy of one is that row: it is measured from the
    others, so its novelty is what it was in training. With one distinct training row, everything else has
    novelty 1.

    References
    ----------
    .. [1] Sun et al. (2022), "Out-of-Distribution Detection with Deep Nearest Neighbors", ICML,
       https://arxiv.org/abs/2204.06507
    .. [2] Uppaal, Hu and Li (2023), "Is Fine-tuning Needed? Pre-trained Language Models Are Near
       Perfect for Out-of-Domain Detection", ACL, https://arxiv.org/abs/2305.13282

    Examples
    --------
    >>> from sksve import NoveltyDetector
    >>> from sksve.backbones import make_tiny_backbone
    >>> home = [f"the {a} film was {b}" for a in ("old", "new", "long") for b in ("good", "bad", "dull")]
    >>> detector = NoveltyDetector(make_tiny_backbone()).fit(home)
    >>> detector.novelty_score(["the old film was bad", "404"])[1]
    np.float64(1.0)
    """

    backbone: Any = parameter("all-MiniLM-L6-v2", str, os.PathLike, tuple, list, Backbone)
    _: KW_ONLY
    n_neighbors: int = parameter(NEIGHBORS, _AT_LEAST_ONE)
    contamination: float = parameter(0.05, Number(Real, 0, 0.5, closed="right"))
    max_rows: int = parameter(ROWS, _AT_LEAST_ONE)
    max_length: int = parameter(128, _AT_LEAST_ONE)
    long_texts: str = parameter("truncate", LONG_TEXTS)
    serializer: Any = parameter(None, HasMethods(["fit", "transform"]), StrOptions({"pair"}), None)
    side_features: Any = parameter(
        "auto", StrOptions({"auto"}), HasMethods(["fit", "transform"]), None
    )
    device: Any = parameter("auto", str, torch.device)
    precision: str = parameter("auto", StrOptions({"auto", "float32", "float64", "bfloat16"}))
    random_state: Any = parameter(0, *SEED)

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the training rows' vectors.

        Parameters
        ----------
        X : sequence of str, table of shape (n_samples, n_features), or images
            As in ``SVEClassifier``.
        y : None
            Ignored.

        Returns
        -------
        NoveltyDetector
            The fitted detector.

        Raises
        ------
        ValueError
            If a parameter or `X` is at fault.
        sksve.BackboneNotFoundError
            If the backbone cannot be resolved.
        """
        rows, _ = take_frozen(self, X, side_features=self.side_features, cut=True)
        self._reference = NoveltyReference.learn(
            self._vectors(rows),
            cosine=self._reader.reads,
            n_neighbors=int(self.n_neighbors),
            max_rows=int(self.max_rows),
            seed=base_seed(self.random_state),
        )
        self.offset_ = float(np.percentile(-self._reference.scores, 100 * self.contamination))
        return self

    def _vectors(self, rows: Any) -> list[np.ndarray]:
        data = self._reader.dataset(rows, self._split.model, self._split.plan)
        return layer_vectors(self._split, data, device=self._device, autocast=self._autocast)

    def _scores(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        check_declared(self)
        rows = self._reader.write(self._reader.read(X, estimator=self))
        return self._reference.score(self._vectors(rows))

    def score_samples(self, X: Any) -> np.ndarray:
        """Minus the distance from the training rows.

        Parameters
        ----------
        X : as in fit

        Returns
        -------
        ndarray of shape (n_samples,)
            Lower where more foreign; at most 0, in units of the training rows' spread.
        """
        return -self._scores(X)

    def decision_function(self, X: Any) -> np.ndarray:
        """``score_samples(X) - offset_``: negative for outliers.

        Parameters
        ----------
        X : as in fit

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> np.ndarray:
        """Say which rows are of another kind.

        Parameters
        ----------
        X : as in fit

        Returns
        -------
        ndarray of shape (n_samples,)
            -1 for outliers, 1 for rows like the training rows.
        """
        return np.where(self.decision_function(X) >= 0, 1, -1)

    def novelty_score(self, X: Any) -> np.ndarray:
        """Novelty in [0, 1]: the share of training rows that are less far from the others than a row is.

        Parameters
        ----------
        X : as in fit

        Returns
        -------
        ndarray of shape (n_samples,)
            Nearly uniform on rows like the training rows; 0.99 means that one training row in a hundred is
            this far out.
        """
        scores = self._scores(X)
        return self._reference.share_below(scores)

    def drift_test(self, X: Any) -> tuple[float, float]:
        """Test whether these rows are like the training rows at all.

        A two-sample Kolmogorov-Smirnov test of the rows' distances against those of the training rows (each
        from the others), one-sided towards larger distances.

        Parameters
        ----------
        X : as in fit

        Returns
        -------
        statistic, pvalue : float
            Largest excess of far rows, in [0, 1], and its p-value; a small one says that the rows as a
            whole lie farther out.
        """
        return self._reference.drift_test(self._scores(X))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = False
        tags.input_tags.two_d_array = True
        tags.input_tags.string = True
        tags.input_tags.allow_nan = True
        return tags
