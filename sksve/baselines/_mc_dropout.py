"""Monte Carlo dropout: one model, and masks in place of members."""

from typing import Any, ClassVar

import numpy as np

from sksve.adapters import dropout_layers, fixed_masks
from sksve.baselines._whole import WholeModelClassifier
from sksve.estimators import CONSTRAINTS
from sksve.training import (
    MemberDataset,
    Progress,
    WholeBackbone,
    compute_features,
    predict_logits,
    sample_seeds,
)

__all__ = ["MCDropoutClassifier"]


class MCDropoutClassifier(WholeModelClassifier):
    """One fine-tuned model with dropout in training and in prediction.

    Dropout acts where the model has dropout layers of its own, and on the pooled vectors (the only
    place in a model without any, such as Llama). It drops whole features: in training each row draws
    its own masks at each step; in prediction each sample k keeps one mask a layer, a function of
    `random_state` and k, shared by all rows. So neither order nor subset of the rows changes an answer,
    and a sample is a member like any other.

    Parameters
    ----------
    backbone : str, path-like or (model, processor), default="all-MiniLM-L6-v2"
    n_samples : int, default=10
        Masks in prediction; may be changed after fit. Sample k is the same whatever their number.
    dropout : float, default=0.1
        Share of features dropped, in (0, 1); the model's own rates are not used.
    adapt_blocks : int or None, default=None
        Train the last so many blocks only, with all their parameters, and drop features there only.
        None: the whole model.
    weight_decay : float, default=0.01
        Pulls to zero, as is customary where whole models are trained.
    max_epochs, batch_size, lr, head_lr, warmup, max_grad_norm, early_stopping, \
validation_fraction, n_iter_no_change, class_weight, max_length, pooling, serializer, \
device, precision, callbacks, verbose, random_state, head_init_scale, \
checkpoint_dir
        As in ``SVEClassifier``.

    Attributes
    ----------
    classes_, n_iter_, history_, net_, input_kind_, adapter_report_, \
n_features_in_, feature_names_in_
        As in ``SVEClassifier``; ``history_`` has one member, judged without dropout.

    Notes
    -----
    `dropout` is the rate that BERT and its kin were pretrained with [BERT]_; the other defaults are those
    of ``FineTunedClassifier``. ``benchmarks/defaults.py`` tunes them on validation data.

    References
    ----------
    .. [1] Gal and Ghahramani (2016), "Dropout as a Bayesian Approximation",
       https://arxiv.org/abs/1506.02142
    .. [2] Gal and Ghahramani (2016), "A Theoretically Grounded Application of Dropout in Recurrent
       Neural Networks", https://arxiv.org/abs/1512.05287
    .. [BERT] Devlin et al. (2019), "BERT: Pre-training of Deep Bidirectional Transformers",
       https://arxiv.org/abs/1810.04805

    Examples
    --------
    >>> from sksve.backbones import make_tiny_backbone
    >>> from sksve.baselines import MCDropoutClassifier
    >>> texts, labels = ["good film", "bad film"] * 8, [1, 0] * 8
    >>> clf = MCDropoutClassifier(make_tiny_backbone(), n_samples=7, random_state=0)
    >>> clf.fit(texts, labels).predict_proba_members(["good film"]).shape
    (7, 1, 2)
    """

    n_members = 1
    member_batches = "independent"
    n_jobs = None
    warm_start = False
    _own_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_samples": CONSTRAINTS["n_members"],
        "dropout": CONSTRAINTS["validation_fraction"],
    }

    def __init__(
        self,
        backbone: Any = "all-MiniLM-L6-v2",
        *,
        n_samples: int = 10,
        dropout: float = 0.1,
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
        self.dropout = dropout
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

    def _layer_factory(self) -> WholeBackbone:
        return WholeBackbone(dropout=self.dropout)

    def _logits(self, data: MemberDataset) -> np.ndarray:
        module = self.net_.module_
        how: dict[str, Any] = {"device": self.net_.device, "autocast": self._prediction_autocast}
        compute_features(
            module.split, data, **how
        )  # what is frozen has no masks: once for all samples
        n_layers = len(dropout_layers(module))
        logits = []
        with Progress(self.n_samples, "sample", show=self.verbose >= 1) as bar:
            for sample in range(self.n_samples):
                with fixed_masks(module, sample_seeds(self._seed, sample, n_layers)):
                    logits.append(predict_logits(module, data, **how))
                bar.advance(1)
        return np.concatenate(logits)
