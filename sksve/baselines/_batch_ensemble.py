"""BatchEnsemble on a pretrained transformer: fast vectors, one pair a member."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from sksve.adapters import BatchEnsembleLinear
from sksve.estimators import MemberClassifier
from sksve.training import LayerFactory

__all__ = ["BatchEnsembleClassifier"]


@dataclass(frozen=True)
class BatchEnsembleFactory:
    """Makes the layers of a BatchEnsemble; a class, so that it can be pickled."""

    init_scale: float
    train_bias: bool

    def __call__(self, linear: nn.Module, generators: Sequence[torch.Generator], /) -> nn.Module:
        return BatchEnsembleLinear.from_linear(
            linear,
            len(generators),
            init_scale=self.init_scale,
            train_bias=self.train_bias,
            generator=generators,
        )


class BatchEnsembleClassifier(MemberClassifier):
    r"""Ensemble whose members scale the inputs and outputs of shared weights.

    Member :math:`m` has :math:`\operatorname{diag}(r_m)\, W \operatorname{diag}(s_m)` in place of
    :math:`W`, and biases and a head of its own. The slow weight :math:`W` is the pretrained one and
    frozen: trained by all members together, as in the original [1]_, it would couple them. The training
    loop, schedule, batches and random streams are those of ``SVEClassifier``: a comparison of the two
    changes the layer and nothing else.

    Parameters
    ----------
    backbone : str, path-like or (model, processor), default="all-MiniLM-L6-v2"
    n_members : int, default=5
    init_scale : float, default=0.1
        Standard deviation of the start: of both fast vectors around 1, and of the biases' change.
    train_bias : bool, default=True
        Whether members own biases, as in the original.
    weight_decay : float, default=0.0
        Pulls to the pretrained values (fast vectors of 1).
    target_modules, adapt_blocks, member_batches, max_epochs, batch_size, lr, head_lr, warmup, \
max_grad_norm, early_stopping, validation_fraction, n_iter_no_change, class_weight, \
max_length, pooling, serializer, device, precision, n_jobs, data_parallel, callbacks, verbose, \
warm_start, random_state, head_init_scale, \
checkpoint_dir
        As in ``SVEClassifier``.

    Attributes
    ----------
    classes_, n_iter_, history_, net_, input_kind_, adapter_report_, \
n_features_in_, feature_names_in_
        As in ``SVEClassifier``.

    Notes
    -----
    The original trains from scratch and starts at random signs or at N(1, 0.5 ** 2); either would ruin
    pretrained features. `init_scale`, `lr`, `head_lr` and `weight_decay` are those of
    ``SVEClassifier``, whose parameters, too, are factors around 1. ``benchmarks/defaults.py`` tunes
    them on validation data.

    References
    ----------
    .. [1] Wen, Tran and Ba (2020), "BatchEnsemble: an Alternative Approach to Efficient Ensemble and
       Lifelong Learning", https://arxiv.org/abs/2002.06715
    .. [2] "Is BatchEnsemble a Single Model?", https://arxiv.org/abs/2601.16936

    Examples
    --------
    >>> from sksve.backbones import make_tiny_backbone
    >>> from sksve.baselines import BatchEnsembleClassifier
    >>> texts, labels = ["good film", "bad film"] * 8, [1, 0] * 8
    >>> clf = BatchEnsembleClassifier(make_tiny_backbone(), n_members=2, random_state=0)
    >>> clf.fit(texts, labels).predict_proba_members(["good film"]).shape
    (2, 1, 2)
    """

    def __init__(
        self,
        backbone: Any = "all-MiniLM-L6-v2",
        *,
        n_members: int = 5,
        target_modules: Any = "all-linear",
        adapt_blocks: int | None = None,
        init_scale: float = 0.1,
        train_bias: bool = True,
        member_batches: str = "independent",
        max_epochs: int = 4,
        batch_size: int = 32,
        lr: float = 3e-3,
        head_lr: float = 1e-2,
        weight_decay: float = 0.0,
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
        n_jobs: int | None = None,
        data_parallel: bool = False,
        callbacks: Any = None,
        verbose: int = 0,
        warm_start: bool = False,
        random_state: Any = None,
        head_init_scale: float = 0.01,
        checkpoint_dir: Any = None,
    ) -> None:
        self.backbone = backbone
        self.n_members = n_members
        self.target_modules = target_modules
        self.adapt_blocks = adapt_blocks
        self.init_scale = init_scale
        self.train_bias = train_bias
        self.member_batches = member_batches
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
        self.n_jobs = n_jobs
        self.data_parallel = data_parallel
        self.callbacks = callbacks
        self.verbose = verbose
        self.warm_start = warm_start
        self.random_state = random_state
        self.head_init_scale = head_init_scale
        self.checkpoint_dir = checkpoint_dir

    def _layer_factory(self) -> LayerFactory:
        return BatchEnsembleFactory(self.init_scale, self.train_bias)
