"""Layers and decompositions, backbones by name, loaders' parameters."""

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sksve import adapters, backbones, datasets, diagnostics
from tests.fuzz.harness import Source, attempt, fuzz
from tests.fuzz.values import junk

LAYERS = {
    "SVDLinear": "n_members rank core off_diagonals init_scale train_bias direction_pool",
    "LoRALinear": "n_members rank init_gain",
    "BatchEnsembleLinear": "n_members init_scale train_bias",
}


def _small(value: Any) -> bool:
    """Whether a number is not so large that it asks for memory."""
    integral = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    return not integral or abs(int(value)) < 99


@fuzz(*(f"adapters.{name}" for name in LAYERS), share=2)
def layer(source: Source, world: Any) -> None:
    kind = getattr(adapters, world.name)
    linear: Any = nn.Linear(source.int(1, 4), source.int(1, 4), bias=source.seldom(2))
    weight = linear.weight.data
    if source.seldom(6):
        weight.fill_(source.one_of([0.0, float("nan"), float("inf"), 1e38, 1e-45]))
    if source.seldom(8):
        linear = junk(source)
    told: dict[str, Any] = {"n_members": 2}
    if source.seldom(2):
        key, value = source.one_of(LAYERS[world.name].split()), junk(source)
        if key == "rank" or _small(value):
            told[key] = value
        if key == "direction_pool":
            told["rank"] = 1
    before = weight.clone()
    n = told.pop("n_members")
    done, made = attempt(kind.from_linear, linear, n, **told)
    assert torch.equal(weight, before) or bool(weight.isnan().any())
    if done:
        x = torch.randn(2 * made.n_members, made.in_features)
        out = made(x)
        assert out.shape == (2 * made.n_members, made.out_features)
        merged = made.merge(0)
        assert merged.weight.shape == (made.out_features, made.in_features)


def _matrix(source: Source) -> Any:
    normal = torch.from_numpy(source.rng.normal(size=(3, 4)))
    makers = {
        "normal": lambda: normal,
        "zero": lambda: torch.zeros(3, 4),
        "nan": lambda: torch.full((3, 4), float("nan")),
        "inf": lambda: torch.full((3, 4), float("inf")),
        "huge": lambda: torch.full((3, 4), 1e300, dtype=torch.float64),
        "tiny": lambda: torch.full((3, 4), 1e-310, dtype=torch.float64),
        "half": lambda: normal.half(),
        "ints": lambda: torch.arange(12).reshape(3, 4),
        "vector": lambda: torch.zeros(3),
        "three-d": lambda: torch.zeros(2, 3, 4),
        "empty": lambda: torch.zeros(0, 4),
        "rank-1": lambda: torch.ones(3, 4),
    }
    return source.build(makers)


@fuzz("adapters.decompose", "adapters.SVDCache")
def decomposed(source: Source, world: Any) -> None:
    weight = _matrix(source)
    cache = adapters.SVDCache(use_disk=False)
    call = adapters.decompose if world.name == "decompose" else cache.get
    done, found = attempt(call, weight)
    if done:
        U, S, Vh = found
        assert all(bool(torch.isfinite(part).all()) for part in found)
        scale = max(float(S[0]), 1e-300)
        again = (U * S) @ Vh / scale
        torch.testing.assert_close(again, weight.double() / scale, atol=1e-9, rtol=1e-9)


@fuzz("diagnostics.count_intruders", share=0.5)
def vectors(source: Source, world: Any) -> None:
    weight = torch.from_numpy(source.rng.normal(size=(3, 4)))
    U, _, _ = adapters.decompose(torch.from_numpy(source.rng.normal(size=(3, 4))))
    told = {source.one_of(["top", "threshold"]): junk(source)} if source.seldom(2) else {}
    done, found = attempt(diagnostics.count_intruders, weight, U, **told)
    if done:
        assert 0 <= found <= 3


# -- backbones -----------------------------------------------------------------------------------

NAMES = (
    *["", " ", "no-such-model", "../..", "/", "a/b", "a/b/c"],
    *["\0", "\ud800", "~", "x" * 5000, "a\nb", ".", "-"],
)
PATTERNS = (
    *["(", "query", ".*", "(a+)+$", "", "attention", "\ud800"],
    *[[], ["query"], ["no"], [3]],
)


@fuzz("backbones.resolve_backbone", share=0.5)
def resolve(source: Source, world: Any) -> None:
    given: Any = source.one_of(NAMES) if source.seldom(2) else junk(source)
    if source.seldom():
        model, tokenizer = world.tiny()
        given = source.one_of(
            [(model,), (tokenizer, model), (model, model), (model, None), [model, tokenizer], model,
             (model, tokenizer, 1), (None, None), Path("no/such"), (model, "name")]
        )  # fmt: skip
    attempt(backbones.resolve_backbone, given)


@fuzz("backbones.fetch_backbone", share=0.2)
def fetch(source: Source, world: Any) -> None:
    given: Any = source.one_of(NAMES) if source.seldom(2) else junk(source)
    done, _ = attempt(backbones.fetch_backbone, given)
    assert not done


@fuzz("backbones.plan_adaptation", share=0.5)
def plan(source: Source, world: Any) -> None:
    model, _ = world.tiny()
    told: dict[str, Any] = {}
    if source.seldom(2):
        told["adapt_blocks"] = junk(source)
    if source.seldom(2):
        told["target_modules"] = source.one_of(PATTERNS) if source.seldom(2) else junk(source)
    done, found = attempt(backbones.plan_adaptation, model, **told, watch=())
    if done:
        # No block: a probe, which adapts no matrix.
        assert bool(found.targets) == (told.get("adapt_blocks", 1) != 0)


@fuzz("backbones.Backbone", "backbones.as_backbone", "Backbone", share=0.1)
def backbone(source: Source, world: Any) -> None:
    """What cannot be refused without looking for it is refused when it is loaded."""
    given = world.tiny("vit") if not source.seldom() else junk(source)
    size = junk(source) if source.seldom(2) else source.int(7, 60)
    told: dict[str, Any] = {"image_size": size}
    if source.seldom(2):
        told["pooling"] = junk(source)
    wanted = backbones.Backbone(given, **told)
    done, checked = attempt(backbones.as_backbone, wanted)
    if done and isinstance(given, tuple) and _small(size):
        attempt(lambda: backbones.load_backbone(backbones.resolve_backbone(checked)))


# -- loaders -------------------------------------------------------------------------------------


@fuzz(*(f"datasets.{name}" for name in datasets.__all__), share=0.3)
def loader(source: Source, world: Any) -> None:
    """Parameters are checked before anything is fetched; here nothing can be."""
    call = getattr(datasets, world.name)
    names = [n for n in inspect.signature(call).parameters if n != "download_if_missing"]
    told = {source.one_of(names): junk(source) for _ in range(source.int(0, 2))}
    told.setdefault("data_home", world.empty_folder())
    if isinstance(told["data_home"], (str, Path, type(None))):
        told["data_home"] = world.empty_folder()
    done, _ = attempt(call, download_if_missing=False, **told)
    assert not done
