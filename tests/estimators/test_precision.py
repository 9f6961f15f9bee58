"""What bfloat16 costs: probabilities of a bfloat16 pass stay near those of float32."""

import numpy as np
import torch

from sksve.inputs import tokenize
from sksve.training import TokenDataset, predict_logits, softmax64


def test__bfloat16__changes_probabilities_by_at_most_five_percent_points(make, texts, labels):
    clf = make(max_epochs=5, precision="float32").fit(texts, labels)
    rows = clf.predict_proba_members(texts)
    data = TokenDataset(tokenize(clf._tokenizer, texts, 128), dtype=torch.float32)
    for merge in (True, False):
        logits = predict_logits(clf.net_.module_, data, autocast=torch.bfloat16, merge=merge)
        change = np.abs(softmax64(logits) - rows).max()
        assert 0 < change <= 0.05


def test__bfloat16__training_ends_near_float32(make, texts, labels):
    exact = make(max_epochs=2, precision="float32").fit(texts, labels)
    low = make(max_epochs=2, precision="bfloat16").fit(texts, labels)
    assert {p.dtype for p in low.net_.module_.member_parameters()} == {torch.float32}
    change = np.abs(low.predict_proba(texts) - exact.predict_proba(texts)).max()
    assert 0 < change <= 0.1
