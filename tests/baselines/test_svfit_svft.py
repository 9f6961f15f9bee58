"""One member of SVEClassifier is SVFit (`rank`) and SVFT (`core`), by value."""

import copy

import numpy as np
import pytest
import torch

from sksve import SVEClassifier, Training

SETTINGS = {
    "n_members": 1, "max_epochs": 3, "batch_size": 4, "lr": 0.05, "precision": "float64",
    "training": Training(init_scale=0.0, train_bias=False, head_lr=0.02), "random_state": 0,
}  # fmt: skip


def predictions(clf, weights, texts):
    """Of the plain model with these weights in place of its own, and the trained head."""
    model = copy.deepcopy(clf.backbone[0]).double().eval()
    head = clf.net_.module_.heads
    rows = []
    with torch.no_grad():
        for name, weight in weights.items():
            model.get_submodule(name).weight.copy_(weight)
        for text in texts:
            ids = torch.tensor([clf.backbone[1](text)["input_ids"]])
            pooled = model(ids).last_hidden_state[0].mean(0)
            rows.append((head.weight[0] @ pooled + head.bias[0]).softmax(-1).numpy())
    return np.stack(rows)


def layers(clf):
    model = clf.net_.module_.split.model
    for name in clf.adapter_report_.adapted:
        W = clf.backbone[0].get_submodule(name).weight.detach().double()
        U, S, Vh = torch.linalg.svd(W, full_matrices=False)
        layer = model.get_submodule(name)
        k = layer.U.shape[1]
        sign = torch.ones_like(S)  # signs of singular vectors are free
        sign[:k] = (U[:, :k] * layer.U).sum(0).sign()
        yield name, layer, W, U * sign, S, Vh * sign[:, None]


def test_svfit__leading_values_are_trained_and_the_residual_is_kept(tiny, texts, labels):
    r = 3
    clf = SVEClassifier(tiny, core="diagonal", rank=r, **SETTINGS).fit(texts, labels)
    weights = {}
    for name, layer, W, U, S, Vh in layers(clf):
        assert {n for n, _ in layer.named_parameters()} == {"values"}
        assert layer.values.shape == (1, r)
        residual = W - U[:, :r] @ torch.diag(S[:r]) @ Vh[:r]  # W_e of the paper
        sigma = S[:r] * (1.0 + layer.values[0].detach())  # its Sigma_r, after training
        assert (sigma - S[:r]).abs().max() > 1e-3
        weights[name] = U[:, :r] @ torch.diag(sigma) @ Vh[:r] + residual
    expected = predictions(clf, weights, texts)
    np.testing.assert_allclose(clf.predict_proba(texts), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("core", "d"), [("banded", 1), ("banded", 2), ("random", 1), ("top_k", 1)])
def test_svft__the_core_is_sigma_plus_a_sparse_matrix(core, d, tiny, texts, labels):
    clf = SVEClassifier(tiny, core=core, off_diagonals=d, rank=None, **SETTINGS).fit(texts, labels)
    weights = {}
    for name, layer, W, U, S, Vh in layers(clf):
        n = len(S)
        assert sum(p.numel() for p in layer.parameters()) == n * (2 * d + 1) - d * (d + 1)
        M = torch.zeros(n, n, dtype=torch.float64)
        for a, b, value in zip(*layer.entries(0), layer.values[0].detach()):
            assert abs(a - b) <= d or core != "banded"
            M[a, b] = value * (S[a] * S[b]).sqrt()
        off = M - torch.diag(M.diagonal())
        assert (off.abs().max() > 1e-3) == (d > 0)
        weights[name] = U @ (torch.diag(S) + M) @ Vh
        assert (weights[name] - W).abs().max() > 1e-3
    expected = predictions(clf, weights, texts)
    np.testing.assert_allclose(clf.predict_proba(texts), expected, rtol=0, atol=1e-9)
