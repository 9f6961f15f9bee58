"""LoRA-Ensemble: low-rank changes, one a member."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from sksve.adapters import LoRALinear
from sksve.estimators import CONSTRAINTS, MemberClassifier
from sksve.training import LayerFactory

__all__ = ["LoRAEnsembleClassifier"]


@dataclass(frozen=True)
class LoRAFactory:
    """Makes the layers of a LoRA-ensemble; a class, so that it can be pickled."""

    rank: int
    init_gain: float

    def __call__(self, linear: nn.Module, generators: Sequence[torch.Generator], /) -> nn.Module:
        return LoRALinear.from_linear(
            linear,
            len(generators),
            rank=self.rank,
            init_gain=self.init_gain,
            generator=generators,
        )


class LoRAEnsembleClassifier(MemberClassifier):
    r"""Ensemble whose members add :math:`B_m A_m`, of low rank, to frozen weights.

    Every member starts as the pretrained model (:math:`B_m = 0`) with a head and an :math:`A_m` of its
    own. The training loop, schedule, batches and random streams are those of ``SVEClassifier``: a
    comparison of the two changes the layer and nothing else.

    Parameters
    ----------
    backbone : str, path-like or (model, processor), default="all-MiniLM-L6-v2"
    n_members : int, default=5
    rank : int, default=8
        Rank of each change, capped at ``min(in, out)`` of a layer.
    target_modules : str or list of str, default="attention"
        As in ``SVEClassifier``; the authors adapt the projections of attention.
    init_gain : float, default=10.0
        :math:`A_m` is uniform within :math:`\pm \mathrm{gain} \sqrt{6 / (\mathrm{in} + r)}`.
    weight_decay : float, default=0.0
        Pulls :math:`A_m` and :math:`B_m` to zero.
    adapt_blocks, member_batches, max_epochs, batch_size, lr, head_lr, warmup, max_grad_norm, \
early_stopping, validation_fraction, n_iter_no_change, class_weight, max_length, pooling, \
serializer, device, precision, n_jobs, data_parallel, callbacks, verbose, warm_start, random_state, \
head_init_scale, checkpoint_dir
        As in ``SVEClassifier``.

    Attributes
    ----------
    classes_, n_iter_, history_, net_, input_kind_, adapter_report_, \
n_features_in_, feature_names_in_
        As in ``SVEClassifier``.

    Notes
    -----
    `rank`, `init_gain`, `target_modules`, `lr` and `weight_decay` are those of the authors' code for
    [LoRAE]_, which has no factor ``alpha / r``. Their members see the same batches
    (``member_batches="shared"``); here they draw their own by default, as in every method of sksve.
    `head_lr` is ten times `lr`: a head starts from noise. ``benchmarks/defaults.py`` tunes them on
    validation data.

    References
    ----------
    .. [LoRAE] LoRA-Ensemble, https://arxiv.org/abs/2405.14438

    Examples
    --------
    >>> from sksve.backbones import make_tiny_backbone
    >>> from sksve.baselines import LoRAEnsembleClassifier
    >>> texts, labels = ["good film", "bad film"] * 8, [1, 0] * 8
    >>> clf = LoRAEnsembleClassifier(make_tiny_backbone(), n_members=2, rank=2, random_state=0)
    >>> clf.fit(texts, labels).predict_proba_members(["good film"]).shape
    (2, 1, 2)
    """

    _own_constraints: ClassVar[dict[str, list[Any]]] = {
        "rank": CONSTRAINTS["n_members"],
        "init_gain": CONSTRAINTS["lr"],
    }

    def __init__(
        self,
        backbone: Any = "all-MiniLM-L6-v2",
        *,
        n_members: int = 5,
        rank: int = 8,
        target_modules: Any = "attention",
        adapt_blocks: int | None = None,
        init_gain: float = 10.0,
        member_batches: str = "independent",
        max_epochs: int = 4,
        batch_size: int = 32,
        lr: float = 1e-4,
        head_lr: float = 1e-3,
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
        self.rank = rank
        self.target_modules = target_modules
        self.adapt_blocks = adapt_blocks
        self.init_gain = init_gain
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
        return LoRAFactory(self.rank, self.init_gain)
