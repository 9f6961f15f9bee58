"""SVEClassifier: the singular value ensemble behind scikit-learn's contract."""

from typing import Any

from sksve.adapters import check_pool
from sksve.estimators._base import MemberClassifier
from sksve.estimators._settings import SVDFactory
from sksve.training import LayerFactory, check_whole_cores

__all__ = ["SVEClassifier"]


class SVEClassifier(MemberClassifier):
    r"""Singular value ensemble of a pretrained transformer.

    Each adapted weight matrix is decomposed, :math:`W = U \operatorname{diag}(S) V^T`. All members
    share the frozen :math:`U` and :math:`V`; member :math:`m` owns the singular values
    :math:`S (1 + \delta_m)`, the biases and a linear head: about one percent more parameters for a
    whole ensemble [1]_. With `rank` only the leading values are trained [2]_, with `off_diagonals`
    a band around them as well [3]_.

    Members are trained jointly but independently: member k is a function of the data, the
    parameters, `random_state` and k, whatever `n_members` or `n_jobs`.

    Parameters
    ----------
    backbone : str, path-like or (model, processor), default="all-MiniLM-L6-v2"
        A name (tried as a folder, as an installed package that ships it, in the local hub cache as
        given and under ``sentence-transformers/``, then on the hub), a folder, or a transformers
        model with its tokenizer or, of vision (ViT, DINOv2), its image processor. Never modified.
    n_members : int, default=5
    rank : int, float or None, default=None
        How many leading singular values are trained; the others stay at their pretrained value.
        None: all. An int is capped at ``min(in, out)`` per layer. A float in (0, 1): per layer the
        smallest number that holds this share of ``sum(S ** 2)``.
    off_diagonals : int, default=0
        Diagonals of the core trained on each side, inside the leading block: ``rank - 1`` of them
        are the whole block.
    direction_pool : int or None, default=None
        Each member trains `rank` singular directions of its own, drawn at random from so many leading
        ones, in place of the leading `rank`: random subspaces [5]_ decorrelate members without noise.
        Needs an int `rank`. None: all members train the leading ones.
    target_modules : str or list of str, default="all-linear"
        Linear layers inside the transformer blocks: ``"all-linear"``, ``"attention"``, ``"mlp"``, a
        list of name suffixes, or a regular expression that must match the whole name.
    adapt_blocks : int or None, default=None
        Adapt the last so many blocks only; the blocks before them run once. None: every block.
    init_scale : float, default=0.1
        Standard deviation of the members' start, relative for singular values, absolute for biases.
        It adds up over the adapted blocks: on all-MiniLM-L6-v2 0.3 was best with two blocks adapted
        and ruined training with all six, where 0.1 was best. Deeper models want less.
    band_init_scale : float, default=0.0
        Standard deviation of the off-diagonal entries' start, relative to the geometric mean of the
        singular values of their row and column. 0: they start at 0, as in [3]_.
    train_bias : bool, default=True
        Whether members own biases.
    member_batches : {"independent", "shared"}, default="independent"
        Whether each member draws its own mini-batches or all see the same.
    max_epochs : int, default=4
    batch_size : int, default=32
        Rows per member and step.
    lr, head_lr : float, default=0.003 and 0.01
        Learning rates (AdamW) of the adapted layers and of the heads.
    weight_decay : float, default=0.0
        Of AdamW: a step takes off this share of what a value has moved from its pretrained one, times
        the rate (of the heads' weights: of all). A relative change hardly outgrows ``1 / weight_decay``,
        so that values from 5 to 15 keep a few hundred rows from being learned by heart.
    anchored : bool, default=False
        Whether `weight_decay` pulls each member to its own random start, singular values and head,
        instead of to the pretrained values and a head of zero [6]_, so that it does not take back what
        `init_scale` and `head_init_scale` made the members differ by. In ``partial_fit`` the start is
        where the call began. Without `weight_decay` it does nothing.
    core_optimizer : {"adamw", "muon"}, default="adamw"
        What moves the cores. "muon" makes the momentum of each core orthogonal before a step [7]_, so
        that all its directions move alike, an entry by about `lr` in root mean square; it needs whole
        cores (``off_diagonals >= rank - 1``). Biases and heads are AdamW's with both.
    warmup : float, default=0.1
        Share of all steps in which the rates rise linearly; then they fall linearly to 0.
    freeze_out : float or None, default=None
        Share of all steps after which the first adapted block stops learning [8]_; the last learns to the
        end, those between stop at equal distances. A block that has stopped needs no gradient, which at
        0.5 saves an eighth of the blocks' products. Its schedule is the whole one, as much higher as it is
        shorter. It costs some quality: little where members learn their rows by heart, more where training
        is short. None: all blocks learn to the end.
    max_grad_norm : float or None, default=1.0
        Largest gradient norm of one member.
    early_stopping : bool, default=False
        Stop each member on its own validation loss and keep its best weights.
    validation_fraction : float, default=0.1
        Share of the training rows held out, with `early_stopping` and without ``X_val``.
    n_iter_no_change : int, default=3
        Epochs without improvement after which a member stops, with `early_stopping`.
    class_weight : dict, "balanced" or None, default=None
    max_length : int, default=128
        Longest text, or pair of texts, in tokens; longer ones are cut with a warning.
    pooling : {"auto", "mean", "cls", "last"}, default="auto"
        How token vectors become one. "auto": what the model's sentence-transformers files say, else
        the class token for vision, the last token for decoders and the mean over tokens for encoders.
    serializer : transformer, "pair" or None, default=None
        Turns table rows into texts. None: :class:`~sksve.preprocessing.TabularToText`. "pair": X has
        two columns of texts, which the tokenizer takes as first and second segment.
    device : str or torch.device, default="auto"
        "auto": CUDA where there is one, else the CPU.
    precision : {"auto", "float32", "float64", "bfloat16"}, default="auto"
        "auto": float32; on CUDA, training runs under bfloat16 autocast.
    n_jobs : int or None, default=None
        None: one joint fit. k: members are split over k joblib tasks, with the same result.
    data_parallel : bool, default=False
        Whether the processes started by ``accelerate launch`` or ``torchrun`` train together, each on its
        share of every batch (extra ``accelerate``). Every process is given all data and ends with the
        same members, those of one process up to rounding. In a script started plainly it does nothing.
    callbacks : list or None, default=None
        skorch callbacks; copied before use.
    verbose : int, default=0
        1: what the fit is going to do (tokens, routes, memory, time), a table of losses and a
        progress bar; a bar on stderr for predictions that take more than about five seconds.
    warm_start : bool, default=False
        A later fit with more `n_members` trains only the new ones.
    random_state : int, RandomState, Generator or None, default=None
    head_init_scale : float, default=0.01
        Standard deviation of the heads' initial weights.
    checkpoint_dir : str or path-like, default=None
        Folder for checkpoints of fit; the same call after a crash goes on from the last one, see
        Notes. One fit at a time may use it. None: no checkpoints.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    n_iter_ : int
        Most epochs any member ran.
    history_ : list of dict
        One per epoch: ``train_loss`` and, with validation data, ``valid_loss`` (nats) and
        ``valid_accuracy``, and ``padding``, the share of padding in the member's batches: arrays of
        shape (n_members,); NaN where a member had stopped.
    net_ : MemberNet
        The skorch net.
    input_kind_ : {"text", "text_column", "text_pair", "table", "image"}
        What X was in fit.
    adapter_report_ : AdapterReport
        Modules adapted and skipped with the reason, ranks, trainable and total parameters.
    n_features_in_, feature_names_in_
        For 2-D input only.

    See Also
    --------
    sksve.MemberSearchCV : Search over `n_members` at the price of the largest number.
    sksve.predict_uncertainty : The same through pipelines and search objects.

    Notes
    -----
    The defaults of `init_scale`, `lr`, `head_lr`, `head_init_scale`, `weight_decay` and `max_epochs`
    were chosen on validation data, see ``benchmarks/defaults.py`` and its results; among rates of
    nearly equal likelihood `lr` is the one that holds on shifted text (``benchmarks/shift.py``).

    One member is a method of its own: ``n_members=1, init_scale=0.0, train_bias=False`` with ``rank=r``
    is SVFit [2]_, with ``off_diagonals=d`` SVFT, plain (d=0) or banded [3]_. What is learned is the
    relative change of a value, so one `lr` fits small and large values; the papers learn the values.

    ``rank=42, off_diagonals=41`` trains the whole core of the leading directions, as LoRA-XS [4]_ does but
    in units of the singular values, with fewer parameters than the diagonals and biases of all blocks;
    ``direction_pool=64`` lets each member train 42 directions of its own. For some hundred rows begin with
    ``SVEClassifier(**RANDOM_SUBSPACES)`` (:mod:`sksve.estimators`): four of six blocks, no noise and no
    biases, moved by Muon, the lower blocks stopping early. Trials on nine data sets changed no more than
    rates in that on two; chose four epochs of ``adapt_blocks=3, rank=48, off_diagonals=47, lr=0.01`` on
    two; ``weight_decay=15.0, anchored=True, head_init_scale=0.04, head_lr=0.0015`` on three of five with
    two classes; and ``weight_decay=0.0, batch_size=12, head_lr=0.007, freeze_out=None`` for 10 and for 20
    classes. Images had ``freeze_out=None`` throughout. Where this is better than a deep ensemble of full
    fine-tunes and where not stands in ``docs/evidence.md``.

    Ctrl-C (``KeyboardInterrupt``) ends fit after the step it is at, with the members as they are
    then and a ``ConvergenceWarning``; a second one, one before the first step, and one while members
    are trained in several parts (`n_jobs`) goes through and leaves the estimator as it was.

    With `checkpoint_dir`, a fit that was killed or interrupted continues after its last whole epoch when
    fit is called again with the same data and parameters, and ends bit for bit as if nothing had
    happened, on the same machine and thread count; with ``random_state=None`` it takes the seed of the
    fit it continues. The checkpoint of another fit, and a damaged one, are refused with a ValueError. A
    disk that is full during training is a warning. When fit has succeeded the checkpoints are removed, so
    that the next fit is a new one. `callbacks` do not have their state saved; ``partial_fit`` neither
    writes nor reads checkpoints.

    References
    ----------
    .. [1] Singular Value Ensemble, https://arxiv.org/abs/2601.22068
    .. [2] SVFit, https://arxiv.org/abs/2409.05926
    .. [3] SVFT, https://arxiv.org/abs/2405.19597
    .. [4] LoRA-XS, https://arxiv.org/abs/2405.17604
    .. [5] Ho (1998), "The random subspace method for constructing decision forests",
       https://doi.org/10.1109/34.709601
    .. [6] Pearce, Leibfried, Brintrup, Zaki and Neely (2020), "Uncertainty in neural networks:
       approximately Bayesian ensembling", https://arxiv.org/abs/1810.05546
    .. [7] Jordan et al. (2024), "Muon: an optimizer for hidden layers in neural networks",
       https://kellerjordan.github.io/posts/muon
    .. [8] Brock, Lim, Ritchie and Weston (2017), "FreezeOut: accelerate training by progressively
       freezing layers", https://arxiv.org/abs/1706.04983

    Examples
    --------
    >>> from sksve import SVEClassifier
    >>> from sksve.backbones import make_tiny_backbone
    >>> texts = ["good film", "bad film", "good plot", "bad plot"] * 4
    >>> labels = ["pos", "neg", "pos", "neg"] * 4
    >>> clf = SVEClassifier(make_tiny_backbone(), n_members=2, max_epochs=30, random_state=0)
    >>> clf.fit(texts, labels).predict(["good film", "bad plot"])
    array(['pos', 'neg'], dtype='<U3')
    >>> clf.predict_proba_members(["good film"]).shape
    (2, 1, 2)
    >>> uncertainty = clf.predict_uncertainty(["good film"])
    >>> bool(uncertainty.total[0] >= uncertainty.epistemic[0] >= 0)
    True
    """

    def __init__(
        self,
        backbone: Any = "all-MiniLM-L6-v2",
        *,
        n_members: int = 5,
        rank: int | float | None = None,
        off_diagonals: int = 0,
        target_modules: Any = "all-linear",
        adapt_blocks: int | None = None,
        init_scale: float = 0.1,
        band_init_scale: float = 0.0,
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
        direction_pool: int | None = None,
        anchored: bool = False,
        core_optimizer: str = "adamw",
        freeze_out: float | None = None,
    ) -> None:
        self.backbone = backbone
        self.n_members = n_members
        self.rank = rank
        self.off_diagonals = off_diagonals
        self.target_modules = target_modules
        self.adapt_blocks = adapt_blocks
        self.init_scale = init_scale
        self.band_init_scale = band_init_scale
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
        self.direction_pool = direction_pool
        self.anchored = anchored
        self.core_optimizer = core_optimizer
        self.freeze_out = freeze_out

    def _layer_factory(self) -> LayerFactory:
        check_pool(self.direction_pool, self.rank)
        if self.core_optimizer == "muon":
            check_whole_cores(self.rank, self.off_diagonals)
        return SVDFactory(
            self.rank,
            self.off_diagonals,
            self.init_scale,
            self.band_init_scale,
            self.train_bias,
            self.direction_pool,
        )
