"""Logistic regression on the vectors of a frozen backbone: what a fine-tuned model must beat."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import torch
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.model_selection import StratifiedKFold
from torch import nn

from sksve._validation import Number, declared, parameter
from sksve.backbones import AdaptationPlan, LoadedBackbone
from sksve.estimators import MemberClassifier
from sksve.estimators._parameters import AT_LEAST_ONE, EnsembleParameters
from sksve.training import (
    MemberDataset,
    MemberFactory,
    Precision,
    Run,
    Settings,
    TrainedMembers,
    Training,
    build_module,
    frozen_vectors,
    make_net,
    predict_logits,
    sample_seeds,
    unit_rows,
)

__all__ = ["LinearProbeClassifier"]

# What a net without training asks of its settings.
_UNTRAINED: dict[str, Any] = {
    "lr": 0.0, "head_lr": 0.0, "weight_decay": 0.0, "max_epochs": 1, "batch_size": 1, "optimizer": "adamw",
    "head_init_scale": 0.0, "patience": None, "early_stopping": False, "adapt_blocks": 0,
}  # fmt: skip
_NEVER = -87.0  # log-odds of a class without rows: the logarithm of float32's smallest number


@dataclass(eq=False, repr=False, kw_only=True)
class LinearProbeClassifier(EnsembleParameters, MemberClassifier):
    r"""Logistic regression on the pooled vectors of a frozen backbone, its strength by cross-validation.

    The yardstick of every fine-tuned model: what one builds of :class:`~sksve.preprocessing.BackboneFeatures`
    and scikit-learn's ``LogisticRegressionCV`` in five lines, with the methods of ``SVEClassifier``. The
    backbone runs once over the training rows; nothing is drawn at random with one member.

    Parameters
    ----------
    backbone : str, path-like, (model, processor) or sksve.backbones.Backbone, \
