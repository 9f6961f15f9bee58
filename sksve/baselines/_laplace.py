"""Last-layer Laplace approximation: one fine-tuned model, and heads drawn from a posterior."""

from typing import Any, ClassVar, Self

import numpy as np
from sklearn.utils._param_validation import StrOptions

from sksve.baselines._head_posterior import import_laplace, sample_heads
from sksve.baselines._whole import WholeModelClassifier
from sksve.estimators import CONSTRAINTS
from sksve.training import MemberDataset, pooled_vectors, sample_seeds

__all__ = ["LaplaceClassifier"]


class LaplaceClassifier(WholeModelClassifier):
    r"""One fine-tuned model whose head has a Gaussian posterior.

    The model is fine-tuned as a whole; then laplace-torch fits a Laplace approximation
    :math:`\mathcal N(\hat\theta, (H + \tau I)^{-1})` to the head, where :math:`H` is the generalised
    Gauss-Newton matrix of the training loss and :math:`\tau` the prior precision. Heads drawn from it
    are the members: ``predict_proba`` is the mean of their probabilities.

    Needs the optional extra: ``pip install "sksve[laplace]"``.

    Parameters
    ----------
    backbone : str, path-like or (model, processor), default="all-MiniLM-L6-v2"
    n_samples : int, default=100
        Heads drawn in fit. Head k is the same whatever their number.
    hessian_structure : {"full", "kron", "diag"}, default="kron"
        How :math:`H` is stored. "full" needs the square of ``n_classes * width`` numbers.
    prior_precision : float or "marglik", default="marglik"
        :math:`\tau`; "marglik": maximises the marginal likelihood of the training data.
    adapt_blocks : int or None, default=None
        Train the last so many blocks only, with all their parameters. None: the whole model.
    weight_decay : float, default=0.01
        Pulls to zero, as is customary where whole models are trained.
    max_epochs, batch_size, lr, head_lr, warmup, max_grad_norm, early_stopping, \
validation_fraction, n_iter_no_change, class_weight, max_length, pooling, serializer, \
device, precision, callbacks, verbose, random_state, head_init_scale, \
checkpoint_dir
        As in ``SVEClassifier``.

    Attributes
    ----------
    head_weight_ : ndarray of shape (n_samples, n_classes, width)
    head_bias_ : ndarray of shape (n_samples, n_classes)
        The heads drawn.
    prior_precision_ : float
        The prior precision used.
    classes_, n_iter_, history_, net_, input_kind_, adapter_report_, \
n_features_in_, feature_names_in_
        As in ``SVEClassifier``; ``net_`` and ``history_`` have one member, the fine-tuned model.

    Notes
    -----
    laplace-torch knows no sample weights: they count in training, and so in the posterior's mean, but
    its precision counts every row of positive weight once.

    Kronecker factors and the marginal likelihood are laplace-torch's own defaults [2]_; the other
    defaults are those of ``FineTunedClassifier``. ``benchmarks/defaults.py`` tunes them on validation
    data.

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

    n_members = 1
    member_batches = "independent"
    n_jobs = None
    warm_start = False
    _can_go_on = False  # the posterior needs all rows
    _own_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_samples": CONSTRAINTS["n_members"],
        "hessian_structure": [StrOptions({"full", "kron", "diag"})],
        "prior_precision": [*CONSTRAINTS["lr"], StrOptions({"marglik"})],
    }

    def __init__(
        self,
        backbone: Any = "all-MiniLM-L6-v2",
        *,
        n_samples: int = 100,
        hessian_structure: str = "kron",
        prior_precision: Any = "marglik",
        adapt_blocks: int | None = None,
        max_epochs: int = 4,
        batch_size: int = 32,
        lr: float = 1e-4,
        head_lr: float = 1e-3,
        weight_decay: float = 0.01,
        warmup: float = 0.1,
        max_grad_norm: float | None = 1.0,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 3,
        class_weight: Any = None,
        max_length: int = 128,
        pooling: str = "auto",
        serializer: Any = None,
        device: Any = "auto",
        precision: str = "auto",
        callbacks: Any = None,
        verbose: int = 0,
        random_state: Any = None,
        head_init_scale: float = 0.01,
        checkpoint_dir: Any = None,
    ) -> None:
        self.backbone = backbone
        self.n_samples = n_samples
        self.hessian_structure = hessian_structure
        self.prior_precision = prior_precision
        self.adapt_blocks = adapt_blocks
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.head_lr = head_lr
        self.weight_decay = weight_decay
        self.warmup = warmup
        self.max_grad_norm = max_grad_norm
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.class_weight = class_weight
        self.max_length = max_length
        self.pooling = pooling
        self.serializer = serializer
        self.device = device
        self.precision = precision
        self.callbacks = callbacks
        self.verbose = verbose
        self.random_state = random_state
        self.head_init_scale = head_init_scale
        self.checkpoint_dir = checkpoint_dir

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
                f"posterior for soft labels. Got y of shape {y.shape}; take y.argmax(axis=1), or "
                "another classifier."
            )
        return parts

    def _after_training(self, data: MemberDataset) -> None:
        heads = self.net_.module_.heads
        seeds = [sample_seeds(self._seed, sample, 1)[0] for sample in range(self.n_samples)]
        drawn = sample_heads(
            self._pooled(data),
            data.y.numpy(),
            heads.weight[0].detach().double().cpu().numpy(),
            heads.bias[0].detach().double().cpu().numpy(),
            seeds,
            hessian_structure=self.hessian_structure,
            prior_precision=self.prior_precision,
        )
        self.head_weight_, self.head_bias_, self.prior_precision_ = drawn

    def _pooled(self, data: MemberDataset) -> np.ndarray:
        return pooled_vectors(
            self.net_.module_, data, device=self.net_.device, autocast=self._prediction_autocast
        )

    def _logits(self, data: MemberDataset) -> np.ndarray:
        return self._pooled(data) @ self.head_weight_.swapaxes(1, 2) + self.head_bias_[:, None]
