"""Every family of backbones, every way of adapting one."""

import numpy as np
import pytest
import torch

from sksve.backbones import make_tiny_backbone
from tests.private import TINY_FAMILIES

SETTINGS = {"n_members": 2, "max_epochs": 1}


@pytest.mark.parametrize("family", TINY_FAMILIES)
@pytest.mark.parametrize(
    "changes",
    [{}, {"adapt_blocks": 1, "rank": 2, "off_diagonals": 1}],
    ids=["all", "last-block-band"],
)
def test__family__fits_and_predicts(family, changes, make, texts, labels):
    clf = make(make_tiny_backbone(family), **SETTINGS, **changes).fit(texts, labels)
    members = clf.predict_proba_members(texts)
    assert np.isfinite(members).all()
    assert np.abs(members[0] - members[1]).max() > 1e-4
    long = " ".join(["fun"] * 60)
    together = clf.predict_proba_members([*texts, long])[:, :12]
    np.testing.assert_allclose(together, members, rtol=0, atol=1e-9)  # padding
    blocks = {name.split(".")[-1] for name in clf.adapter_report_.adapted}
    assert len(blocks) >= 2


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ("all-linear", {"query", "key", "value", "dense"}),
        ("attention", {"query", "key", "value", "dense"}),
        ("mlp", {"dense"}),
        (["query", "value"], {"query", "value"}),
        (("key",), {"key"}),
        (r"encoder\.layer\.0\..*query", {"query"}),
    ],
)
def test__target_modules__are_the_ones_that_move(targets, expected, make, texts, labels):
    clf = make(target_modules=targets, **SETTINGS).fit(texts, labels)
    adapted = clf.adapter_report_.adapted
    assert {name.rpartition(".")[2] for name in adapted} == expected
    trained = {
        name.removeprefix("split.model.").rpartition(".")[0]
        for name, p in clf.net_.module_.named_parameters()
        if p.requires_grad and name.startswith("split.")
    }
    assert trained == set(adapted)
    assert set(clf.adapter_report_.skipped).isdisjoint(adapted)


def test__adapter_report__counts(make, tiny, texts, labels):
    clf = make(**SETTINGS, rank=3, train_bias=True, adapt_blocks=1).fit(texts, labels)
    report = clf.adapter_report_
    assert len(report.adapted) == 6
    assert set(report.ranks.values()) == {3}
    # rank 3 and a bias for each: four of 16, one of 32, one of 16 outputs; the head 2 x 16 + 2
    per_member = 6 * 3 + 5 * 16 + 32 + 34
    assert report.n_trainable_per_member == per_member
    assert report.n_trainable == 2 * per_member
    n_total = sum(p.numel() for p in tiny[0].parameters())
    assert report.n_total == n_total
    assert report.share_percent == pytest.approx(200 * per_member / n_total)
    assert report.n_bytes == 2 * per_member * 8  # float64


@pytest.mark.filterwarnings("ignore:rank=1000 is more:UserWarning")
@pytest.mark.parametrize(("rank", "expected"), [(None, 16), (5, 5), (1000, 16)])
def test__rank__is_capped_and_reported(rank, expected, make, texts, labels):
    clf = make(rank=rank, **SETTINGS).fit(texts, labels)
    assert set(clf.adapter_report_.ranks.values()) == {expected}


@pytest.mark.parametrize(
    ("rank", "pooling"),
    [(1, "mean"), (4, "mean"), (0.5, "mean"), (None, "mean"), (None, "cls"), (None, "last")],
)
def test__no_noise_no_training__is_the_backbone_itself(rank, pooling, make, tiny, texts, labels):
    tokenizer = tiny[1]
    clf = make(
        rank=rank, pooling=pooling, off_diagonals=1, init_scale=0.0, lr=1e-300, head_lr=1e-300,
        weight_decay=0.0, **SETTINGS,
    ).fit(texts, labels)  # fmt: skip
    head = clf.net_.module_.heads
    double = make_tiny_backbone()[0].double()
    for text in texts:
        with torch.no_grad():
            tokens = double(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
            vector = {"mean": tokens.mean(0), "cls": tokens[0], "last": tokens[-1]}[pooling]
            expected = torch.einsum("mcd,d->mc", head.weight, vector).softmax(-1)
        found = clf.predict_proba_members([text])[:, 0]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
