"""Vectors of a frozen backbone as a scikit-learn transformer."""

import os
from dataclasses import KW_ONLY, dataclass, replace
from numbers import Integral
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils.validation import check_is_fitted

from sksve._validation import Number, check_declared, parameter
from sksve.backbones import (
    Backbone,
    SplitBackbone,
    load_backbone,
    plan_adaptation,
    prove,
    resolve_backbone,
)
from sksve.estimators._parameters import LONG_TEXTS
from sksve.estimators._reader import RowReader
from sksve.inputs import CheckedRows, check_max_length
from sksve.training import AUTO, Precision, choose_device, frozen_vectors, is_auto, unit_rows

_AT_LEAST_ONE = Number(Integral, 1, None, closed="left")


def take_frozen(
    owner: Any, X: Any, *, side_features: Any = None, cut: bool = False
) -> tuple[CheckedRows, int]:
    """Give an estimator the frozen backbone and the reader of its rows; return those of X, and the width.

    With `cut` the backbone is cut after a third of its blocks, where members are by default.
    """
    check_declared(owner)
    device = choose_device(owner.device)
    precision = Precision.choose(owner.precision, device)
    reader = RowReader(type(owner).__name__, owner.serializer, side_features)
    rows = reader.read(X, reset=True)
    resolved = resolve_backbone(owner.backbone)
    rows = rows.for_backbone(resolved.name, vision=resolved.is_vision)
    reader.take_kind(rows.kind, owner.long_texts)
    resolved = replace(resolved, side=rows.longer_side)
    rows = reader.write(rows, reset=True)
    plan = plan_adaptation(resolved, adapt_blocks=0)
    if cut and reader.reads and plan.n_blocks > 1:
        behind = plan.n_blocks - max(1, plan.n_blocks // 3)
        plan = plan_adaptation(resolved, adapt_blocks=behind)
    check_max_length(owner.max_length, plan.max_positions, resolved.name)
    backbone = load_backbone(resolved, dtype=precision.dtype).twin()
    reader.take_backbone(backbone, owner, precision.dtype)
    for name in ("n_features_in_", "feature_names_in_"):
        if hasattr(reader, name):
            setattr(owner, name, getattr(reader, name))
        elif hasattr(owner, name):
            delattr(owner, name)
    owner.input_kind_ = rows.kind
    owner._reader = reader
    plan = prove(backbone, plan, members=False) if plan.first_block < plan.n_blocks else plan
    owner._split = SplitBackbone(backbone, plan).to(device)
    owner._device, owner._autocast = device, precision.prediction
    return rows, backbone.hidden_size


@dataclass(eq=False, repr=False)
class BackboneFeatures(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Turn texts, tables or images into the pooled vectors of a frozen backbone.

    One vector per row, for any scikit-learn estimator: a logistic regression on them is
    :class:`~sksve.baselines.LinearProbeClassifier`, the yardstick of a fine-tuned model. Nothing is
    trained; ``fit`` loads the backbone and remembers what X is.

    Parameters
    ----------
    backbone : str, path-like, (model, processor) or sksve.backbones.Backbone, \
default="all-MiniLM-L6-v2"
        As in ``SVEClassifier``; ``sksve.backbones.Backbone`` says how it is pooled.
    normalize : bool, default=False
        Whether vectors are scaled to Euclidean length 1, as cosine similarity does. A vector of zeros
        stays as it is.
    max_length : int, default=128
        Longest text, or pair of texts, in tokens; longer ones are cut with a warning.
    long_texts : {"truncate", "windows"}, default="truncate"
        As in ``SVEClassifier``.
    batch_size : int or "auto", default="auto"
        Rows that go through the backbone together, sorted by length. "auto": as many as fill the
        processor's caches. It changes speed and memory, not the vectors.
    serializer : transformer, "pair" or None, default=None
        Turns table rows into texts. None: :class:`TabularToText`. "pair": X has two columns of texts,
        which the tokenizer takes as first and second segment.
    device : str or torch.device, default="auto"
        "auto": CUDA where there is one, else the CPU.
    precision : {"auto", "float32", "float64", "bfloat16"}, default="auto"
        Of the backbone; "auto": float32. Vectors are float64 with "float64", else float32.

    Attributes
    ----------
    input_kind_ : {"text", "text_column", "text_pair", "table", "image"}
        What X was in fit.
    n_features_in_, feature_names_in_
        For 2-D input only.

    See Also
    --------
    TabularToText : Rows of a table as texts, without a backbone.
    sksve.baselines.LinearProbeClassifier : Logistic regression on these vectors.

    Notes
    -----
    Neither the batch, padding nor the order of the rows changes a vector (by more than rounding: 1e-5 in
    float32, 1e-9 in float64). An empty text has a vector, that of its special tokens.

    A pickle holds the backbone.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sksve.backbones import make_tiny_backbone
    >>> from sksve.preprocessing import BackboneFeatures
    >>> features = BackboneFeatures(make_tiny_backbone(), normalize=True)
    >>> features.fit_transform(["good film", "bad film"]).shape
    (2, 16)
    >>> model = make_pipeline(features, LogisticRegression(C=100))
    >>> model.fit(["good film", "bad film"] * 4, [1, 0] * 4).predict(["good film"])
    array([1])
    """

    backbone: Any = parameter("all-MiniLM-L6-v2", str, os.PathLike, tuple, list, Backbone)
    _: KW_ONLY
    normalize: bool = parameter(False, "boolean")
    max_length: int = parameter(128, _AT_LEAST_ONE)
    long_texts: str = parameter("truncate", LONG_TEXTS)
    batch_size: int | str = parameter("auto", _AT_LEAST_ONE, AUTO)
    serializer: Any = parameter(None, HasMethods(["fit", "transform"]), StrOptions({"pair"}), None)
    device: Any = parameter("auto", str, torch.device)
    precision: str = parameter("auto", StrOptions({"auto", "float32", "float64", "bfloat16"}))

    def fit(self, X: Any, y: Any = None) -> Self:
        """Load the backbone and remember the kind and columns of X.

        Parameters
        ----------
        X : sequence of str, table of shape (n_samples, n_features), or images
            As in ``SVEClassifier``.
        y : None
            Ignored.

        Returns
        -------
        BackboneFeatures
            The fitted transformer.

        Raises
        ------
        ValueError
            If a parameter or `X` is at fault; the message names the cure.
        sksve.BackboneNotFoundError
            If the backbone cannot be resolved.
        """
        _, self._n_features_out = take_frozen(self, X)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Compute one vector per row.

        Parameters
        ----------
        X : as in fit
            Rows of the kind and columns seen there.

        Returns
        -------
        ndarray of shape (n_samples, width of the backbone)
            Of dtype float32, or float64 with ``precision="float64"``.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If `fit` was not called.
        ValueError
            If `X` is of another kind than in `fit`, or malformed.
        """
        check_is_fitted(self)
        check_declared(self)
        rows = self._reader.write(self._reader.read(X, estimator=self))
        data = self._reader.dataset(rows, self._split.model, self._split.plan)
        vectors = frozen_vectors(
            self._split,
            data,
            device=self._device,
            autocast=self._autocast,
            most_rows=None if is_auto(self.batch_size) else self.batch_size,
        )
        vectors = unit_rows(vectors) if self.normalize else vectors
        return vectors if data.dtype == torch.float64 else vectors.astype(np.float32)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = False
        tags.input_tags.two_d_array = True
        tags.input_tags.string = True
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = []
        return tags
