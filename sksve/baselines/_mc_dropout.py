"""Monte Carlo dropout: one model, and masks in place of members."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from sksve._validation import parameter
from sksve.adapters import dropout_layers, fixed_masks
from sksve.baselines._whole import WholeModelClassifier
from sksve.estimators._parameters import AT_LEAST_ONE, SHARE
from sksve.estimators._rivals import DROPOUT
from sksve.training import (
    LayerVectors,
    MemberDataset,
    Progress,
    Settings,
    WholeBackbone,
    compute_features,
    layer_vectors,
    predict_logits,
    sample_seeds,
)


@dataclass(eq=False, repr=False, kw_only=True)
class MCDropoutClassifier(WholeModelClassifier):
    """One fine-tuned model with dropout in training and in prediction.

    Dropout acts where the model has dropout layers of its own, and on the pooled vectors (the only
    place in a model without any, such as Llama). It drops whole features: in training each row draws
    its own masks at each step; in prediction each sample k keeps one mask a layer, a function of
    `random_state` and k, shared by all rows. So neither order nor subset of the rows changes an answer,
    and a sample is a member like any other.

    Parameters
    ----------
    backbone : str, path-like, (model, processor) or sksve.backbones.Backbone, \
default="all-MiniLM-L6-v2"
    n_samples : int, default=10
        Masks in prediction; may be changed after fit. Sample k is the same whatever their number.
    dropout : float, default=0.1
        Share of features dropped, in (0, 1); the model's rates are not used.
    adapt_blocks : int, float, None or "auto", default="auto"
        Train the last so many blocks only, or this share of them, with all their parameters, and drop
        features there only. None: the whole model.
    weight_decay : float or "auto", default="auto"
        Pulls to zero, as is customary where whole models are trained.
    max_epochs, batch_size, lr, early_stopping, class_weight, max_length, long_texts, serializer, \
side_features, training, device, precision, verbose, random_state
        As in ``SVEClassifier``.

    Attributes
    ----------
    classes_, n_iter_, history_, net_, input_kind_, adapter_report_, settings_, \
n_features_in_, feature_names_in_
        As in ``SVEClassifier``; ``history_`` has one member, judged without dropout.

    Notes
    -----
    `dropout` is the rate that BERT and its kin were pretrained with [BERT]_. Rates and epochs follow the
    rows and classes, see ``docs/guide/rivals.md``.

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

    n_samples: int = parameter(10, AT_LEAST_ONE, scope="run")
    dropout: float = parameter(0.1, SHARE, scope="member")

    _rules = DROPOUT
    _why_no_model = (
        "a member is one model with one mask per layer, which no plain transformers model has. Use "
        "FineTunedClassifier for the model alone, or DeepEnsembleClassifier for members that are models"
    )

    def _layer_factory(self, settings: Settings) -> WholeBackbone:
        return WholeBackbone(dropout=settings.dropout)

    def _logits(self, data: MemberDataset, vectors: LayerVectors | None = None) -> np.ndarray:
        module = self.net_.module_
        how: dict[str, Any] = {"device": self.net_.device, "autocast": self._prediction_autocast}
        compute_features(
            module.split, data, **how
        )  # what is frozen has no masks: once for all samples
        if vectors is not None:
            layer_vectors(module.split, data, collected=vectors, **how)
        n_layers = len(dropout_layers(module))
        logits = []
        with Progress(self.n_samples, "sample", show=self.verbose >= 1) as bar:
            for sample in range(self.n_samples):
                with fixed_masks(
                    module, sample_seeds(self.settings_.random_state, sample, n_layers)
                ):
                    logits.append(predict_logits(module, data, **how))
                bar.advance(1)
        return np.concatenate(logits)
