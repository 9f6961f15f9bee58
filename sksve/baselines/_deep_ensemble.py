"""The deep ensemble of full fine-tunes: the uncertainty to reach, at the cost to undercut."""

from typing import Any

from sksve.baselines._whole import WholeModelClassifier

__all__ = ["DeepEnsembleClassifier"]


class DeepEnsembleClassifier(WholeModelClassifier):
    """Several fully fine-tuned models, each with its own head and order of batches.

    All start at the same pretrained weights; the start of the head and the order of the rows part
    them. They are trained one after the other (or `n_jobs` at a time), so that one optimizer state is
    held at once, but all are kept: memory and disk are those of `n_members` models.

    Parameters
    ----------
    backbone : str, path-like or (model, processor), default="all-MiniLM-L6-v2"
    n_members : int, default=5
    adapt_blocks : int or None, default=None
        Train the last so many blocks only, with all their parameters. None: the whole model.
    weight_decay : float, default=0.01
        Pulls to zero, as is customary where whole models are trained.
    member_batches, max_epochs, batch_size, lr, head_lr, warmup, max_grad_norm, early_stopping, \
validation_fraction, n_iter_no_change, class_weight, max_length, pooling, serializer, \
device, precision, n_jobs, callbacks, verbose, warm_start, random_state, head_init_scale, \
checkpoint_dir
        As in ``SVEClassifier``.

    Attributes
    ----------
    classes_, n_iter_, history_, net_, input_kind_, adapter_report_, \
n_features_in_, feature_names_in_
        As in ``SVEClassifier``.

    See Also
    --------
    FineTunedClassifier : One of them.

    Notes
    -----
    `lr` is that of single models and deep ensembles in [SVE]_ (appendix C.3) and [LoRAE]_, `weight_decay`
    and `warmup` are those of [BERT]_. `head_lr` is ten times `lr`: a head starts from noise, not from
    pretrained weights. ``benchmarks/defaults.py`` tunes them on validation data.

    References
    ----------
    .. [1] Lakshminarayanan, Pritzel and Blundell (2017), "Simple and Scalable Predictive Uncertainty
       Estimation using Deep Ensembles", https://arxiv.org/abs/1612.01474
    .. [SVE] Singular Value Ensemble, https://arxiv.org/abs/2601.22068
    .. [LoRAE] LoRA-Ensemble, https://arxiv.org/abs/2405.14438
    .. [BERT] Devlin et al. (2019), "BERT: Pre-training of Deep Bidirectional Transformers",
       https://arxiv.org/abs/1810.04805

    Examples
    --------
    >>> from sksve.backbones import make_tiny_backbone
    >>> from sksve.baselines import DeepEnsembleClassifier
    >>> texts, labels = ["good film", "bad film"] * 8, [1, 0] * 8
    >>> clf = DeepEnsembleClassifier(make_tiny_backbone(), n_members=2, random_state=0)
    >>> clf.fit(texts, labels).predict_proba_members(["good film"]).shape
    (2, 1, 2)
    """

    def __init__(
        self,
        backbone: Any = "all-MiniLM-L6-v2",
        *,
        n_members: int = 5,
        adapt_blocks: int | None = None,
        member_batches: str = "independent",
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
        self.adapt_blocks = adapt_blocks
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
        self.callbacks = callbacks
        self.verbose = verbose
        self.warm_start = warm_start
        self.random_state = random_state
        self.head_init_scale = head_init_scale
        self.checkpoint_dir = checkpoint_dir
