"""The scripts in benchmarks/ import each other by bare names, as scripts do."""

import importlib
import json
import sys
import tomllib
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from sksve.backbones import make_tiny_backbone

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
REAL = tomllib.loads((BENCHMARKS / "evidence.toml").read_text())


@pytest.fixture
def script(monkeypatch):
    """Import a script of benchmarks/; its bare names are forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module
    for name in set(sys.modules) - before:
        found = getattr(sys.modules[name], "__file__", None) or ""
        if Path(found).parent == BENCHMARKS:
            del sys.modules[name]


@pytest.fixture
def tables(script, monkeypatch):
    """Comparisons of runs, with few resamples."""
    module = script("_evidence_table")
    monkeypatch.setattr(module, "N_RESAMPLES", 400)
    return module


@pytest.fixture
def few_resamples(script, monkeypatch):
    """Let runs be judged with fewer resamples: their intervals are not what is tested."""
    score = script("_evidence_score")
    quick = partial(score.bootstrap_interval, n_resamples=20)
    monkeypatch.setattr(score, "bootstrap_interval", quick)


@pytest.fixture
def evidence(script, few_resamples, monkeypatch, tmp_path):
    """Make a grid over a small data set from a config's stages and methods."""
    monkeypatch.setenv("SKSVE_CACHE", str(tmp_path / "cache"))
    data, module = script("_evidence_data"), script("evidence")

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
                    "trials": [{"head_lr": 1e-2}, {"head_lr": 1e-3}],
                    "then": [],
                    "last": [],
                }
                for name, spec in REAL["methods"].items()
            },
            "stages": [{"rows": 24, "seeds": list(seeds), "methods": list(methods)}],
        }
        return module.Evidence(config, tmp_path)

    return make


def small(spec):
    """The same method for a backbone of two blocks."""
    settings = dict(spec.get("settings", {}))
    if "adapt_blocks" in settings:
        settings["adapt_blocks"] = 1
    return {**spec, "settings": settings}


def sentences(n, seed, words=("good", "bad")):
    """Texts of one class or the other, a few with the other's word."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, len(words), n)
    said = np.where(rng.uniform(size=n) < 0.9, y, rng.integers(0, len(words), n))
    nouns = rng.choice(["film", "plot", "cast"], n)
    X = [f"{words[k]} {noun}" for k, noun in zip(said, nouns)]
    return np.array(X, dtype=object), y


SCORES: dict = {}


@pytest.fixture
def fabricate(script, few_resamples, tmp_path):
    """Write runs whose members are the more often right the higher their skill."""
    score = script("_evidence_score")

    def scores(d, skill, seed):  # the same for all tests
        if (d, skill, seed) not in SCORES:
            y = np.random.default_rng(d).integers(0, 2, 300)
            rng = np.random.default_rng([d, seed, 7])
            logit = 2.0 * (2 * y - 1) * skill + rng.normal(size=(2, 300))
            p = 1 / (1 + np.exp(-logit))
            members = np.stack([1 - p, p], axis=-1)
            foreign = np.full((2, 40, 2), 0.5)
            parts = {"validation": members, "test": members, "foreign/far": foreign}
            SCORES[d, skill, seed] = score.score_run(parts, {"validation": y, "test": y})
        return SCORES[d, skill, seed]

    def write(
        skills,
        datasets=("movie_reviews", "newsgroups", "credit"),
        seeds=(0, 1, 2),
        left=None,
        **cost,
    ):
        for d, dataset in enumerate(datasets):
            for (method, skill), seed in product(skills.items(), seeds):
                path = tmp_path / dataset / f"{method}-n200-seed{seed}.json"
                if left is not None and f"{dataset}/{path.stem}" not in left:
                    continue
                run = {
                    "dataset": dataset, "method": method, "rows": 200, "seed": seed,
                    "cost": {
                        "fit": {"cpu_seconds": 10.0 if method == "sve" else 40.0, "peak_megabytes": 5},
                        "predict_test": {"cpu_seconds": 1.0},
                        "trainable_without_heads": 50, "backbone_parameters": 10_000,
                        "saved_bytes": 1000 if method == "sve" else None,
                    } | cost,
                    "scores": scores(d, skill, seed),
                }  # fmt: skip
                path.parent.mkdir(exist_ok=True)
                path.write_text(json.dumps(run))
        return tmp_path

    return write
