"""Last-layer Laplace approximation: one fine-tuned model, and heads drawn from a posterior."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from sklearn.utils._param_validation import StrOptions
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from sksve._validation import parameter
from sksve.baselines._whole import WholeModelClassifier
from sksve.estimators._parameters import AT_LEAST_ONE, POSITIVE
from sksve.training import (
    LayerVectors,
    MemberDataset,
    MemberModel,
    MemberNet,
    Precision,
    Settings,
    merged_model,
    pooled_vectors,
    sample_seeds,
)

_ROWS = 1024  # of a batch in which the curvature is summed


@dataclass(eq=False, repr=False, kw_only=True)
class LaplaceClassifier(WholeModelClassifier):
    r"""One fine-tuned model whose head has a Gaussian posterior.

    The model is fine-tuned as a whole; then laplace-torch fits a Laplace approximation
    :math:`\mathcal N(\hat\theta, (H + \tau I)^{-1})` to the head, where :math:`H` is the generalised
    Gauss-Newton matrix of the training loss and :math:`\tau` the prior precision. Heads drawn from it
    are the members: ``predict_proba`` is the mean of their probabilities.

    Needs the optional extra: ``pip install "sksve[laplace]"``.

    Parameters
    ----------
    backbone : str, path-like, (model, processor) or sksve.backbones.Backbone, \
default="all-MiniLM-L6-v2"
    n_samples : int, default=100
        Heads drawn in fit. Head k is the same whatever their number.
    hessian_structure : {"full", "kron", "diag"}, default="kron"
        How :math:`H` is stored. "full" needs the square of ``n_classes * width`` numbers.
    prior_precision : float or "marglik", default=10.0
        :math:`\tau`; "marglik": maximises the marginal likelihood of the training data.
    adapt_blocks : int, float, None or "auto", default="auto"
        Train the last so many blocks only, or this share of them, with all their parameters. None: the
        whole model.
    weight_decay : float or "auto", default="auto"
        Pulls to zero, as is customary where whole models are trained.
    max_epochs, batch_size, lr, early_stopping, class_weight, max_length, long_texts, serializer, \
side_features, training, device, precision, verbose, random_state
        As in ``SVEClassifier``.

    Attributes
    ----------
    head_weight_ : ndarray of shape (n_samples, n_classes, width)
    head_bias_ : ndarray of shape (n_samples, n_classes)
        The heads drawn.
    prior_precision_ : float
        The prior precision used.
    classes_, n_iter_, history_, net_, input_kind_, adapter_report_, settings_, \
