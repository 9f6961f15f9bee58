"""Isotonic, histogram, beta, BBQ and ENIR: scikit-learn and netcal (in float64) as oracles."""

import contextlib
import io
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression

from sksve.calibration import (
    BBQ,
    ENIR,
    BetaCalibration,
    HistogramBinning,
    IsotonicCalibration,
    VennAbers,
)
from tests.calibration.problems import overconfident


@contextlib.contextmanager
def netcal_quietly():
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
        np.errstate(all="ignore"),
    ):
        warnings.simplefilter("ignore")
        import netcal.binning
        import netcal.scaling

        yield netcal


@pytest.mark.parametrize("n_classes", [2, 4])
def test_isotonic__equals_isotonic_regression_per_class(rng, n_classes):
    p, y = overconfident(rng, 500, n_classes)
    new, _ = overconfident(rng, 300, n_classes)
    w = rng.uniform(0.1, 2, 500)
    columns = [
        IsotonicRegression(out_of_bounds="clip").fit(p[:, k], y == k, w).predict(new[:, k])
        for k in range(n_classes)
    ]
    raw = np.column_stack(columns)
    sums = raw.sum(axis=1, keepdims=True)
    expected = np.where(sums > 0, raw / np.where(sums > 0, sums, 1), new)
    ours = IsotonicCalibration().fit(p, y, w).predict_proba(new)
    np.testing.assert_allclose(ours, expected, atol=1e-13)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_histogram__equals_netcal(rng, n_classes):
    p, y = overconfident(rng, 800, n_classes)
    with netcal_quietly() as netcal:
        theirs = netcal.binning.HistogramBinning(10).fit(p, y).transform(p)
    ours = HistogramBinning(n_bins=10).fit(p, y).predict_proba(p)
    np.testing.assert_allclose(ours if n_classes > 2 else ours[:, 1], theirs, atol=1e-12)


@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_histogram__values_are_the_shares_in_the_bins(rng, strategy):
    p, y = overconfident(rng, 400, 3)
    w = rng.uniform(0.1, 2, 400)
    found = HistogramBinning(n_bins=7, strategy=strategy).fit(p, y, w)
    for k in range(3):
        edges = found.edges_[k]
        for b in range(len(edges) - 1):
            inside = (p[:, k] > edges[b]) & (p[:, k] <= edges[b + 1])
            if inside.any():
                share = np.average(y[inside] == k, weights=w[inside])
            else:
                share = (edges[b] + edges[b + 1]) / 2
            assert found.values_[k][b] == pytest.approx(share, abs=1e-12)
    if strategy == "quantile":
        assert [len(edges) for edges in found.edges_] == [8, 8, 8]


def test_histogram__an_empty_bin_has_its_midpoint():
    found = HistogramBinning(n_bins=4).fit([[0.9, 0.1], [0.05, 0.95]], [0, 1])
    np.testing.assert_allclose(found.values_[0], [0, 0.375, 0.625, 1])


def beta_problem(rng, a, b, c, n=1500):
    p = rng.beta(0.5, 0.7, n).clip(1e-6, 1 - 1e-6)
    return p, (rng.random(n) < expit(a * np.log(p) - b * np.log1p(-p) + c)).astype(int)


@pytest.mark.parametrize(
    "truth", [(0.6, 1.3, 0.4), (2.0, 0.5, -1.0), (-0.6, 1.3, -1.4), (1, -1, 0)]
)
def test_beta__equals_netcal_and_another_optimiser(rng, truth):
    p, y = beta_problem(rng, *truth)
    ours = BetaCalibration().fit(p, y)
    grid = np.linspace(0.01, 0.99, 99)
    with netcal_quietly() as netcal:
        theirs = netcal.scaling.BetaCalibration()
        theirs.fit(p, y)
        np.testing.assert_allclose(
            ours.predict_proba(grid)[:, 1], theirs.transform(grid), atol=2e-3
        )

    def loss(theta):
        logit = theta[0] * np.log(p) - theta[1] * np.log1p(-p) + theta[2]
        return np.mean(np.logaddexp(0, np.where(y == 1, -logit, logit)))

    found = minimize(
        loss,
        [0.7, 0.7, 0.1],
        method="SLSQP",
        bounds=[(0, None), (0, None), (None, None)],
        options={"ftol": 1e-15, "maxiter": 1000},
    )
    assert loss(ours.coef_[1]) == pytest.approx(found.fun, abs=1e-8)
    np.testing.assert_allclose(ours.coef_[1], found.x, atol=2e-3)
    assert (ours.coef_[:, :2] >= 0).all()


def test_beta__two_classes_mirror_each_other(rng):
    p, y = beta_problem(rng, 0.6, 1.3, 0.4)
    found = BetaCalibration().fit(p, y)
    np.testing.assert_allclose(found.coef_[0], found.coef_[1, [1, 0, 2]] * [1, 1, -1], atol=1e-6)
    q = expit(found.coef_[1] @ [np.log(0.3), -np.log(0.7), 1])
    assert found.predict_proba([0.3])[0, 1] == pytest.approx(q, abs=1e-7)


def test_beta__several_classes_are_one_against_the_rest(rng):
    p, y = overconfident(rng, 500, 3)
    found = BetaCalibration().fit(p, y)
    alone = [BetaCalibration().fit(p[:, k], y == k).coef_[1] for k in range(3)]
    np.testing.assert_allclose(found.coef_, alone, atol=1e-7)


