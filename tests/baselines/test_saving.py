"""Every baseline is saved, loaded and exported as SVEClassifier is."""

import numpy as np
import pytest
import torch

from sksve import baselines
from sksve.backbones import make_tiny_backbone
from sksve.persistence import class_named

NAMES = sorted(name for name in baselines.__all__ if name.endswith("Classifier"))
TEXTS = ["good film", "bad film it was", "the story was great", "dull and boring"] * 2


@pytest.fixture(scope="module")
def tiny():
    return make_tiny_backbone()


def fitted(name, tiny):
    if name == "LaplaceClassifier":
        pytest.importorskip("laplace")
    clf = getattr(baselines, name)(tiny, max_epochs=1, lr=1e-2, random_state=0) if (
        name != "LinearProbeClassifier"
    ) else baselines.LinearProbeClassifier(tiny, max_epochs=1, random_state=0)  # fmt: skip
    for few in ("n_samples", "n_members"):
        if few in clf.get_params():
            clf.set_params(**{few: 2})
    return clf.fit(TEXTS, ["neg", "pos"] * 4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test__saved_loaded_and_exported(name, tiny, tmp_path):
    clf = fitted(name, tiny)
    saved = clf.save_pretrained(tmp_path)
    again = class_named(name).from_pretrained(saved, backbone=tiny)
    np.testing.assert_array_equal(
        again.predict_proba_members(TEXTS), clf.predict_proba_members(TEXTS)
    )
    assert set(vars(again)) == set(vars(clf))
    if name in {"MCDropoutClassifier", "LaplaceClassifier"}:
        return  # their samples are not members with weights of their own
    member = len(clf.net_.member_ids) - 1
    batch = clf._tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        got = clf.to_torch(member)(batch["input_ids"], batch["attention_mask"]).softmax(dim=-1)
    np.testing.assert_allclose(got, clf.predict_proba_members(TEXTS)[member], atol=1e-5)
