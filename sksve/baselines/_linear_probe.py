"""A linear head on a frozen backbone: what a fine-tuned model must beat."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from sksve._validation import parameter
from sksve.estimators import MemberClassifier
from sksve.estimators._auto import PROBE
from sksve.estimators._parameters import AT_LEAST_ONE, EnsembleParameters
from sksve.training import MemberFactory, Settings

__all__ = ["LinearProbeClassifier"]


@dataclass(eq=False, repr=False, kw_only=True)
class LinearProbeClassifier(EnsembleParameters, MemberClassifier):
    """Linear heads on the pooled output of a frozen backbone.

    The backbone runs once over the training data, so training takes seconds. The training loop,
    schedule, batches and random streams are those of ``SVEClassifier``: a comparison of the two
    changes one thing.

    Parameters
    ----------
    backbone : str, path-like, (model, processor) or sksve.backbones.Backbone, \
default="all-MiniLM-L6-v2"
    n_members : int, default=1
        Heads that differ in their start and in the order of their batches.
    max_epochs, batch_size, weight_decay, early_stopping, class_weight, max_length, serializer, \
training, device, precision, n_jobs, warm_start, verbose, random_state
        As in ``SVEClassifier``.

    Attributes
    ----------
    classes_, n_iter_, history_, net_, input_kind_, adapter_report_, settings_, \
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

    n_members: int = parameter(1, AT_LEAST_ONE, scope="run")

    _rules = PROBE
    adapt_blocks = 0  # a fixed value, not a parameter

    def _layer_factory(self, settings: Settings) -> MemberFactory:
        return _nothing_to_adapt


def _nothing_to_adapt(linear: nn.Module, generators: Sequence[torch.Generator], /) -> nn.Module:
    raise AssertionError(f"a linear probe adapts no layer, not even {linear}")
