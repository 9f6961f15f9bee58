"""Whole models as members: one fine-tuned model, and the deep ensemble of several."""

from dataclasses import dataclass, replace

from sksve.backbones import AdaptationPlan, ResolvedBackbone, plan_adaptation
from sksve.estimators import MemberClassifier
from sksve.estimators._parameters import AdaptedParameters, EnsembleParameters
from sksve.estimators._rivals import WHOLE, WHOLE_MEMBERS
from sksve.training import Settings, WholeBackbone


@dataclass(eq=False, repr=False, kw_only=True)
class WholeModelClassifier(AdaptedParameters, MemberClassifier):
    """Base of the classifiers that fine-tune all parameters of the backbone, or of its last blocks."""

    _rules = WHOLE

    def _plan(self, resolved: ResolvedBackbone, settings: Settings) -> AdaptationPlan:
        plan = plan_adaptation(
            resolved, target_modules="all-linear", adapt_blocks=settings.adapt_blocks
        )
        if plan.first_block > 0:
            return plan
        # Nothing is left alone but a pooler, whose output is not used.
        others = tuple(name for name in plan.skipped if not name.startswith("pooler."))
        skipped = {name: why for name, why in plan.skipped.items() if name not in others}
        return replace(plan, targets=(*others, *plan.targets), skipped=skipped)

    def _layer_factory(self, settings: Settings) -> WholeBackbone:
        return WholeBackbone()


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
    max_epochs, batch_size, lr, early_stopping, class_weight, max_length, long_texts, serializer, \
side_features, training, device, precision, verbose, random_state
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
    Rates and epochs follow the rows and classes, see ``docs/guide/rivals.md``; with many classes the rate
    is about that of single models and deep ensembles in [SVE]_ (appendix C.3) and [LoRAE]_. `weight_decay`
    and `warmup` are those of [BERT]_.

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


@dataclass(eq=False, repr=False, kw_only=True)
class DeepEnsembleClassifier(EnsembleParameters, WholeModelClassifier):
    """Several fully fine-tuned models, each with its own head and order of batches.

    All start at the same pretrained weights; the start of the head and the order of the rows part
    them. They are trained one after the other (or `n_jobs` at a time), so that one optimizer state is
    held at once, but all are kept: memory and disk are those of `n_members` models.

    Parameters
    ----------
    backbone : str, path-like, (model, processor) or sksve.backbones.Backbone, \
default="all-MiniLM-L6-v2"
    n_members : int, default=5
    adapt_blocks : int, float, None or "auto", default="auto"
        Train the last so many blocks only, or this share of them, with all their parameters. None: the
        whole model.
    weight_decay : float or "auto", default="auto"
        Pulls to zero, as is customary where whole models are trained.
    max_epochs, batch_size, lr, early_stopping, class_weight, max_length, long_texts, serializer, \
side_features, training, device, precision, n_jobs, warm_start, verbose, random_state
        As in ``SVEClassifier``.

    Attributes
    ----------
    classes_, n_iter_, history_, net_, input_kind_, adapter_report_, settings_, \
n_features_in_, feature_names_in_
        As in ``SVEClassifier``.

    See Also
    --------
    FineTunedClassifier : One of them, and where the rates come from.

    References
    ----------
    .. [1] Lakshminarayanan, Pritzel and Blundell (2017), "Simple and Scalable Predictive Uncertainty
       Estimation using Deep Ensembles", https://arxiv.org/abs/1612.01474

    Examples
    --------
    >>> from sksve.backbones import make_tiny_backbone
    >>> from sksve.baselines import DeepEnsembleClassifier
    >>> texts, labels = ["good film", "bad film"] * 8, [1, 0] * 8
    >>> clf = DeepEnsembleClassifier(make_tiny_backbone(), n_members=2, random_state=0)
    >>> clf.fit(texts, labels).predict_proba_members(["good film"]).shape
    (2, 1, 2)
    """

    _rules = WHOLE_MEMBERS
