"""Grids over a small data set, and made-up runs."""

from functools import partial
from itertools import product

import numpy as np
import pytest

from benchmarks.common.results import Table
from benchmarks.evidence import data, run, score, tables
from benchmarks.evidence.grid import read_config, work_off
from sksve.backbones import make_tiny_backbone

REAL = read_config("grid")


@pytest.fixture
def few_resamples(monkeypatch):
    """Fewer resamples: intervals are not what is tested."""
    quick = partial(score.bootstrap_interval, n_resamples=20)
    monkeypatch.setattr(score, "bootstrap_interval", quick)
    monkeypatch.setattr(tables, "N_RESAMPLES", 400)
    tables._resamples.cache_clear()
    yield
    tables._resamples.cache_clear()


@pytest.fixture
def evidence(few_resamples, monkeypatch, tmp_path):
    """Make a grid over a small data set from a config's stages and methods."""
    monkeypatch.setenv("SKSVE_CACHE", str(tmp_path / "cache"))

    def pools():
        human = np.stack([np.linspace(0, 1, 12), np.linspace(1, 0, 12)], axis=1)
        test = data.Rows(*sentences(12, 1))
        parts = {"other": data.Rows(*sentences(10, 2))}, {"far": data.Rows(sentences(9, 3)[0])}
        return data.Pools(data.Rows(*sentences(80, 0)), test, 2, *parts, human)

    monkeypatch.setitem(data.DATASETS, "toy", pools)
    data._pools.cache_clear()

    def make(methods, seeds=(0,)):
        config = {
            "results": "made",
            "members": 2,
            "backbones": {"text": make_tiny_backbone()},
            "rows": {"validation": 20, "test": 12, "foreign": 8},
            "shared": {"batch_size": 8, "max_epochs": 1},
            "tuning": {"rows": 16, "seeds": [0, 1]},
            "datasets": {"toy": {"max_length": 16}},
            "methods": {
                name: {
                    **small(spec),
                    "trials": [{"Cs": [1.0]}, {"Cs": [30.0]}]
                    if name == "probe"
                    else [{"head_lr": 1e-2}, {"head_lr": 1e-3}],
                    "then": [],
                    "last": [],
                }
                for name, spec in REAL["methods"].items()
            },
            "stages": [{"rows": 24, "seeds": list(seeds), "methods": list(methods)}],
        }
        return run.Evidence(config, tmp_path)

    yield make
    data._pools.cache_clear()


def small(spec):
    """The same method for a backbone of two blocks."""
    settings = dict(spec.get("settings", {}))
    if "adapt_blocks" in settings:
        settings["adapt_blocks"] = 1
    return {**spec, "settings": settings}


def finish(jobs):
    """Work jobs off; what was said."""
    said = []
    assert work_off(jobs, seconds=None, say=said.append), said
    return said


def sentences(n, seed, words=("good", "bad")):
    """Texts of one class or the other, a few with the other's word."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, len(words), n)
    said = np.where(rng.uniform(size=n) < 0.9, y, rng.integers(0, len(words), n))
    nouns = rng.choice(["film", "plot", "cast"], n)
    X = [f"{words[k]} {noun}" for k, noun in zip(said, nouns)]
    return np.array(X, dtype=object), y


SCORES: dict = {}


def scores_of(d, skill, seed):
    """Scores of a run whose members are the more often right the higher their skill."""
    if (d, skill, seed) not in SCORES:  # the same for all tests
        y = np.random.default_rng(d).integers(0, 2, 300)
        rng = np.random.default_rng([d, seed, 7])
        logit = 2.0 * (2 * y - 1) * skill + rng.normal(size=(2, 300))
        p = 1 / (1 + np.exp(-logit))
        members = np.stack([1 - p, p], axis=-1)
        foreign = np.full((2, 40, 2), 0.5)
        parts = {"validation": members, "test": members, "foreign/far": foreign}
        SCORES[d, skill, seed] = score.score_run(parts, {"validation": y, "test": y})
    return SCORES[d, skill, seed]


@pytest.fixture
def fabricate(few_resamples, tmp_path):
    """Fill a table with runs of methods of some skill."""

    def write(skills, datasets=("movie_reviews", "newsgroups", "credit"), seeds=(0, 1, 2),
              left=None, without=(), **cost):  # fmt: skip
        made = Table(tmp_path / "made.jsonl")
        for d, dataset in enumerate(datasets):
            for (method, skill), seed in product(skills.items(), seeds):
                name = f"{dataset}/{method}-n200-seed{seed}"
                if name in without or (left is not None and name not in left):
                    continue
                found = {
                    "dataset": dataset, "method": method, "rows": 200, "seed": seed,
                    "cost": {
                        "fit": {"cpu_seconds": 10.0 if method == "sve" else 40.0, "peak_megabytes": 5},
                        "predict_test": {"cpu_seconds": 1.0},
                        "trainable_without_heads": 50, "backbone_parameters": 10_000,
                        "saved_bytes": 1000 if method == "sve" else None,
                    } | cost,
                    "scores": scores_of(d, skill, seed),
                }  # fmt: skip
                made.put(name, found)
        return made

    return write
