"""A linear head on a frozen backbone: what a fine-tuned model must beat."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from sksve.backbones import AdaptationPlan, ResolvedBackbone, plan_from_config
from sksve.estimators import MemberClassifier
from sksve.training import LayerFactory

__all__ = ["LinearProbeClassifier"]


class LinearProbeClassifier(MemberClassifier):
    """Linear heads on the pooled output of a frozen backbone.

    The backbone runs once over the training data, so training takes seconds. The training loop,
    schedule, batches and random streams are those of ``SVEClassifier``: a comparison of the two
    changes one thing.

    Parameters
    ----------
    backbone : str, path-like or (model, processor), default="all-MiniLM-L6-v2"
    n_members : int, default=1
        Heads that differ in their start and in the order of their batches.
    member_batches, max_epochs, batch_size, head_lr, weight_decay, warmup, max_grad_norm, \
early_stopping, validation_fraction, n_iter_no_change, class_weight, max_length, pooling, serializer, \
device, precision, n_jobs, callbacks, verbose, warm_start, random_state, head_init_scale, \
checkpoint_dir
        As in ``SVEClassifier``, with defaults tuned for this method, see
        ``benchmarks/defaults.py``.

    Attributes
    ----------
    classes_, n_iter_, history_, net_, input_kind_, adapter_report_, \
n_features_in_, feature_names_in_
        As in ``SVEClassifier``.

    References
    ----------
    .. [1] Alain and Bengio (2016), "Understanding intermediate layers using linear classifier
       probes", https://arxiv.org/abs/1610.01644

    Examples
    --------
    >>> from sksve.backbones import make_tiny_backbone
    >>> from sksve.baselines import LinearProbeClassifier
    >>> texts, labels = ["good film", "bad film"] * 8, [1, 0] * 8
    >>> probe = LinearProbeClassifier(make_tiny_backbone(), random_state=0).fit(texts, labels)
    >>> probe.predict(["good film"])
    array([1])
    """

    def __init__(
        self,
        backbone: Any = "all-MiniLM-L6-v2",
        *,
        n_members: int = 1,
        member_batches: str = "independent",
        max_epochs: int = 10,
        batch_size: int = 32,
        head_lr: float = 3e-3,
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
        callbacks: Any = None,
        verbose: int = 0,
        warm_start: bool = False,
        random_state: Any = None,
        head_init_scale: float = 0.01,
        checkpoint_dir: Any = None,
    ) -> None:
        self.backbone = backbone
        self.n_members = n_members
        self.member_batches = member_batches
        self.max_epochs = max_epochs
        self.batch_size = batch_size
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
        self.callbacks = callbacks
        self.verbose = verbose
        self.warm_start = warm_start
        self.random_state = random_state
        self.head_init_scale = head_init_scale
        self.checkpoint_dir = checkpoint_dir

    def _plan(self, resolved: ResolvedBackbone) -> AdaptationPlan:
        return plan_from_config(resolved, target_modules="all-linear", adapt_blocks=0)

    def _layer_factory(self) -> LayerFactory:
        return _nothing_to_adapt


def _nothing_to_adapt(linear: nn.Module, generators: Sequence[torch.Generator], /) -> nn.Module:
    raise AssertionError(f"a linear probe adapts no layer, not even {linear}")
