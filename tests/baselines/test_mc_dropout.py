"""MC dropout: masks by value, in training and in prediction."""

import copy

import numpy as np
import torch
from torch import nn

from sksve.adapters import FeatureDropout, dropout_layers
from sksve.training import sample_seeds


class Masked(nn.Module):
    """Multiplies by a mask that was drawn beforehand."""

    def __init__(self, mask):
        super().__init__()
        self.mask = mask
        self.p = 0.0

    def forward(self, x):
        return x if x.ndim == 4 else x * self.mask


def test_samples__equal_a_model_with_its_masks_written_in(fitted, texts):
    clf = fitted("mc_dropout")
    module = clf.net_.module_
    tuned = copy.deepcopy(clf.backbone[0]).double().eval()
    tuned.load_state_dict(
        {n: v.detach() for n, v in module.split.member_values(0).items()}, strict=False
    )
    heads = module.heads
    n_layers = len(dropout_layers(module))
    # Of two blocks: embeddings, three a block (one of them attention's, never called), and pooled.
    assert n_layers == 1 + 2 * 3 + 1
    for sample in range(clf.n_samples):
        seeds = sample_seeds(clf.settings_.random_state, sample, n_layers)
        masks = []
        for seed in seeds:
            g = torch.Generator().manual_seed(seed)
            masks.append((torch.rand(16, generator=g, dtype=torch.float64) >= 0.1).double() / 0.9)
        model = copy.deepcopy(tuned)
        places = [n for n, m in model.named_modules() if isinstance(m, nn.Dropout)]
        for place, mask in zip(places, masks):
            parent, _, child = place.rpartition(".")
            setattr(model.get_submodule(parent), child, Masked(mask))
        for row, text in enumerate(texts):
            with torch.no_grad():
                ids = torch.tensor([clf.backbone[1](text)["input_ids"]])
                vector = model(ids).last_hidden_state[0].mean(0) * masks[-1]
                expected = (heads.weight[0] @ vector + heads.bias[0]).softmax(-1).numpy()
            got = clf.predict_proba_members([text])[sample, 0]
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-9)
            if row == 2:
                break


def test_training__draws_masks(make, texts, labels):
    """With no rate to speak of, it is plain fine-tuning; with one, it is not."""
    plain = make("fine_tuned").fit(texts, labels).predict_proba(texts)
    almost = make("mc_dropout", dropout=1e-12).fit(texts, labels).predict_proba(texts)
    np.testing.assert_allclose(almost, plain, rtol=0, atol=1e-6)
    dropped = make("mc_dropout").fit(texts, labels)
    weights = (
        dropped.net_.module_.heads.weight
        - make("fine_tuned").fit(texts, labels).net_.module_.heads.weight
    )
    assert weights.abs().max() > 1e-4


def test_n_samples__may_be_changed_after_fit(make, texts, labels):
    clf = make("mc_dropout").fit(texts, labels)
    four = clf.predict_proba_members(texts)
    six = clf.set_params(n_samples=6).predict_proba_members(texts)
    np.testing.assert_allclose(six[:4], four, rtol=0, atol=1e-12)
    assert len(six) == 6


def test_last_block_only__drops_nothing_before_it(make, texts, labels):
    clf = make("mc_dropout", adapt_blocks=1).fit(texts, labels)
    module = clf.net_.module_
    model = module.split.model
    inside = {n for n, m in model.named_modules() if isinstance(m, FeatureDropout)}
    assert inside
    assert all(n.startswith("encoder.layer.1.") for n in inside)
    assert isinstance(model.embeddings.dropout, nn.Dropout)


def test_masks__are_silent_outside_prediction(fitted, texts):
    clf = fitted("mc_dropout")
    clf.predict_proba(texts)
    assert all(d.fixed is None and not d.active for d in dropout_layers(clf.net_.module_.eval()))
