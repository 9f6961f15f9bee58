"""Reading X and y: checked, demanded to be of the kind seen in fit, and brought into a data set."""

from dataclasses import replace
from typing import Any

import torch
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import validate_data

from sksve.backbones import count_image_tokens, entry_replaces_inputs
from sksve.estimators._labels import Targets
from sksve.inputs import CheckedRows, ImageRows, read_rows, tokenize, tokenize_pairs
from sksve.preprocessing import TabularToText
from sksve.preprocessing._table import in_fitted_order, plain_container, with_plain_cells
from sksve.training import ImageDataset, MemberDataset, TokenDataset

__all__ = ["RowReader"]


class RowReader(BaseEstimator):
    """Reads X as in fit: made by fit, held by the fitted classifier.

    Learned: ``kind``, ``n_features_in_`` and ``feature_names_in_`` (2-D X), and the fitted ``writer`` of a
    table's rows; of the backbone, :meth:`take_backbone` tells the processor, length and dtype.
    """

    processor: Any
    max_length: int
    dtype: torch.dtype

    def __init__(self, owner: str, serializer: Any) -> None:
        self.owner = owner  # the classifier's name, for messages
        self.serializer = serializer
        self.kind = ""
        self.writer: Any = None

    def take_backbone(self, processor: Any, max_length: int, dtype: torch.dtype) -> None:
        """Remember what data sets are made with."""
        self.processor, self.max_length, self.dtype = processor, max_length, dtype

    def read(self, X: Any, *, reset: bool = False, estimator: Any = None) -> CheckedRows:
        """Check X; in fit (`reset`) learn its kind and columns, else demand those of `estimator`."""
        who = self if estimator is None else estimator
        X = plain_container(X)
        if not reset:
            X = in_fitted_order(X, getattr(who, "feature_names_in_", None))
        pairs = isinstance(self.serializer, str) if reset else self.kind == "text_pair"
        rows = read_rows(X, pairs=pairs, paths=not reset and self.kind == "image")
        if reset:
            self.kind = rows.kind
        elif rows.kind != self.kind:
            raise ValueError(
                f"{self.owner} was fitted on X of kind {self.kind!r}. Got {rows.kind!r} instead."
            )
        if rows.kind == "table":
            validate_data(
                who, with_plain_cells(rows.rows), reset=reset, dtype=None, estimator=self.owner,
                ensure_all_finite="allow-nan",
            )  # fmt: skip
        elif rows.kind in ("text_column", "text_pair"):
            validate_data(who, X, reset=reset, skip_check_array=True)
        return rows

    def write(self, rows: CheckedRows, *, reset: bool = False) -> CheckedRows:
        """Rows as the processor takes them: those of a table written as texts."""
        if rows.kind != "table":
            return rows
        if reset:
            writer = TabularToText() if self.serializer is None else clone(self.serializer)
            self.writer = writer.fit(rows.rows)
        texts = read_rows(self.writer.transform(rows.rows))
        if texts.kind not in ("text", "text_column") or len(texts) != len(rows):
            raise ValueError(
                f"The 'serializer' must turn {len(rows)} rows into as many texts. "
                f"{type(self.writer).__name__} made a {texts.kind} of {len(texts)} rows."
            )
        return replace(rows, rows=texts.rows)

    def dataset(
        self, rows: CheckedRows, model: Any, blocks: str, targets: Targets | None = None
    ) -> MemberDataset:
        """Make the data set of all rows, or of those that have targets.

        `model` is the backbone's, adapted or not, `blocks` the dotted name of its transformer blocks.
        """
        chosen = None
        learned: dict[str, Any] = {"dtype": self.dtype}
        if targets is not None:
            chosen = targets.rows
            learned |= {"y": targets.y, "sample_weight": targets.weight}
        if rows.kind == "image":
            channels = getattr(model.config, "num_channels", 3)
            images = ImageRows(rows.rows, self.processor, n_channels=channels)
            return ImageDataset(
                images,
                count_image_tokens(model, blocks, images.shape),
                chosen,
                features_suffice=entry_replaces_inputs(model),
                **learned,
            )
        texts = rows.rows if chosen is None else [rows.rows[row] for row in chosen]
        types = None
        if rows.kind == "text_pair":
            ids, types = tokenize_pairs(self.processor, texts, self.max_length)
        else:
            ids = tokenize(self.processor, texts, self.max_length)
        pad = getattr(self.processor, "pad_token_id", None) or 0
        return TokenDataset(ids, pad_token_id=pad, token_types=types, **learned)
