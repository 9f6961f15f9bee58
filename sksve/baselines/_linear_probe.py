"""Logistic regression on the vectors of a frozen backbone: what a fine-tuned model must beat."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import torch
from scipy.special import log_softmax
from torch import nn

from sksve._validation import Number, declared, parameter
from sksve.backbones import AdaptationPlan, LoadedBackbone
from sksve.estimators import MemberClassifier
from sksve.estimators._parameters import AT_LEAST_ONE, EnsembleParameters
from sksve.training import (
    MemberDataset,
    MemberFactory,
    Precision,
    RegressionRows,
    Run,
    Settings,
    TrainedMembers,
    Training,
    bootstrap_weights,
    build_module,
    choose_strength,
    frozen_vectors,
    make_net,
    predict_logits,
    sample_seeds,
    unit_rows,
)

# What a net without training asks of its settings.
_UNTRAINED: dict[str, Any] = {
    "lr": 0.0, "head_lr": 0.0, "side_lr": None, "weight_decay": 0.0, "max_epochs": 1, "batch_size": 1,
    "optimizer": "adamw", "head_init_scale": 0.0, "patience": None, "early_stopping": False,
    "adapt_blocks": 0,
}  # fmt: skip


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
    class_weight, max_length, long_texts, serializer, side_features, device, precision, n_jobs, \
warm_start, verbose, random_state
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
        if module.heads.normalize:
            vectors = unit_rows(vectors)
        d = vectors.shape[1]
        if data.side is not None:
            vectors = np.hstack([vectors, data.side.double().numpy()])
        rows = RegressionRows.of(vectors, data.y.numpy(), run.n_classes)
        weight = scale * data.weight.double().numpy()
        C = choose_strength(rows, weight, settings.Cs, settings.n_folds, self.n_jobs)
        for i, k in enumerate(ids):
            solved, bias = rows.solve(C, _drawn_weights(weight, settings.random_state, k))
            heads = module.heads
            with torch.no_grad():
                heads.weight[i], heads.bias[i] = (
                    torch.from_numpy(solved[:, :d]),
                    torch.from_numpy(bias),
                )
                if heads.side is not None:
                    heads.side[i] = torch.from_numpy(solved[:, d:])
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


def _drawn_weights(weight: np.ndarray, seed: int, member: int) -> np.ndarray:
    """Row weights of a member: those of the user for the first, else times Exp(1), of the same sum."""
    if member == 0:
        return weight
    (drawn,) = sample_seeds(seed, member, 1)
    return bootstrap_weights(weight, np.random.default_rng(drawn))


def _judge(module: Any, data: MemberDataset, how: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Loss in nats and accuracy of each member, shape (m,)."""
    logits = predict_logits(module, data, **how)
    y, weight = data.y.numpy(), data.weight.double().numpy()
    shares = np.eye(logits.shape[-1])[y] if y.ndim == 1 else y
    loss = -(shares * log_softmax(logits, axis=-1)).sum(axis=-1)
    right = np.take_along_axis(shares, logits.argmax(axis=-1).T, axis=1).T
    return np.average(loss, axis=1, weights=weight), np.average(right, axis=1, weights=weight)
