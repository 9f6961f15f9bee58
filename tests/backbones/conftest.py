"""Tiny backbones of every family, made once: tests must not change what `pair_of` gives."""

import copy
from functools import cache

import pytest
import torch

from sksve.backbones import load_backbone, make_tiny_backbone, resolve_backbone
from tests.private import TINY_FAMILIES

FAMILIES = tuple(TINY_FAMILIES)


@cache
def _pair(family, n_blocks):
    return make_tiny_backbone(family, n_blocks=n_blocks)


@pytest.fixture
def pair_of():
    """family, n_blocks -> a (model, tokenizer) pair of the test's own."""
    return lambda family="bert", n_blocks=3: copy.deepcopy(_pair(family, n_blocks))


@pytest.fixture
def backbone_of():
    """family, n_blocks, dtype -> a LoadedBackbone."""

    def make(family="bert", n_blocks=3, dtype=torch.float32, **options):
        resolved = resolve_backbone(_pair(family, n_blocks))
        return load_backbone(resolved, dtype=dtype, **options)

    return make


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param
