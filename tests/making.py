"""Classifiers from flat settings, as tests like to write them, and what they are fitted on."""

import atexit
import shutil
import tempfile

import pytest

from sksve import Training

# Unequal lengths, so that batches hold padding.
TEXTS = [
    "good film",
    "bad film",
    "the story was great and very fun",
    "the worst movie of all, dull and boring",
    "loved it",
    "hated it",
    "a best movie",
    "no story, poor plot than never",
    "great",
    "dull",
    "very good and fun to the most",
    "it is not good at all, it is bad",
]
LABELS = ["pos", "neg"] * 6


# Of SVEClassifier, where "auto" is not what a test is about: singular values of all blocks, moved by AdamW.
PLAIN = {
    "rank": None, "direction_pool": None, "adapt_blocks": None, "max_epochs": 4, "batch_size": 32,
    "lr": 3e-3, "weight_decay": 0.0, "head_lr": 0.01, "init_scale": 0.1, "head_init_scale": 0.01,
    "train_bias": True, "freeze_out": None,
}  # fmt: skip


def slow_but(cases, *kept):
    """The cases of a parametrised test, all but some of them slow: each is a fit or several."""
    assert {*kept} <= {*cases}
    each = [(c, c if isinstance(c, tuple) else (c,)) for c in cases]
    return [c if c in kept else pytest.param(*v, marks=pytest.mark.slow) for c, v in each]


def plain(settings):
    """Settings, with those of `PLAIN` where they say nothing."""
    core = "banded" if "off_diagonals" in settings else "diagonal"
    core = "full" if settings.get("optimizer") == "muon" else core
    more = {"core": core, "optimizer": "adamw"}
    more |= {"decay_to": "pretrained"} if settings.get("weight_decay") else {}
    return PLAIN | more | settings


def new(cls, backbone, **settings):
    """Make a classifier; options of `Training` and of `Backbone` stand among its own parameters."""
    from sksve.backbones import Backbone

    if cls.__name__ == "SVEClassifier":
        settings = plain(settings)
    names = ("pooling", "target_modules", "image_size")
    how = {name: settings.pop(name) for name in names if name in settings}
    options = {name: settings.pop(name) for name in Training().get_params() if name in settings}
    if options:
        settings["training"] = Training(**options)
    return cls(Backbone(backbone, **how) if how else backbone, **settings)


def save_tiny(folder, family="bert", **settings):
    """Save a tiny model and its tokenizer in a folder; return the folder."""
    from sksve.backbones import make_tiny_backbone

    for part in make_tiny_backbone(family, **settings):
        part.save_pretrained(folder)
    return folder


def temporary_tiny(**settings):
    """`save_tiny` in a folder that goes when Python ends."""
    folder = tempfile.mkdtemp(prefix="sksve-tiny-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return save_tiny(folder, **settings)


def name_of(check):
    """Name one of scikit-learn's checks, with its settings."""
    settings = "-".join(f"{k}={v}" for k, v in getattr(check, "keywords", {}).items())
    return "-".join(filter(None, (getattr(check, "func", check).__name__, settings)))