n_features_in_, feature_names_in_
        As in ``SVEClassifier``; ``net_`` and ``history_`` have one member, the fine-tuned model.

    Notes
    -----
    laplace-torch knows no sample weights: they count in training, and so in the posterior's mean, but
    its precision counts every row of positive weight once.

    Kronecker factors are laplace-torch's default [2]_. With several classes and few rows its other one, the
    marginal likelihood, scatters the heads too far (1.24 nats with eight classes and 50 rows, 0.54 with a
    prior precision of 10: ``benchmarks/studies/rivals.py``). What "auto" stands for is that of
    ``FineTunedClassifier``.

    References
    ----------
    .. [1] MacKay (1992), "A Practical Bayesian Framework for Backpropagation Networks",
       https://doi.org/10.1162/neco.1992.4.3.448
    .. [2] Daxberger et al. (2021), "Laplace Redux: Effortless Bayesian Deep Learning",
       https://arxiv.org/abs/2106.14806

    Examples
    --------
    >>> from sksve.backbones import make_tiny_backbone
    >>> from sksve.baselines import LaplaceClassifier
    >>> texts, labels = ["good film", "bad film"] * 8, [1, 0] * 8
    >>> clf = LaplaceClassifier(make_tiny_backbone(), n_samples=7, random_state=0)
    >>> clf.fit(texts, labels).predict_proba_members(["good film"]).shape  # doctest: +SKIP
    (7, 1, 2)
    """

    n_samples: int = parameter(100, AT_LEAST_ONE, scope="member")
    hessian_structure: str = parameter("kron", StrOptions({"full", "kron", "diag"}), scope="member")
    prior_precision: float | str = parameter(
        10.0, POSITIVE, StrOptions({"marglik"}), scope="member"
    )

    _why_no_partial_fit = (
        "the posterior of the head needs all rows at once: collect them and call fit, or take another "
        "classifier"
    )

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
    ) -> Self:
        """Fine-tune the model, then fit the posterior of its head and draw from it.

        Parameters
        ----------
        X, y, sample_weight, X_val, y_val
            As in ``SVEClassifier``.

        Returns
        -------
        self

        Raises
        ------
        ImportError
            If laplace-torch is not installed.
        ValueError, sksve.BackboneNotFoundError, FloatingPointError
            As in ``SVEClassifier``.
        """
        import_laplace()  # before anything slow
        return super().fit(X, y, sample_weight, X_val=X_val, y_val=y_val)

    def _read_parts(self, *args: Any, **kwargs: Any) -> Any:
        parts = super()._read_parts(*args, **kwargs)
        y = parts[0][1].y
        if y.ndim == 2:
            raise ValueError(
                "LaplaceClassifier takes labels, y of shape (n_samples,): laplace-torch has no "
                f"posterior for soft labels. Got y of shape {y.shape}; use y.argmax(axis=1), or "
                "another classifier."
            )
        return parts

    def _after_training(
        self, net: MemberNet, settings: Settings, data: MemberDataset
    ) -> dict[str, Any]:
        heads = net.module_.heads
        seeds = [sample_seeds(settings.random_state, k, 1)[0] for k in range(self.n_samples)]
        drawn = sample_heads(
            _pooled(net, settings, data),
            data.y.numpy(),
            heads.matrix[0].detach().double().cpu().numpy(),
            heads.bias[0].detach().double().cpu().numpy(),
            seeds,
            hessian_structure=self.hessian_structure,
            prior_precision=self.prior_precision,
        )
        return dict(zip(("head_weight_", "head_bias_", "prior_precision_"), drawn))

    def _n_merged(self) -> int:
        return len(self.head_weight_)

    def _merge(self, member: int) -> MemberModel:
        merged = merged_model(self.net_.module_, 0)
        with torch.no_grad():  # the body is one, the heads are drawn
            merged.head.weight.copy_(torch.from_numpy(self.head_weight_[member]))
            merged.head.bias.copy_(torch.from_numpy(self.head_bias_[member]))
        return merged

    def _logits(self, data: MemberDataset, vectors: LayerVectors | None = None) -> np.ndarray:
        pooled = _pooled(self.net_, self.settings_, data, vectors)
        return pooled @ self.head_weight_.swapaxes(1, 2) + self.head_bias_[:, None]


def _pooled(
    net: MemberNet,
    settings: Settings,
    data: MemberDataset,
    vectors: LayerVectors | None = None,
) -> np.ndarray:
    autocast = Precision.choose(settings.precision, str(net.device)).prediction
    how: dict[str, Any] = {"device": net.device, "autocast": autocast, "vectors": vectors}
    return pooled_vectors(net.module_, data, **how)


def import_laplace() -> Any:
    """The package ``laplace``; an ImportError that says how to get it."""
    try:
        import laplace
    except ImportError as error:
        raise ImportError(
            'LaplaceClassifier needs laplace-torch. Install it with: pip install "sksve[laplace]"'
        ) from error
    return laplace


def sample_heads(
    features: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    seeds: Sequence[int],
    *,
    hessian_structure: str,
    prior_precision: float | str,
) -> tuple[np.ndarray, np.ndarray, float]:
    """Draw heads (weights, biases) around a trained one in float64, and the prior precision used.

    The last layer's Laplace approximation of a network is that of its head alone, as a function of the
    vectors (n, d) that enter it.
    """
    laplace = import_laplace()
    c, d = weight.shape
    head = nn.utils.skip_init(nn.Linear, d, c, dtype=torch.float64)
    with torch.no_grad():
        head.weight.copy_(torch.as_tensor(weight))
        head.bias.copy_(torch.as_tensor(bias))
    data = TensorDataset(torch.as_tensor(features), torch.as_tensor(y))
    learned = isinstance(prior_precision, str)
    with warnings.catch_warnings():
        # A reminder about link functions, which draws of whole heads do not need.
        warnings.filterwarnings("ignore", message="By default `link_approx` is `probit`")
        posterior = laplace.Laplace(
            head,
            "classification",
            subset_of_weights="all",
            hessian_structure=hessian_structure,
            prior_precision=1.0 if learned else prior_precision,
        )
        # Without a generator of its own a DataLoader moves torch's, even where it does not shuffle.
        posterior.fit(DataLoader(data, batch_size=_ROWS, generator=torch.Generator()))
        if learned:
            posterior.optimize_prior_precision(method=prior_precision)
    draws = torch.cat(
        [posterior.sample(1, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    )
    draws = draws.detach().numpy()
    weights, biases = draws[:, : c * d].reshape(-1, c, d), draws[:, c * d :]
    return weights, biases, float(posterior.prior_precision)
