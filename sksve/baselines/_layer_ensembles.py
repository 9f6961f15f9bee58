"""Rivals that change layers, as SVEClassifier does: LoRA-Ensemble and BatchEnsemble."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from sksve._validation import parameter
from sksve.adapters import BatchEnsembleLinear, LoRALinear
from sksve.estimators import MemberClassifier
from sksve.estimators._parameters import (
    AT_LEAST_ONE,
    POSITIVE,
    AdaptedParameters,
    EnsembleParameters,
)
from sksve.estimators._rivals import BATCH_ENSEMBLE, LORA
from sksve.training import MemberFactory, Settings


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


@dataclass(eq=False, repr=False, kw_only=True)
class LoRAEnsembleClassifier(EnsembleParameters, AdaptedParameters, MemberClassifier):
    r"""Ensemble whose members add :math:`B_m A_m`, of low rank, to frozen weights.

    Every member starts as the pretrained model (:math:`B_m = 0`) with a head and an :math:`A_m` of its
    own. The training loop, schedule, batches and random streams are those of ``SVEClassifier``: a
    comparison of the two changes the layer and nothing else.

    Parameters
    ----------
    backbone : str, path-like, (model, processor) or sksve.backbones.Backbone, \
default="all-MiniLM-L6-v2"
    n_members : int, default=5
    rank : int, default=8
        Rank of each change, capped at ``min(in, out)`` of a layer.
    init_gain : float, default=10.0
        :math:`A_m` is uniform within :math:`\pm \mathrm{gain} \sqrt{6 / (\mathrm{in} + r)}`.
    weight_decay : float or "auto", default="auto"
        Pulls :math:`A_m` and :math:`B_m` to zero.
    adapt_blocks, max_epochs, batch_size, lr, early_stopping, class_weight, max_length, long_texts, \
serializer, side_features, training, device, precision, n_jobs, warm_start, verbose, random_state
        As in ``SVEClassifier``.

    Attributes
    ----------
    classes_, n_iter_, history_, net_, input_kind_, adapter_report_, settings_, \
n_features_in_, feature_names_in_
        As in ``SVEClassifier``.

    Notes
    -----
    `rank`, `init_gain`, the layers adapted (the projections of attention) and `weight_decay` are those of
    the authors' code for [LoRAE]_, which has no factor ``alpha / r``. Their members see the same batches
    (``Training(shared_batches=True)``); here they draw their own by default, as in every method of sksve.
    Rates and epochs follow the rows and classes, see ``docs/guide/rivals.md``.

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

    rank: int = parameter(8, AT_LEAST_ONE, scope="member")
    init_gain: float = parameter(10.0, POSITIVE)

    _rules = LORA
    _target_modules = "attention"

    def _layer_factory(self, settings: Settings) -> MemberFactory:
        return LoRAFactory(settings.rank, settings.init_gain)


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


@dataclass(eq=False, repr=False, kw_only=True)
class BatchEnsembleClassifier(EnsembleParameters, AdaptedParameters, MemberClassifier):
    r"""Ensemble whose members scale the inputs and outputs of shared weights.

    Member :math:`m` has :math:`\operatorname{diag}(r_m)\, W \operatorname{diag}(s_m)` in place of
    :math:`W`, and biases and a head of its own. The slow weight :math:`W` is the pretrained one and
    frozen: trained by all members together, as in the original [1]_, it would couple them. The training
    loop, schedule, batches and random streams are those of ``SVEClassifier``: a comparison of the two
    changes the layer and nothing else.

    Parameters
    ----------
    backbone : str, path-like, (model, processor) or sksve.backbones.Backbone, \
default="all-MiniLM-L6-v2"
    n_members : int, default=5
    adapt_blocks, max_epochs, batch_size, lr, weight_decay, early_stopping, class_weight, \
max_length, long_texts, serializer, side_features, training, device, precision, n_jobs, warm_start, verbose, \
random_state
        As in ``SVEClassifier``.

    Attributes
    ----------
    classes_, n_iter_, history_, net_, input_kind_, adapter_report_, settings_, \
n_features_in_, feature_names_in_
        As in ``SVEClassifier``.

    Notes
    -----
    The original trains from scratch and starts at random signs or at N(1, 0.5 ** 2); either would ruin
    pretrained features. `Training`'s `init_scale` is the standard deviation of the start of both vectors
    around 1, and of the biases' change. Rates, weight decay and epochs follow the rows and classes, see
    ``docs/guide/rivals.md``.

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

    _rules = BATCH_ENSEMBLE

    def _layer_factory(self, settings: Settings) -> MemberFactory:
        return BatchEnsembleFactory(settings.init_scale, settings.train_bias)
