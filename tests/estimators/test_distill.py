"""A student of the members' pooled probabilities."""

import numpy as np
import pandas as pd
import pytest

from sksve import SVEClassifier
from sksve.baselines import DeepEnsembleClassifier
from tests.making import new


def test_distill__is_a_fit_on_the_pooled_probabilities(make, fitted, texts):
    rows = [*texts, *(f"{a} {b}" for a, b in zip(texts, texts[::-1]))]
    student = fitted.distill(rows)
    soft = pd.DataFrame(fitted.predict_proba(rows), columns=fitted.classes_)
    by_hand = make(n_members=1).fit(rows, soft)
    np.testing.assert_array_equal(student.predict_proba(texts), by_hand.predict_proba(texts))
    assert student.classes_.tolist() == fitted.classes_.tolist()
    assert student.n_members == 1
    assert (student.predict_uncertainty(rows[:4]).novelty <= 1).all()
    assert fitted.n_members == 3


def test_distill__comes_near_the_teacher(tiny, texts, labels):
    teacher = new(
        SVEClassifier, tiny, n_members=3, max_epochs=15, lr=0.02, head_lr=0.02, random_state=0
    )
    teacher.fit(texts * 3, labels * 3)
    rows = [f"{a} {b}" for a in texts for b in texts[::3]]
    far = np.abs(teacher.predict_proba(rows) - 0.5).mean()
    student = teacher.distill(rows)
    assert np.abs(student.predict_proba(rows) - teacher.predict_proba(rows)).mean() < 0.5 * far


def test_distill__of_others(tiny, texts, labels):
    deep = new(DeepEnsembleClassifier, tiny, n_members=2, max_epochs=1, random_state=0)
    assert (
        deep.fit(texts, labels).distill(texts, n_members=2).predict_proba_members(texts).shape[0]
        == 2
    )
    with pytest.raises(ValueError, match="'n_members'"):
        deep.distill(texts, n_members=0)