default="all-MiniLM-L6-v2"
    n_members : int, default=1
        The first member is the solution itself; each further one solves the same problem with row weights
        of its own, drawn from Exp(1): the Bayesian bootstrap [2]_, at the same strength.
    Cs : sequence of float, default=(0.3, 3.0, 30.0, 300.0)
        Inverse strengths of regularisation to choose from, as in scikit-learn. One: no choice is made.
    n_folds : int, default=5
        Stratified folds, in the order of the rows as in scikit-learn. A class of one row is trained on in
        every fold and judged in none; there are no more folds than rows of the largest class.
    normalize : bool, default=True
        Whether vectors are scaled to Euclidean length 1.
    class_weight, max_length, serializer, device, precision, n_jobs, warm_start, verbose, random_state
        As in ``SVEClassifier``; `n_jobs` is that of the folds.

    Attributes
    ----------
    C_ : float
        The strength of the lowest cross-validated negative log-likelihood.
    history_ : list of one dict
        Of shape (n_members,): ``C`` and ``train_loss``, and with `X_val` ``valid_loss`` and
        ``valid_accuracy``.
    classes_, n_iter_, net_, input_kind_, adapter_report_, settings_, n_features_in_, feature_names_in_
        As in ``SVEClassifier``.

    See Also
    --------
    sksve.preprocessing.BackboneFeatures : The vectors, for any scikit-learn estimator.

    Notes
    -----
    `sample_weight` and `class_weight` count as in scikit-learn: they multiply the losses, and are not scaled.
    A row of soft labels counts for every class with its share. A class that has no row of positive weight
    gets a probability near 0.

    References
    ----------
    .. [1] Alain and Bengio (2016), "Understanding intermediate layers using linear classifier
       probes", https://arxiv.org/abs/1610.01644
    .. [2] Rubin (1981), "The Bayesian Bootstrap", https://doi.org/10.1214/aos/1176345338

    Examples
    --------
    >>> from sksve.backbones import make_tiny_backbone
    >>> from sksve.baselines import LinearProbeClassifier
    >>> texts, labels = ["good film", "bad film"] * 8, [1, 0] * 8
    >>> probe = LinearProbeClassifier(make_tiny_backbone()).fit(texts, labels)
    >>> probe.predict(["good film"]), probe.C_
    (array([1]), 300.0)
    """

    n_members: int = parameter(1, AT_LEAST_ONE, scope="run")
    Cs: Any = parameter((0.3, 3.0, 30.0, 300.0), "array-like")
    n_folds: int = parameter(5, Number(Integral, 2, None, closed="left"))
    normalize: bool = parameter(True, "boolean", scope="member")

    _rules: ClassVar[Mapping[str, Any]] = MappingProxyType({})  # nothing is left to rules
    adapt_blocks = 0  # a fixed value, not a parameter
    _why_no_partial_fit = (
        "a logistic regression is solved on all rows at once: collect them and call fit"
    )

    @property
    def C_(self) -> float:
        """The strength chosen."""
        return float(self.history_[0]["C"][0])

    def _layer_factory(self, settings: Settings) -> MemberFactory:
        return _nothing_to_adapt

    def _resolve_settings(self, facts: Any, seed: int, earlier: Settings | None = None) -> Settings:
        own = declared(self)
        values = {name: getattr(self, name) for name in own}
        values |= {"Cs": _checked_strengths(self.Cs), "random_state": seed}
        idle = {name: option.default for name, option in declared(Training).items()} | _UNTRAINED
        scopes = {name: option.metadata["scope"] for name, option in own.items()}
        return Settings(type(self).__name__, values, idle, scopes)

    def _train(
        self,
        backbone: LoadedBackbone,
        plan: AdaptationPlan,
        factory: MemberFactory,
        ids: Sequence[int],
        data: MemberDataset,
        valid: MemberDataset | None,
        scale: float,
        settings: Settings,
        run: Run,
    ) -> TrainedMembers:
        module = build_module(backbone, plan, factory, ids, settings, run)
        precision = Precision.choose(settings.precision, run.device).prediction
        how: dict[str, Any] = {"device": run.device, "autocast": precision}
        vectors = frozen_vectors(module.split.to(run.device), data, **how)
        rows = _Rows.of(
            unit_rows(vectors) if settings.normalize else vectors, data.y.numpy(), run.n_classes
        )
        weight = scale * data.weight.double().numpy()
        C = _choose_strength(rows, weight, settings.Cs, settings.n_folds, self.n_jobs)
        for i, k in enumerate(ids):
            heads = rows.solve(C, _drawn_weights(weight, settings.random_state, k))
            with torch.no_grad():
                for parameter_, value in zip((module.heads.weight, module.heads.bias), heads):
                    parameter_[i] = torch.from_numpy(value)
        net = make_net(module, tuple(ids), settings.with_values(verbose=0), run, None)
        net.initialize()
        history = {"C": np.full(len(ids), C), "train_loss": _judge(net.module_, data, how)[0]}
        if valid is not None:
            loss, accuracy = _judge(net.module_, valid, how)
            history |= {"valid_loss": loss, "valid_accuracy": accuracy}
        state = tuple(t.detach().cpu().clone() for t in net.module_.member_tensors())
        return TrainedMembers(tuple(ids), state, [history], net.history, net)


def _nothing_to_adapt(linear: nn.Module, generators: Sequence[torch.Generator], /) -> nn.Module:
    raise AssertionError(f"a linear probe adapts no layer, not even {linear}")


def _checked_strengths(Cs: Any) -> tuple[float, ...]:
    try:
        strengths = tuple(float(C) for C in Cs)
    except (TypeError, ValueError, OverflowError):
        strengths = ()
    if not strengths or not all(0 < C < np.inf for C in strengths):
        raise ValueError(
            "The 'Cs' parameter of LinearProbeClassifier must be a sequence of numbers above 0. Got "
            f"{Cs!r:.200} instead."
        )
    return strengths


@dataclass(frozen=True)
class _Rows:
    """Rows of a logistic regression; one of soft labels stands there once for each of its classes."""

    x: np.ndarray  # (r, d)
    label: np.ndarray  # (r,)
    share: np.ndarray  # (r,)
    row: np.ndarray  # (r,): which row it was
    hard: np.ndarray  # (n,) most probable class
    n_classes: int

    @classmethod
    def of(cls, vectors: np.ndarray, y: np.ndarray, n_classes: int) -> "_Rows":
        shares = np.eye(n_classes)[y] if y.ndim == 1 else y.astype(np.float64)
        row, label = np.nonzero(shares)
        return cls(vectors[row], label, shares[row, label], row, shares.argmax(axis=1), n_classes)

    def solve(self, C: float, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weights (c, d) and biases (c,) of one linear head."""
        model = LogisticRegression(C=C, tol=1e-8, max_iter=10_000)
        model.fit(self.x, self.label, sample_weight=self.share * weight[self.row])
        coefficients = np.zeros((self.n_classes, self.x.shape[1]))
        bias = np.full(self.n_classes, _NEVER)
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


def _choose_strength(
    rows: _Rows, weight: np.ndarray, Cs: Sequence[float], n_folds: int, n_jobs: int | None
) -> float:
    folds = rows.folds(n_folds) if len(Cs) > 1 else []
    if not folds:
        return sorted(Cs)[len(Cs) // 2]
    search = LogisticRegressionCV(
        Cs=list(Cs), cv=folds, scoring="neg_log_loss", l1_ratios=(0.0,), max_iter=1000,
        n_jobs=n_jobs, use_legacy_attributes=False,
    )  # fmt: skip
    search.fit(rows.x, rows.label, sample_weight=rows.share * weight[rows.row])
    return float(search.C_)


def _drawn_weights(weight: np.ndarray, seed: int, member: int) -> np.ndarray:
    """Row weights of a member: those of the user for the first, else times Exp(1), of the same sum."""
    if member == 0:
        return weight
    (drawn,) = sample_seeds(seed, member, 1)
    weights = weight * np.random.default_rng(drawn).exponential(size=len(weight))
    return weights * (weight.sum() / weights.sum())


def _judge(module: Any, data: MemberDataset, how: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Loss in nats and accuracy of each member, shape (m,)."""
    logits = predict_logits(module, data, **how)
    y, weight = data.y.numpy(), data.weight.double().numpy()
    shares = np.eye(logits.shape[-1])[y] if y.ndim == 1 else y
    loss = -(shares * log_softmax(logits, axis=-1)).sum(axis=-1)
    right = np.take_along_axis(shares, logits.argmax(axis=-1).T, axis=1).T
    return np.average(loss, axis=1, weights=weight), np.average(right, axis=1, weights=weight)
