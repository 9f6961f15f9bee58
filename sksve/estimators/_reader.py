"""Reading X: checked, demanded to be of the kind seen in fit, and brought into a data set."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from sksve.backbones import AdaptationPlan, LoadedBackbone, count_image_tokens
from sksve.estimators._columns import learn_columns, side_matrix
from sksve.estimators._data import Targets
from sksve.inputs import (
    CheckedRows,
    ImageRows,
    read_rows,
    tokenize,
    tokenize_pairs,
    tokenize_windows,
)
from sksve.preprocessing._table import in_fitted_order, plain_container, with_plain_cells
from sksve.training import ImageDataset, MemberDataset, Run, TokenDataset, is_auto


class RowReader(BaseEstimator):
    """Reads X as in fit: made by fit, held by the fitted classifier.

    Learned: ``kind``, ``n_features_in_`` and ``feature_names_in_`` (2-D X), and of a table the fitted
    ``writer`` of its rows as texts (None: there is no text, and the backbone is not run) and
    ``side_features_``, if there are such; of the backbone, :meth:`take_backbone` tells the processor, length
    and dtype.
    """

    processor: Any
    max_length: int
    long_texts: str
    image_size: int | None
    dtype: torch.dtype
    side_features_: Any

    def __init__(self, owner: str, serializer: Any, side_features: Any = None) -> None:
        self.owner = owner  # the classifier's name, for messages
        self.serializer = serializer
        self.side_features = side_features
        self.kind = ""
        self.writer: Any = None
        self.n_side = 0
        self.plan_of_columns, self.advice = "", ""  # for people

    @property
    def reads(self) -> bool:
        """Whether rows have something for the backbone."""
        return self.kind != "table" or self.writer is not None

    def take_kind(self, kind: str, long_texts: str) -> None:
        """Remember of what kind X is, now that the backbone is known."""
        if long_texts == "windows" and kind in ("image", "text_pair"):
            raise ValueError(
                "long_texts='windows' reads long texts, or a table's, window by window. Got X of kind "
                f"{kind!r}: leave long_texts at 'truncate'."
            )
        self.kind = kind

    def take_backbone(self, backbone: LoadedBackbone, options: Any, dtype: torch.dtype) -> None:
        """Remember what data sets are made with; `options` are an estimator or settings."""
        self.processor, self.image_size, self.dtype = backbone.processor, backbone.image_size, dtype
        self.max_length, self.long_texts = options.max_length, options.long_texts

    def run(self, run: Run) -> Run:
        """A run over data sets of these rows."""
        return replace(run, n_side=self.n_side, reads=self.reads)

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

    def write(
        self, rows: CheckedRows, *, reset: bool = False, train: Targets | None = None
    ) -> CheckedRows:
        """Rows as the processor takes them: of a table, a text and side features per row.

        In fit (`reset`) the columns are told apart and learned by the rows of `train`, or by all.
        """
        if rows.kind != "table":
            if reset and not (self.side_features is None or is_auto(self.side_features)):
                raise ValueError(
                    "A 'side_features' transformer makes features of the columns of a table. Got X of kind "
                    f"{rows.kind!r}. Pass a table, or leave side_features at 'auto'."
                )
            return rows
        if reset:
            columns = learn_columns(
                rows.rows, train, self.serializer, self.side_features, owner=self.owner
            )
            self.writer, self.plan_of_columns = columns.writer, columns.plan
            self.advice = columns.advice
            if columns.side_features is not None:
                self.side_features_ = columns.side_features
        side = None
        if (transformer := getattr(self, "side_features_", None)) is not None:
            side = side_matrix(transformer, rows.rows, len(rows))
            self.n_side = side.shape[1] if reset else self.n_side
        if self.writer is None:
            return replace(rows, side=side)
        texts = read_rows(self.writer.transform(rows.rows))
        if texts.kind not in ("text", "text_column") or len(texts) != len(rows):
            raise ValueError(
                f"The 'serializer' must turn {len(rows)} rows into as many texts. "
                f"{type(self.writer).__name__} made a {texts.kind} of {len(texts)} rows."
            )
        return replace(rows, rows=texts.rows, side=side)

    def dataset(
        self, rows: CheckedRows, model: Any, plan: AdaptationPlan, targets: Targets | None = None
    ) -> MemberDataset:
        """Make the data set of all rows, or of those that have targets.

        `model` is the backbone's, adapted or not, `plan` what was proven of it.
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
                count_image_tokens(model, plan.blocks, images.shape),
                chosen,
                features_suffice=plan.entry_suffices,
                **learned,
            )
        chosen_rows = np.arange(len(rows)) if chosen is None else chosen
        if not self.reads:
            data = TokenDataset([[0]] * len(chosen_rows), **learned)
            data.set_side(rows.side[chosen_rows], alone=True)
            return data
        texts = [rows.rows[row] for row in chosen_rows]
        types, windows = None, None
        if rows.kind == "text_pair":
            ids, types = tokenize_pairs(self.processor, texts, self.max_length)
        elif self.long_texts == "windows":
            ids, windows = tokenize_windows(self.processor, texts, self.max_length)
        else:
            ids = tokenize(self.processor, texts, self.max_length)
        pad = getattr(self.processor, "pad_token_id", None) or 0
        data = TokenDataset(ids, pad_token_id=pad, token_types=types, windows=windows, **learned)
        if rows.side is not None:
            data.set_side(rows.side[chosen_rows], alone=False)
        return data
