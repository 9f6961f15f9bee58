"""Rows and numbers of the evidence, by value."""

import numpy as np
import pytest

from benchmarks.evidence import data, score
from sksve.metrics import negative_log_likelihood


def test_draw__no_row_twice_and_few_are_the_first_of_many():
    y = np.repeat([0, 1, 2], [300, 190, 10])
    few, held_out = data.draw(y, 50, 100, seed=1)
    many, same = data.draw(y, 400, 100, seed=1)
    np.testing.assert_array_equal(held_out, same)
    np.testing.assert_array_equal(few, many[:50])
    assert len(np.unique(np.concatenate([many, held_out]))) == 500
    assert set(data.draw(y, 50, 100, seed=2)[0]) != set(few)
    assert (np.bincount(y[few], minlength=3) >= data.AT_LEAST).all()
    with pytest.raises(ValueError, match=r"450 \+ 100 rows asked for, there are 500"):
        data.draw(y, 450, 100, seed=1)


def test_pack__gives_back_the_losses():
    rng = np.random.default_rng(0)
    proba = rng.dirichlet([1, 1, 1], 101)
    y = rng.integers(0, 3, 101)
    got = score.unpack_rows(score.pack_rows(y, proba))
    np.testing.assert_allclose(got["nll"], -np.log(proba[np.arange(101), y]), rtol=5e-4, atol=1e-7)
    np.testing.assert_allclose(got["confidence"], proba.max(axis=1), rtol=5e-4)
    np.testing.assert_array_equal(got["correct"], proba.argmax(axis=1) == y)


def made(seed, n, m=3, c=4, sharp=4.0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, c, n)
    logits = rng.normal(size=(n, c)) + 1.5 * (y[:, None] == np.arange(c))
    logits = logits + 0.1 * rng.normal(size=(m, n, c))
    p = np.exp(sharp * logits)
    return p / p.sum(axis=-1, keepdims=True), y


def test_score__before_and_after_temperature_scaling():
    validation, y_validation = made(0, 400)
    test, y = made(1, 300)
    found = score.score_run(
        {"validation": validation, "test": test}, {"validation": y_validation, "test": y}
    )
    mean = test.mean(axis=0)
    before, after = found["test"]["before"], found["test"]["after"]
    assert before["nll"] == pytest.approx(negative_log_likelihood(y, mean))
    low, high = before["intervals"]["nll"]
    assert low < before["nll"] < high
    # Far too sure: one number mends much of it, and changes no answer.
    assert found["temperature"] > 1.5
    assert after["nll"] < before["nll"]
    assert after["ece"] < before["ece"]
    assert after["accuracy"] == before["accuracy"] == np.mean(mean.argmax(axis=1) == y)
    tempered = mean ** (1 / found["temperature"])
    tempered /= tempered.sum(axis=1, keepdims=True)
    assert after["nll"] == pytest.approx(negative_log_likelihood(y, tempered), rel=1e-6)
    for when, nll in (("before", before["nll"]), ("after", after["nll"])):
        assert score.unpack_rows(found["rows"][when])["nll"].mean() == pytest.approx(nll, rel=1e-3)


def test_score__foreign_rows_that_members_quarrel_over():
    agreed = np.tile([[0.9, 0.1]], (3, 50, 1))
    quarrel = np.array([[[0.95, 0.05]], [[0.05, 0.95]], [[0.95, 0.05]]]).repeat(20, axis=1)
    y = np.tile([0, 1], 25)
    parts = {"validation": agreed, "test": agreed, "foreign/far": quarrel}
    found = score.score_run(parts, {"validation": y, "test": y})
    assert found["foreign"]["far"]["mutual_information"] == {"auroc": 1.0, "fpr95": 0.0}
    assert found["diversity"]["pairwise_kl"] == pytest.approx(0.0, abs=1e-12)
    one = {name: p[:1] for name, p in parts.items()}
    found = score.score_run(one, {"validation": y, "test": y})
    assert found["foreign"]["far"]["mutual_information"] is None
    assert found["diversity"] is None


def test_score__human_shares():
    human = np.array([[1.0, 0.0], [0.5, 0.5], [0.75, 0.25]])
    members = np.array([[[0.9, 0.1], [0.5, 0.5], [0.6, 0.4]]])
    y = np.array([0, 1, 0])
    parts, labels = {"validation": members, "test": members}, {"validation": y, "test": y}
    found = score.score_run(parts, labels, human)["human"]
    cross = -(np.log(0.9) + np.log(0.5) + 0.75 * np.log(0.6) + 0.25 * np.log(0.4)) / 3
    assert found["before"]["cross_entropy"] == pytest.approx(cross)
    assert found["before"]["total_variation"] == pytest.approx((0.1 + 0.0 + 0.15) / 3)
    assert found["spearman_aleatoric"] == pytest.approx(1.0)
