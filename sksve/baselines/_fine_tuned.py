"""One fully fine-tuned model: what everyone does, and what every ensemble is measured against."""

from dataclasses import dataclass

from sksve.baselines._whole import WholeModelClassifier

__all__ = ["FineTunedClassifier"]


@dataclass(eq=False, repr=False, kw_only=True)
class FineTunedClassifier(WholeModelClassifier):
    """One model, fine-tuned as a whole: embeddings and normalisation included.

    The training loop, schedule, batches and random streams are those of ``SVEClassifier``: a
    comparison of the two changes one thing. It equals member 0 of a ``DeepEnsembleClassifier``.

    Parameters
    ----------
    backbone : str, path-like, (model, processor) or sksve.backbones.Backbone, \
default="all-MiniLM-L6-v2"
    adapt_blocks : int, float, None or "auto", default="auto"
        Train the last so many blocks only, or this share of them, with all their parameters. None: the
        whole model.
    weight_decay : float or "auto", default="auto"
        Pulls to zero, as is customary where whole models are trained (and not to the pretrained
        values, as in ``SVEClassifier``).
    max_epochs, batch_size, lr, early_stopping, class_weight, max_length, serializer, training, \
device, precision, verbose, random_state
        As in ``SVEClassifier``.

    Attributes
    ----------
    classes_, n_iter_, history_, net_, input_kind_, adapter_report_, settings_, \
n_features_in_, feature_names_in_
        As in ``SVEClassifier``.

    See Also
    --------
    DeepEnsembleClassifier : Several of them.

    Notes
    -----
    `lr` is that of single models and deep ensembles in [SVE]_ (appendix C.3) and [LoRAE]_, `weight_decay`
    and `warmup` are those of [BERT]_. `head_lr` is ten times `lr`: a head starts from noise, not from
    pretrained weights. ``benchmarks/defaults.py`` tunes them on validation data.

    References
    ----------
    .. [SVE] Singular Value Ensemble, https://arxiv.org/abs/2601.22068
    .. [LoRAE] LoRA-Ensemble, https://arxiv.org/abs/2405.14438
    .. [BERT] Devlin et al. (2019), "BERT: Pre-training of Deep Bidirectional Transformers",
       https://arxiv.org/abs/1810.04805

    Examples
    --------
    >>> from sksve.backbones import make_tiny_backbone
    >>> from sksve.baselines import FineTunedClassifier
    >>> texts, labels = ["good film", "bad film"] * 8, [1, 0] * 8
    >>> clf = FineTunedClassifier(make_tiny_backbone(), lr=1e-2, max_epochs=10, random_state=0)
    >>> clf.fit(texts, labels).predict(["good film"])
    array([1])
    """
