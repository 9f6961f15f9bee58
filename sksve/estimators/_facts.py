"""What the rules of "auto" may look at, and how the one of these facts that costs time is measured."""

from dataclasses import dataclass

import numpy as np

from sksve.backbones import (
    AdaptationPlan,
    LoadedBackbone,
    ResolvedBackbone,
    SplitBackbone,
    plan_adaptation,
)
from sksve.estimators._data import Targets
from sksve.estimators._reader import RowReader
from sksve.training import MemberDataset, Run, frozen_vectors

_FOLDS = 5
_C = (0.3, 3.0, 30.0)
_MOST_ROWS = 1000  # enough for two digits


@dataclass(frozen=True)
class Facts:
    """Of the training rows and the backbone: never `n_members`, never test data.

    Attributes
    ----------
    n_blocks, width : int
        Transformer blocks of the backbone and size of its hidden states.
    n_rows : int
        Rows of positive weight.
    n_classes : int
    images : bool
    n_side : int
        Side features of a row.
    columns : str
        What becomes of a table's columns, for people.
    information : float or None
        What frozen vectors know of the labels, see :func:`label_information`. None: not measured.
    """

    n_blocks: int
    width: int = 384
    n_rows: int = 200
    n_classes: int = 2
    images: bool = False
    n_side: int = 0
    columns: str = ""
    information: float | None = None

    def __str__(self) -> str:
        words = f"{self.n_rows:,} rows, {self.n_classes} classes, "
        words += f"{self.n_blocks} blocks of width {self.width}"
        words += self.columns and f"; {self.columns}"
        if self.information is not None:
            words += f", frozen vectors know {self.information:.2f} nats of the label"
        return words


def label_information(vectors: np.ndarray, y: np.ndarray, weight: np.ndarray) -> float:
    """Nats that a logistic regression on the vectors knows of the labels of rows it has not seen.

    Entropy of the labels minus the cross-validated negative log-likelihood, at the best of three strengths
    of regularisation; five folds, vectors of unit length. Rows whose class is in no other fold are left out.
    0 where nothing is known; rounded to 0.01, so that it is the same wherever it is measured.

    Parameters
    ----------
    vectors : ndarray of shape (n, d)
    y : ndarray of shape (n,), or (n, n_classes)
        Encoded labels, or soft labels: then a row counts for each class with its share.
    weight : ndarray of shape (n,)

    >>> import numpy as np
    >>> codes = np.arange(40) % 2
    >>> label_information(np.eye(2)[codes], codes, np.ones(40)) > 0.6
    True
    """
    from sklearn.linear_model import LogisticRegression

    order = np.random.default_rng(0).permutation(len(vectors))[:_MOST_ROWS]
    vectors, y, weight = vectors[order], y[order], weight[order]
    x = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    hard = y if y.ndim == 1 else y.argmax(axis=1)
    fold = np.empty(len(x), dtype=np.int64)
    fold[np.argsort(hard, kind="stable")] = np.arange(len(x)) % _FOLDS  # each class over all folds
    shares = np.eye(int(y.max()) + 1)[y] if y.ndim == 1 else y
    row, label = np.nonzero(shares > 0)
    share = shares[row, label] * weight[row]
    likelihood = np.full((len(_C), len(row)), np.nan)
    for k in range(_FOLDS):
        train = fold[row] != k
        known = np.unique(label[train])
        test = ~train & np.isin(label, known)
        if len(known) < 2 or not test.any():
            continue
        for i, c in enumerate(_C):
            model = LogisticRegression(C=c, max_iter=5000, tol=1e-3)
            model.fit(x[row[train]], label[train], sample_weight=share[train])
            log_proba = model.predict_log_proba(x[row[test]])
            likelihood[i, test] = log_proba[
                np.arange(test.sum()), np.searchsorted(known, label[test])
            ]
    judged = np.isfinite(likelihood).all(axis=0)
    if not judged.any():
        return 0.0
    mass = np.bincount(label[judged], weights=share[judged])
    p = mass[mass > 0] / mass.sum()
    best = np.average(likelihood[:, judged], axis=1, weights=share[judged]).max()
    return max(0.0, round(float(best - (p * np.log(p)).sum()), 2))


def facts_of(
    resolved: ResolvedBackbone, targets: Targets, reader: RowReader, *, images: bool
) -> Facts:
    """What is known before anything is loaded."""
    return Facts(
        n_blocks=plan_adaptation(resolved, adapt_blocks=0).n_blocks,
        width=int(getattr(resolved.config, "hidden_size", 0)),
        n_rows=len(targets.y),
        n_classes=len(targets.classes),
        images=images,
        n_side=reader.n_side,
        columns=reader.plan_of_columns,
    )


def information_of(
    backbone: LoadedBackbone, plan: AdaptationPlan, data: MemberDataset, run: Run
) -> float:
    """What the frozen backbone knows of the labels; the output of its first blocks stays in the data."""
    split = SplitBackbone(backbone.twin(), plan).to(run.device)
    vectors = frozen_vectors(split, data, device=run.device, autocast=run.autocast)
    return label_information(vectors, data.y.numpy(), data.weight.numpy())
