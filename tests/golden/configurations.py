"""Fits with explicit settings whose predictions were stored once, with the code of November 2026.

A configuration is a function that returns ``predict_proba_members`` in float64. When a parameter is renamed
the call here changes, the stored arrays never do.
"""

import numpy as np

from sksve import SVEClassifier
from sksve.backbones import make_tiny_backbone
from sksve.baselines import (
    BatchEnsembleClassifier,
    DeepEnsembleClassifier,
    FineTunedClassifier,
    LaplaceClassifier,
    LoRAEnsembleClassifier,
    MCDropoutClassifier,
)
from tests.making import LABELS as TWO
from tests.making import TEXTS, new

UNSEEN = ["good", "the worst story", "it was never boring, it was great fun", "", "not bad at all"]
THREE = [0, 1, 2] * 4
EXPLICIT = {
    "n_members": 3,
    "max_epochs": 3,
    "batch_size": 4,
    "lr": 0.02,
    "head_lr": 0.02,
    "head_init_scale": 0.01,
    "weight_decay": 0.0,
    "warmup": 0.1,
    "max_grad_norm": 1.0,
    "precision": "float64",
    "random_state": 0,
}
SVE = {
    "rank": None,
    "core": "diagonal",
    "direction_pool": None,
    "adapt_blocks": None,
    "optimizer": "adamw",
    "init_scale": 0.1,
    "train_bias": True,
    "freeze_out": None,
}


def backbone(family="bert", **sizes):
    return make_tiny_backbone(family, **sizes)


def fit(cls=SVEClassifier, y=TWO, X=TEXTS, unseen=UNSEEN, of=None, fit_params=None, **changes):
    own = SVE if cls is SVEClassifier else {}
    clf = new(cls, backbone() if of is None else of, **(EXPLICIT | own | changes))
    return clf.fit(X, y, **(fit_params or {})).predict_proba_members(unseen)


def without(*names):
    return {name: value for name, value in EXPLICIT.items() if name not in names}


def diagonal():
    return fit()


def diagonal_three_classes_weight_decay():
    return fit(y=THREE, weight_decay=2.0, decay_to="pretrained", batch_size=5)


def leading_values_last_block():
    return fit(rank=6, adapt_blocks=1, train_bias=False, init_scale=0.2)


def rank_by_share():
    return fit(rank=0.7, y=THREE)


def banded():
    return fit(rank=8, core="banded", off_diagonals=2, init_scale=0.1)


def banded_all_values():
    return fit(core="banded", off_diagonals=1, init_scale=0.0)


def full_core():
    return fit(rank=5, core="full", init_scale=0.0, train_bias=False)


def full_core_pool():
    return fit(rank=4, core="full", direction_pool=8, init_scale=0.0, train_bias=False)


def random_subspaces():
    """Muon, each member's own directions, decay to its start, lower blocks that stop early."""
    return fit(
        of=backbone(n_blocks=3),
        rank=4,
        core="full",
        direction_pool=7,
        init_scale=0.0,
        train_bias=False,
        optimizer="muon",
        freeze_out=0.5,
        weight_decay=5.0,
        decay_to="start",
        adapt_blocks=2,
    )


def freeze_out_banded():
    return fit(of=backbone(n_blocks=3), rank=6, core="banded", off_diagonals=1, freeze_out=0.4)


def soft_labels_and_weights():
    rng = np.random.default_rng(3)
    y = rng.dirichlet([1, 1, 1], size=len(TEXTS))
    weight = rng.uniform(0.2, 2, size=len(TEXTS))
    weight[2] = 0
    return fit(y=y, fit_params={"sample_weight": weight})


def early_stopping_class_weight():
    return fit(
        X=TEXTS * 3,
        y=(["pos"] * 2 + ["neg"]) * 12,
        max_epochs=12,
        lr=0.2,
        head_lr=0.2,
        early_stopping=True,
        validation_fraction=0.25,
        patience=1,
        class_weight="balanced",
    )


