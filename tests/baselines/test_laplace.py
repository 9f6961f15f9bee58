"""The last layer's posterior against laplace-torch's own last-layer Laplace on the whole network."""

import copy
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

laplace = pytest.importorskip("laplace", reason="the extra sksve[laplace] is not installed")

DRAWS = 1000
NOISE = "ignore:By default `link_approx` is `probit`"


class Network(nn.Module):
    """The fitted model as laplace-torch wants it: token ids in, logits out."""

    def __init__(self, clf):
        super().__init__()
        module = clf.net_.module_
        self.body = copy.deepcopy(clf.backbone[0]).double().eval()
        values = {n: v.detach() for n, v in module.split.member_values(0).items()}
        self.body.load_state_dict(values, strict=False)
        self.head = nn.Linear(16, len(clf.classes_)).double()
        with torch.no_grad():
            self.head.weight.copy_(module.heads.weight[0])
            self.head.bias.copy_(module.heads.bias[0])

    def forward(self, packed):
        ids, mask = packed[..., 0], packed[..., 1]
        tokens = self.body(input_ids=ids, attention_mask=mask).last_hidden_state
        weight = mask[..., None].double()
        return self.head((tokens * weight).sum(1) / weight.sum(1))


@pytest.mark.filterwarnings(NOISE)
@pytest.mark.parametrize(
    ("structure", "prior_precision"), [("full", "marglik"), ("kron", 2.5), ("diag", "marglik")]
)
def test_posterior__is_that_of_laplace_torch(structure, prior_precision, make, texts):
    y = np.array([0, 1, 2] * 4)
    clf = make(
        "laplace", hessian_structure=structure, prior_precision=prior_precision, n_samples=DRAWS
    ).fit(texts, y)
    batch = clf.backbone[1](texts, padding=True, return_tensors="pt")
    packed = torch.stack([batch["input_ids"], batch["attention_mask"]], dim=-1)
    learned = prior_precision == "marglik"
    oracle = laplace.Laplace(
        Network(clf),
        "classification",
        subset_of_weights="last_layer",
        hessian_structure=structure,
        prior_precision=1.0 if learned else prior_precision,
        last_layer_name="head",
    )
    oracle.fit(DataLoader(TensorDataset(packed, torch.tensor(y)), batch_size=12))
    if learned:
        oracle.optimize_prior_precision(method="marglik")
    assert clf.prior_precision_ == pytest.approx(float(oracle.prior_precision), rel=1e-6)

    # The heads' mean and covariance are those of the oracle's posterior, within the draws' error.
    draws = np.concatenate([clf.head_weight_.reshape(DRAWS, -1), clf.head_bias_], axis=1)
    mean = oracle.mean.detach().numpy()
    if structure == "full":
        covariance = oracle.posterior_covariance.detach().numpy()
    else:
        eye = torch.eye(len(mean), dtype=torch.float64)
        precision = oracle.posterior_precision
        covariance = (
            precision.bmm(eye, exponent=-1).detach().numpy()
            if structure == "kron"
            else np.diag(1.0 / precision.detach().numpy())
        )
    sd = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose((draws.mean(0) - mean) / sd, 0.0, rtol=0, atol=5 / DRAWS**0.5)
    correlation = np.cov(draws.T) / np.outer(sd, sd)
    np.testing.assert_allclose(
        correlation, covariance / np.outer(sd, sd), rtol=0, atol=5 / DRAWS**0.5
    )


@pytest.mark.filterwarnings(NOISE)
def test_members__are_the_heads_on_the_pooled_vectors(fitted, texts):
    clf = fitted("laplace")
    body = Network(clf).body
    for row, text in enumerate(texts[:4]):
        with torch.no_grad():
            ids = torch.tensor([clf.backbone[1](text)["input_ids"]])
            vector = body(ids).last_hidden_state[0].mean(0).numpy()
        logits = clf.head_weight_ @ vector + clf.head_bias_
        expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        got = clf.predict_proba_members(texts)[:, row]
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-9)


def test_sharp_prior__is_the_fine_tuned_model(make, texts, labels):
    clf = make("laplace", prior_precision=1e16).fit(texts, labels)
    plain = make("fine_tuned").fit(texts, labels).predict_proba(texts)
    for member in clf.predict_proba_members(texts):
        np.testing.assert_allclose(member, plain, rtol=0, atol=1e-6)


def test_missing_extra__is_named_before_anything_slow(make, texts, labels, monkeypatch):
    monkeypatch.setitem(sys.modules, "laplace", None)
    clf = make("laplace", backbone="no-such-backbone")
    with pytest.raises(ImportError, match=r"pip install .sksve\[laplace\]"):
        clf.fit(texts, labels)