@pytest.mark.parametrize("score_function", ["BIC", "AIC"])
def test_bbq__equals_netcal(rng, score_function):
    p, y = overconfident(rng, 300, 3)
    new, _ = overconfident(rng, 200, 3)
    with netcal_quietly() as netcal:
        theirs = netcal.binning.BBQ(score_function).fit(p, y).transform(new)
    ours = BBQ(score_function=score_function).fit(p, y).predict_proba(new)
    np.testing.assert_allclose(ours, theirs, atol=1e-9)


def test_enir__equals_netcal_where_its_groups_have_no_gap(rng):
    p, y = overconfident(rng, 300, 3)
    with netcal_quietly() as netcal:
        theirs = netcal.binning.ENIR().fit(p, y)
    ours = ENIR().fit(p, y)
    compared = 0
    for k, model in theirs._multiclass_instances:
        covered = np.ones(300, dtype=bool)
        for part in model._binning_models:
            low, high = part._group_bounds.T
            inside = (p[:, k, None] > low) & (p[:, k, None] <= high)
            covered &= inside.any(axis=1)
        mine = ours._map_class(k, p[covered, k])
        np.testing.assert_allclose(mine, model.transform(p[covered, k]), atol=1e-6)
        compared += covered.sum()
    assert compared > 300


def test_enir__has_no_zeros_in_gaps(rng):
    # netcal predicts 0 between groups that it merged three at a time: a third of these rows.
    p, y = beta_problem(rng, 0.6, 1.3, 0.4, n=600)
    q = ENIR().fit(p, y).predict_proba(p)[:, 1]
    assert (q[p > 0.9] > 0.3).all()
    assert np.corrcoef(q, p)[0, 1] > 0.7


def test_netcal__leaves_nothing_behind(rng, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    p, y = overconfident(rng, 60, 3)
    import torch

    before, torch_before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    for calibrator in (BBQ(), ENIR()):
        calibrator.fit(p, y)
        assert all(type(value).__module__ == "numpy" for value in calibrator.values_)
    assert capfd.readouterr() == ("", "")
    assert list(Path().iterdir()) == []
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_before)


@pytest.mark.parametrize("calibrator", [BBQ(), ENIR()], ids=["BBQ", "ENIR"])
def test_netcal__takes_whole_weights_and_missing_says_how_to_get_it(rng, calibrator, monkeypatch):
    p, y = overconfident(rng, 40, 3)
    with pytest.raises(ValueError, match="whole numbers as sample_weight only"):
        calibrator.fit(p, y, np.full(40, 0.5))

    for name in ("netcal", "netcal.binning", "netcal.binning.NearIsotonicRegression"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"sksve\[netcal\]"):
        calibrator.fit(p, y)


def test_enir__labels_that_already_increase(rng):
    p = np.linspace(0.05, 0.95, 20)
    found = ENIR().fit(p, (p > 0.5).astype(int)).predict_proba(p)
    np.testing.assert_array_equal(found[:, 1], (p > 0.5).astype(float))


# venn-abers 1.5.4: VennAbers().fit(p, y).predict_proba(new), predict_proba_prefitted_va(..., va_tpe=...).
VENN_ABERS = {
    (2, "one-vs-one"): [[1 / 2, 1 / 2], [1 / 7, 6 / 7], [6 / 11, 5 / 11], [0.8, 0.2]],
    (3, "one-vs-one"): [
        [0.3543352178187268, 0.08000101806751697, 0.5656637641137563],
        [0.5701451278507257, 0.1865929509329647, 0.2432619212163096],
        [0.6280018500290551, 0.1693488134909811, 0.20264933647996392],
        [0.416858336246711, 0.21749130586784918, 0.3656503578854398],
    ],
    (3, "one-vs-rest"): [
        [0.31271477663230235, 0.061855670103092786, 0.6254295532646049],
        [0.4399831826781585, 0.22098702840396198, 0.3390297889178796],
        [0.5783246568859443, 0.20018930430667298, 0.22148603880738288],
        [0.4373354507083455, 0.2220318442057754, 0.3406327050858791],
    ],
}


@pytest.mark.parametrize(("c", "strategy"), VENN_ABERS)
def test_venn_abers__equals_the_package_of_that_name(c, strategy):
    rng = np.random.default_rng(c)
    p, y = overconfident(rng, 60, c)
    new, _ = overconfident(rng, 4, c)
    found = VennAbers(strategy=strategy).fit(p, y).predict_proba(new)
    np.testing.assert_allclose(found, VENN_ABERS[c, strategy], atol=1e-12)


def test_venn_abers__is_two_isotonic_regressions_for_every_new_row(rng):
    p, y = beta_problem(rng, 0.6, 1.3, 0.4, n=40)
    p = p.round(1)  # ties
    new = np.r_[0.0, 1.0, p[:5], rng.random(20)]
    expected = []
    for s in new:
        p0, p1 = (
            IsotonicRegression().fit(np.append(p, s), np.append(y, label)).predict([s])[0]
            for label in (0, 1)
        )
        expected.append(p1 / (1 - p0 + p1))
    found = VennAbers().fit(p, y).predict_proba(new)[:, 1]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_venn_abers__many_classes_are_refused_before_the_fit(rng):
    p, y = rng.dirichlet(np.ones(1000), size=1001), np.arange(1001) % 1000
    with pytest.raises(ValueError, match=r"1,001,000 steps.*IsotonicCalibration"):
        VennAbers().fit(p, y)
