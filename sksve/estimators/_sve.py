"""SVEClassifier: the singular value ensemble behind scikit-learn's contract."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import torch
from sklearn.utils._param_validation import StrOptions
from torch import nn

from sksve._validation import Number, parameter
from sksve.adapters import SVDLinear
from sksve.estimators._auto import SVE
from sksve.estimators._base import MemberClassifier
from sksve.estimators._parameters import (
    AT_LEAST_ONE,
    SHARE,
    AdaptedParameters,
    EnsembleParameters,
)
from sksve.training import AUTO, MemberFactory, Settings


@dataclass(frozen=True)
class SVDFactory:
    """Makes the layers of a singular value ensemble; a class, so that it can be pickled."""

    rank: int | float | None
    core: Any
    off_diagonals: int
    direction_pool: int | None
    init_scale: float
    train_bias: bool

    def __call__(self, linear: nn.Module, generators: Sequence[torch.Generator]) -> nn.Module:
        return SVDLinear.from_linear(linear, len(generators), generator=generators, **vars(self))


@dataclass(eq=False, repr=False, kw_only=True)
class SVEClassifier(EnsembleParameters, AdaptedParameters, MemberClassifier):
    r"""Singular value ensemble of a pretrained transformer.

    Each adapted weight matrix is decomposed, :math:`W = U \operatorname{diag}(S) V^T`. All members
    share the frozen :math:`U` and :math:`V`; member :math:`m` owns the singular values
    :math:`S (1 + \delta_m)`, the biases and a linear head: about one percent more parameters for a
    whole ensemble [1]_. With `rank` only the leading values are trained [2]_, with `core` entries
    beside them as well [3]_. "auto" stands for a value that ``settings_`` names after the fit.

    Members are trained jointly but independently: member k is a function of the data, the
    parameters, `random_state` and k, whatever `n_members` or `n_jobs`.

    Parameters
    ----------
    backbone : str, path-like, (model, processor) or sksve.backbones.Backbone, \