def shared_batches_no_clip():
    return fit(shared_batches=True, max_grad_norm=None, warmup=0.0, y=THREE)


def pairs():
    X = np.array([[a, b] for a, b in zip(TEXTS, TEXTS[::-1])], dtype=object)
    unseen = np.array([["good", "bad plot"], ["", "the film"]], dtype=object)
    return fit(X=X, unseen=unseen, serializer="pair", rank=6)


def table():
    X = np.array([[0.5, "a"], [1.5, "b"], [-2.0, "a"], [3.0, None]] * 3, dtype=object)
    y = ["x", "y", "y", "x"] * 3
    return fit(X=X, y=y, unseen=X[:4], max_length=64, side_features=None)


def images(family="vit", **changes):
    rng = np.random.default_rng(5)
    X = rng.integers(0, 256, size=(10, 28, 28), dtype=np.uint8)
    return fit(X=X[:8], y=[0, 1] * 4, unseen=X[6:], of=backbone(family), **changes)


def images_last_block():
    return images(adapt_blocks=1, rank=4)


def images_dinov2():
    return images("dinov2", rank=5, core="full", init_scale=0.0)


def roberta():
    return fit(of=backbone("roberta"), rank=6)


def deberta():
    return fit(of=backbone("deberta-v2"), adapt_blocks=1)


def gpt2():
    return fit(of=backbone("gpt2"), adapt_blocks=1)


def llama():
    return fit(of=backbone("llama"), rank=5)


def only_queries_pooled_by_cls():
    return fit(target_modules=["query", "value"], pooling="cls")


def partial_fit():
    clf = new(SVEClassifier, backbone(), **(EXPLICIT | SVE))
    clf.partial_fit(TEXTS[:6], TWO[:6], classes=["neg", "pos"])
    return clf.partial_fit(TEXTS[6:], TWO[6:]).predict_proba_members(UNSEEN)


def warm_start():
    clf = new(SVEClassifier, backbone(), warm_start=True, **(EXPLICIT | SVE | {"n_members": 1}))
    clf.fit(TEXTS, TWO)
    return clf.set_params(n_members=3).fit(TEXTS, TWO).predict_proba_members(UNSEEN)


def fine_tuned():
    clf = new(FineTunedClassifier, backbone(), **without("n_members"))
    return clf.fit(TEXTS, TWO).predict_proba_members(UNSEEN)


def deep_ensemble():
    return fit(DeepEnsembleClassifier, weight_decay=0.1)


def lora_ensemble():
    return fit(LoRAEnsembleClassifier, rank=2)


def batch_ensemble():
    return fit(BatchEnsembleClassifier)


def mc_dropout():
    clf = new(MCDropoutClassifier, backbone(), n_samples=4, **without("n_members"))
    return clf.fit(TEXTS, TWO).predict_proba_members(UNSEEN)


def laplace():
    how = without("n_members") | {"prior_precision": "marglik"}
    clf = new(LaplaceClassifier, backbone(), n_samples=4, **how)
    return clf.fit(TEXTS, THREE).predict_proba_members(UNSEEN)


CONFIGURATIONS = {
    function.__name__: function
    for function in (
        diagonal,
        diagonal_three_classes_weight_decay,
        leading_values_last_block,
        rank_by_share,
        banded,
        banded_all_values,
        full_core,
        full_core_pool,
        random_subspaces,
        freeze_out_banded,
        soft_labels_and_weights,
        early_stopping_class_weight,
        shared_batches_no_clip,
        pairs,
        table,
        images,
        images_last_block,
        images_dinov2,
        roberta,
        deberta,
        gpt2,
        llama,
        only_queries_pooled_by_cls,
        partial_fit,
        warm_start,
        fine_tuned,
        deep_ensemble,
        lora_ensemble,
        batch_ensemble,
        mc_dropout,
        laplace,
    )
}
