"""Scores of foreign rows: scikit-learn as oracle, and definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from sksve.metrics import fpr_at_tpr, ood_aupr, ood_auroc

scores = st.lists(st.integers(0, 8).map(float), min_size=1, max_size=20)


@given(scores, scores)
def test_ood_scores__equal_scikit_learn_and_the_definitions(inside, outside):
    y = [0] * len(inside) + [1] * len(outside)
    both = inside + outside
    assert ood_auroc(inside, outside) == pytest.approx(roc_auc_score(y, both), abs=1e-12)
    pairs = [(b > a) + 0.5 * (a == b) for a in inside for b in outside]
    assert ood_auroc(inside, outside) == pytest.approx(np.mean(pairs), abs=1e-12)
    assert ood_aupr(inside, outside) == pytest.approx(average_precision_score(y, both), abs=1e-12)


@given(scores, scores, st.sampled_from([0.05, 0.5, 0.8, 0.95, 1.0]))
def test_fpr_at_tpr__equals_the_roc_curve(inside, outside, tpr):
    y = [0] * len(inside) + [1] * len(outside)
    fpr, found, _ = roc_curve(y, inside + outside, drop_intermediate=False)
    assert fpr_at_tpr(inside, outside, tpr=tpr) == pytest.approx(fpr[found >= tpr - 1e-9][0])


@given(scores, scores, st.integers(0, 99))
def test_ood_scores__weight_two_is_the_row_twice(inside, outside, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 4, len(inside)), rng.integers(0, 4, len(outside))
    a[0] = b[0] = 1
    twice = np.repeat(inside, a), np.repeat(outside, b)
    for metric in (ood_auroc, ood_aupr, fpr_at_tpr):
        ours = metric(inside, outside, sample_weight_in=a, sample_weight_out=b)
        assert ours == pytest.approx(metric(*twice), abs=1e-12)


def test_ood_scores__foreign_is_positive_and_larger_is_more_foreign():
    assert ood_auroc([0, 1], [2, 3]) == ood_aupr([0, 1], [2, 3]) == 1
    assert fpr_at_tpr([0, 1], [2, 3]) == 0
    assert ood_auroc([2, 3], [0, 1]) == 0
    assert fpr_at_tpr([2, 3], [0, 1]) == 1


def test_fpr_at_tpr__rounding_does_not_ask_for_one_row_more():
    # 0.95 * 20 is 19.000000000000004 in some orders of multiplication; 19 rows are enough.
    outside = np.arange(20, dtype=float)
    assert fpr_at_tpr([0.0, 0.5], outside, tpr=0.95) == 0


@pytest.mark.parametrize("metric", [ood_auroc, ood_aupr, fpr_at_tpr])
@pytest.mark.parametrize(
    ("inside", "outside", "message"),
    [
        ([], [1], r"score_in must have shape \(n_in,\) with at least one"),
        ([1], [[1]], r"score_out must have shape"),
        ([1, np.nan], [1], "score_in must be finite"),
        ([1], ["a"], "score_out must hold real numbers"),
    ],
)
def test_ood_scores__bad_scores_are_named(metric, inside, outside, message):
    with pytest.raises(ValueError, match=message):
        metric(inside, outside)