default="all-MiniLM-L6-v2"
        A name (tried as a folder, as an installed package that ships it, in the local hub cache as
        given and under ``sentence-transformers/``, then on the hub), a folder, or a transformers
        model with its tokenizer or, of vision (ViT, DINOv2), its image processor; never modified.
        ``sksve.backbones.Backbone`` says how it is pooled and which of its layers are adapted.
    n_members : int, default=5
    rank : int, float, None or "auto", default="auto"
        How many leading singular values are trained; the others stay at their pretrained value.
        None: all. An int is capped at ``min(in, out)`` per layer. A float in (0, 1): per layer the
        smallest number that holds this share of ``sum(S ** 2)``.
    core : {"diagonal", "banded", "random", "top_k", "full", "auto"}, default="auto"
        Which entries of the leading block learn: the singular values alone, `off_diagonals` beside them
        on each side in one of three patterns [3]_, or all.
    off_diagonals : int or "auto", default="auto"
        How many entries of each row of the core learn on each side of the diagonal, with ``core`` of
        "banded", "random" or "top_k".
    direction_pool : int, None or "auto", default="auto"
        Each member trains `rank` singular directions of its own, drawn at random from so many leading
        ones, in place of the leading `rank`: random subspaces [5]_ decorrelate members without noise.
        Needs an int `rank`. None: all members train the leading ones.
    adapt_blocks : int, float, None or "auto", default="auto"
        Adapt the last so many blocks only, or this share of them in (0, 1], rounded up; the blocks
        before them run once. None: every block.
    max_epochs : int or "auto", default="auto"
    batch_size : int or "auto", default="auto"
        Rows per member and step.
    lr : float or "auto", default="auto"
        Learning rate of the adapted layers; that of the heads stands in `training`.
    weight_decay : float or "auto", default="auto"
        A step takes off this share of what a value has moved from its start, times the rate. A change
        hardly outgrows ``1 / weight_decay``, so that values from 5 to 15 keep a few hundred rows from
        being learned by heart. ``Training(decay_to="pretrained")`` counts from the pretrained value.
    early_stopping : bool, default=False
        Stop each member on its own validation loss and keep its best weights.
    class_weight : dict, "balanced" or None, default=None
    max_length : int, default=128
        Longest text, or pair of texts, in tokens; longer ones are cut with a warning.
    long_texts : {"truncate", "windows"}, default="truncate"
        "windows": a text longer than `max_length` is read whole, in windows of so many tokens that overlap by
        a quarter, and its vector is the mean of theirs. Time and memory grow with the text.
    serializer : transformer, "pair" or None, default=None
        Turns table rows into texts, in place of what `side_features` "auto" does. "pair": X has two columns
        of texts, which the tokenizer takes as first and second segment.
    side_features : "auto", transformer or None, default="auto"
        What becomes of a table's columns. "auto": columns of free text (strings of at least 2.5 words in the
        mean, more than half of the cells, or 20 of them, different) go through the backbone; numbers,
        booleans, dates and categories become standardised and one-hot side features, which join the pooled
        vector at each member's head. A member's head starts there at a logistic regression on the side
        features, its strength cross-validated, on row weights of its own. Without a column of free text the
        backbone is not run. A transformer: fitted on X and encoded labels, it makes the side features. None:
        each row is written as one text, by :class:`~sksve.preprocessing.TabularToText`.
    training : sksve.Training or None, default=None
        How members learn: optimizer, rate of the heads, start, schedule, checkpoints. Its options can be
        set by name, ``clf.set_params(training__head_lr=0.005)``. None: ``Training()``.
    device : str or torch.device, default="auto"
        "auto": CUDA where there is one, else the CPU.
    precision : {"auto", "float32", "float64", "bfloat16"}, default="auto"
        "auto": float32; on CUDA, training runs under bfloat16 autocast.
    n_jobs : int or None, default=None
        None: one joint fit. k: members are split over k joblib tasks, with the same result.
    warm_start : bool, default=False
        A later fit with more `n_members` trains only the new ones.
    verbose : int, default=0
        1: what the fit is going to do (tokens, routes, memory, time), a table of losses and a
        progress bar; a bar on stderr for predictions that take more than about five seconds.
    random_state : int, RandomState, Generator or None, default=None

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
    settings_ : Settings
        Every value the fit was made with, "auto" replaced; ``settings_.to_dict()`` gives parameters that
        reproduce it.
    input_kind_ : {"text", "text_column", "text_pair", "table", "image"}
        What X was in fit.
    adapter_report_ : AdapterReport
        Modules adapted and skipped with the reason, ranks, trainable and total parameters.
    side_features_ : transformer
        Of a table with side features: X -> side features (n, s).
    n_features_in_, feature_names_in_
        For 2-D input only.

    See Also
    --------
    sksve.MemberSearchCV : Search over `n_members` at the price of the largest number.
    sksve.predict_uncertainty : The same through pipelines and search objects.

    Notes
    -----
    One member is a method of its own: ``n_members=1`` and ``Training(init_scale=0.0, train_bias=False)``
    with ``rank=r`` is SVFit [2]_, with ``core="banded"`` SVFT [3]_. What is learned is the relative change
    of a value, so one `lr` fits small and large values; the papers learn the values.

    "auto" trains, in two thirds of the blocks, the whole core of 42 directions (at a width of 384), as
    LoRA-XS [4]_ does but in units of the singular values; each member has 42 of its own out of the leading
    64, starts at the pretrained weights and is moved by Muon. How long, and how hard it is held to its
    start, follows from the number of rows and from how much frozen vectors know of the labels: with
    three classes or more a cross-validated logistic regression on them is fitted first. The rules stand
    in ``sksve/estimators/_auto.py``; ``settings_`` says what they chose. Where this is better than a
    deep ensemble of full fine-tunes and where not stands in ``docs/evidence.md``.

    Ctrl-C (``KeyboardInterrupt``) ends fit after the step it is at, with the members as they are
    then and a ``ConvergenceWarning``; a second one, one before the first step, and one while members
    are trained in several parts (`n_jobs`) goes through and leaves the estimator as it was.

    With ``Training(checkpoint_dir=...)``, a fit that was killed or interrupted goes on from its last epoch
    when fit is called again with the same data and parameters, and ends bit for bit as if nothing had
    happened, on the same machine and thread count; with ``random_state=None`` it takes the seed of the fit
    it goes on with. A checkpoint of another fit is refused. When fit has succeeded the checkpoints are
    removed, so that the next fit is a new one. Callbacks do not have their state saved; ``partial_fit``
    neither writes nor reads checkpoints.

    References
    ----------
    .. [1] Singular Value Ensemble, https://arxiv.org/abs/2601.22068
    .. [2] SVFit, https://arxiv.org/abs/2409.05926
    .. [3] SVFT, https://arxiv.org/abs/2405.19597
    .. [4] LoRA-XS, https://arxiv.org/abs/2405.17604
    .. [5] Ho (1998), "The random subspace method for constructing decision forests",
       https://doi.org/10.1109/34.709601

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

    rank: int | float | str | None = parameter(
        "auto", AT_LEAST_ONE, SHARE, None, AUTO, scope="member"
    )
    core: str = parameter(
        "auto",
        StrOptions({"auto", "diagonal", "banded", "random", "top_k", "full"}),
        scope="member",
    )
    off_diagonals: int | str = parameter("auto", AT_LEAST_ONE, AUTO, scope="member")
    direction_pool: int | str | None = parameter(
        "auto", Number(Integral, 2, None, closed="left"), None, AUTO, scope="member"
    )

    _rules = SVE

    def _layer_factory(self, settings: Settings) -> MemberFactory:
        return SVDFactory(
            settings.rank,
            settings.core,
            settings.off_diagonals,
            settings.direction_pool,
            settings.init_scale,
            settings.train_bias,
        )
