"""Reading X and y: checked, demanded to be of the kind seen in fit, and brought into a data set."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import validate_data

from sksve.backbones import (
    LoadedBackbone,
    ResolvedBackbone,
    count_image_tokens,
    entry_replaces_inputs,
    is_vision,
)
from sksve.estimators._labels import Targets, read_targets
from sksve.estimators._run import Precision
from sksve.inputs import CheckedRows, ImageRows, read_rows, tokenize, tokenize_pairs
from sksve.preprocessing import TabularToText
from sksve.preprocessing._table import in_fitted_order, plain_container, with_plain_cells
from sksve.training import ImageDataset, MemberDataset, TokenDataset

__all__ = ["Parts", "RowReader"]

Parts = list[tuple[CheckedRows, Targets]]


class RowReader(BaseEstimator):
    """The half of a classifier that reads X."""

    input_kind_: str
    serializer: Any
    _dtype: torch.dtype
    _max_length: int
    _serializer: Any
    _tokenizer: Any

    def _read(self, X: Any, *, reset: bool) -> CheckedRows:
        """Check X; in fit (`reset`) learn its kind and columns, else demand them."""
        X = plain_container(X)
        if not reset:
            X = in_fitted_order(X, getattr(self, "feature_names_in_", None))
        kind = None if reset else self.input_kind_
        pairs = isinstance(self.serializer, str) if reset else kind == "text_pair"
        rows = read_rows(X, pairs=pairs, paths=kind == "image")
        if reset:
            self.input_kind_ = rows.kind
        elif rows.kind != kind:
            raise ValueError(
                f"{type(self).__name__} was fitted on X of kind {kind!r}. Got {rows.kind!r} instead."
            )
        if rows.kind == "table":
            table = with_plain_cells(rows.rows)
            validate_data(self, table, reset=reset, dtype=None, ensure_all_finite="allow-nan")
        elif rows.kind in ("text_column", "text_pair"):
            validate_data(self, X, reset=reset, skip_check_array=True)
        return rows

    def _written(self, rows: CheckedRows, *, reset: bool) -> CheckedRows:
        """Rows as the processor takes them: those of a table written as texts."""
        if rows.kind != "table":
            return rows
        if reset:
            serializer = TabularToText() if self.serializer is None else clone(self.serializer)
            self._serializer = serializer.fit(rows.rows)
        texts = read_rows(self._serializer.transform(rows.rows))
        if texts.kind not in ("text", "text_column") or len(texts) != len(rows):
            raise ValueError(
                f"The 'serializer' must turn {len(rows)} rows into as many texts. "
                f"{type(self._serializer).__name__} made a {texts.kind} of {len(texts)} rows."
            )
        return replace(rows, rows=texts.rows)

    def _read_parts(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        X_val: Any,
        y_val: Any,
        seed: int,
        classes: np.ndarray | None = None,
    ) -> Parts:
        """Check the data: rows and targets to train on and, if any, to judge by after each epoch."""
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None."
            )
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val go together: give both or neither.")
        rows = self._read(X, reset=True)
        targets = read_targets(y, len(rows), sample_weight, self.class_weight, classes)
        if X_val is not None:
            rows_val = self._read(X_val, reset=False)
            judged = Targets.to_judge_by(y_val, targets.classes, len(rows_val))
            rows = self._written(rows, reset=True)
            return [(rows, targets), (self._written(rows_val, reset=False), judged)]
        parts = [targets]
        if self.early_stopping:
            parts = list(targets.split(self._held_out_share(), seed))
        rows = self._written(rows, reset=True)
        return [(rows, part) for part in parts]

    def _for_backbone(self, parts: Parts, resolved: ResolvedBackbone) -> Parts:
        """Check that the backbone can read the rows; strings are paths for one of vision."""
        vision = is_vision(resolved.config)
        parts = [(rows.for_backbone(resolved.name, vision=vision), t) for rows, t in parts]
        self.input_kind_ = parts[0][0].kind
        return parts

    def _take_backbone(self, backbone: LoadedBackbone, precision: Precision) -> None:
        """Remember what reading X and predicting need of the backbone."""
        self._tokenizer = backbone.processor
        self._max_length = self.max_length
        self._dtype = precision.dtype
        self._prediction_autocast = precision.prediction

    def _dataset(
        self,
        rows: CheckedRows,
        model: Any,
        blocks: str,
        targets: Targets | None = None,
    ) -> MemberDataset:
        """Make the data set of all rows, or of those that have targets.

        `model` is the backbone's, adapted or not, `blocks` the dotted name of its transformer blocks.
        """
        chosen = None
        shared: dict[str, Any] = {"dtype": self._dtype}
        if targets is not None:
            chosen = targets.rows
            shared |= {"y": targets.y, "sample_weight": targets.weight}
        if rows.kind == "image":
            channels = getattr(model.config, "num_channels", 3)
            images = ImageRows(rows.rows, self._tokenizer, n_channels=channels)
            return ImageDataset(
                images,
                count_image_tokens(model, blocks, images.shape),
                chosen,
                features_suffice=entry_replaces_inputs(model),
                **shared,
            )
        texts = rows.rows if chosen is None else [rows.rows[row] for row in chosen]
        types = None
        if rows.kind == "text_pair":
            ids, types = tokenize_pairs(self._tokenizer, texts, self._max_length)
        else:
            ids = tokenize(self._tokenizer, texts, self._max_length)
        pad = getattr(self._tokenizer, "pad_token_id", None) or 0
        return TokenDataset(ids, pad_token_id=pad, token_types=types, **shared)
