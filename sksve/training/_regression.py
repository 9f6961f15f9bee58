"""Logistic regressions that heads start at, or are: strength by cross-validation, rows with weights."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.model_selection import StratifiedKFold

NEVER = -87.0  # log-odds of a class without rows: the logarithm of float32's smallest number


@dataclass(frozen=True)
class RegressionRows:
    """Rows of a logistic regression; one of soft labels stands there once for each of its classes."""

    x: np.ndarray  # (r, d)
    label: np.ndarray  # (r,)
    share: np.ndarray  # (r,)
    row: np.ndarray  # (r,): which row it was
    hard: np.ndarray  # (n,) most probable class
    n_classes: int

    @classmethod
    def of(cls, vectors: np.ndarray, y: np.ndarray, n_classes: int) -> "RegressionRows":
        shares = np.eye(n_classes)[y] if y.ndim == 1 else y.astype(np.float64)
        row, label = np.nonzero(shares)
        return cls(vectors[row], label, shares[row, label], row, shares.argmax(axis=1), n_classes)

    def solve(
        self, C: float, weight: np.ndarray, *, tol: float = 1e-8, never: float = NEVER
    ) -> tuple[np.ndarray, np.ndarray]:
        """Weights (c, d) and biases (c,) of one linear head; `never` is that of a class without rows."""
        model = LogisticRegression(C=C, tol=tol, max_iter=10_000)
        model.fit(self.x, self.label, sample_weight=self.share * weight[self.row])
        coefficients = np.zeros((self.n_classes, self.x.shape[1]))
        bias = np.full(self.n_classes, never)
        bias[model.classes_] = 0.0
        of = model.classes_ if len(model.classes_) > 2 else model.classes_[1:]
        coefficients[of], bias[of] = model.coef_, model.intercept_
        return coefficients, bias

    def folds(self, n: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Rows trained on and held out; none where no class can be held out."""
        counts = np.bincount(self.hard)
        judged = np.flatnonzero(counts[self.hard] > 1)
        n = min(n, int(counts.max()))
        if n < 2:
            return []
        with warnings.catch_warnings():  # of classes with fewer rows than folds
            warnings.simplefilter("ignore", UserWarning)
            parts = list(StratifiedKFold(n).split(judged, self.hard[judged]))
        held = [np.isin(self.row, judged[test]) for _, test in parts]
        return [(np.flatnonzero(~out), np.flatnonzero(out)) for out in held]


def choose_strength(
    rows: RegressionRows,
    weight: np.ndarray,
    Cs: Sequence[float],
    n_folds: int,
    n_jobs: int | None = None,
    *,
    slack: float = 0.0,
    strong: bool = False,
    tol: float = 1e-4,
) -> float:
    """The C of the lowest cross-validated loss.

    With `slack`, the largest that is within so many nats of it; with `strong`, the smallest whose loss is
    within one standard error, over the folds, of it. Cs rise.
    """
    folds = rows.folds(n_folds) if len(Cs) > 1 else []
    if not folds:
        return sorted(Cs)[len(Cs) // 2]
    search = LogisticRegressionCV(
        Cs=list(Cs), cv=folds, scoring="neg_log_loss", l1_ratios=(0.0,), max_iter=1000, tol=tol,
        n_jobs=n_jobs, use_legacy_attributes=False,
    )  # fmt: skip
    search.fit(rows.x, rows.label, sample_weight=rows.share * weight[rows.row])
    scores = search.scores_.reshape(len(folds), -1)
    mean = scores.mean(axis=0)
    lost = scores[:, [mean.argmax()]] - scores
    if strong:
        close = lost.mean(axis=0) <= lost.std(axis=0, ddof=1) / len(folds) ** 0.5
        return float(Cs[int(close.argmax())])
    if slack:
        return float(max(C for C, score in zip(Cs, mean) if score >= mean.max() - slack))
    return float(search.C_)


def bootstrap_weights(weight: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Row weights times Exp(1), of the same sum: the Bayesian bootstrap."""
    weights = weight * rng.exponential(size=len(weight))
    return weights * (weight.sum() / weights.sum())
