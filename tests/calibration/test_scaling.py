"""Vector, matrix, Dirichlet and ensemble temperature: their published losses, minimised otherwise."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime, minimize
from scipy.special import log_softmax, softmax

from sksve import CalibrationWarning
from sksve.calibration import (
    DirichletCalibration,
    EnsembleTemperatureScaling,
    MatrixScaling,
    StructuredMatrixScaling,
    TemperatureScaling,
    VectorScaling,
)
from sksve.calibration._losses import DiagonalLoss, MultinomialLoss
from sksve.metrics import negative_log_likelihood
from tests.calibration.problems import overconfident


def loss_of(logits, y, w):
    return -np.average(log_softmax(logits, axis=1)[np.arange(len(y)), y], weights=w)


def lowest(objective, start):
    """Minimise by BFGS with numerical gradients, and start again where it stopped."""
    for _ in range(3):
        found = minimize(objective, start, method="BFGS", options={"gtol": 1e-9})
        start = found.x
    return found


@pytest.fixture
def problem(rng):
    p, y = overconfident(rng, 300, 3, 2.5)
    return p, y, rng.uniform(0.2, 2, 300)


@pytest.mark.parametrize("input", ["proba", "logits"])
def test_vector__equals_its_published_loss_minimised_otherwise(rng, problem, input):
    p, y, w = problem
    z = np.log(p) if input == "proba" else np.log(p) + rng.normal(size=(300, 1))
    ours = VectorScaling(input=input).fit(p if input == "proba" else z, y, w)

    def objective(theta):
        return loss_of(z * theta[:3] + np.append(theta[3:], 0), y, w)

    found = lowest(objective, np.array([0.5, 0.5, 0.5, 0, 0]))
    assert objective(np.r_[ours.scale_, (ours.intercept_ - ours.intercept_[2])[:2]]) == (
        pytest.approx(found.fun, abs=1e-9)
    )
    np.testing.assert_allclose(ours.scale_, found.x[:3], atol=1e-4)
    offsets = np.append(found.x[3:], 0)
    np.testing.assert_allclose(ours.intercept_, offsets - offsets.mean(), atol=1e-4)
    expected = softmax(z * ours.scale_ + ours.intercept_, axis=1)
    np.testing.assert_allclose(ours.predict_proba(p if input == "proba" else z), expected)


@pytest.mark.parametrize(("reg_lambda", "reg_mu"), [(1e-3, None), (0.1, 0.01), (1e-2, 1.0)])
def test_dirichlet__equals_its_published_loss_minimised_otherwise(problem, reg_lambda, reg_mu):
    p, y, w = problem
    ours = DirichletCalibration(reg_lambda=reg_lambda, reg_mu=reg_mu).fit(p, y, w)
    mu = reg_lambda if reg_mu is None else reg_mu
    off = ~np.eye(3, dtype=bool)

    def objective(theta):
        matrix, b = theta[:9].reshape(3, 3), theta[9:]
        odir = reg_lambda * np.mean(matrix[off] ** 2) + mu * np.mean(b**2)
        return loss_of(np.log(p) @ matrix.T + b, y, w) + odir

    found = lowest(objective, np.r_[0.4 * np.eye(3).ravel(), np.zeros(3)])
    assert objective(np.r_[ours.coef_.ravel(), ours.intercept_]) == pytest.approx(
        found.fun, abs=1e-7
    )
    np.testing.assert_allclose(ours.coef_, found.x[:9].reshape(3, 3), atol=2e-3)
    expected = softmax(np.log(p) @ ours.coef_.T + ours.intercept_, axis=1)
    np.testing.assert_allclose(ours.predict_proba(p), expected)


@pytest.mark.parametrize("ridge", [1e-3, 0.1])
def test_matrix__equals_its_loss_minimised_otherwise(problem, ridge):
    p, y, w = problem
    ours = MatrixScaling(ridge=ridge).fit(p, y, w)
    identity = np.r_[np.eye(3).ravel(), np.zeros(3)]

    def objective(theta):
        logits = np.log(p) @ theta[:9].reshape(3, 3).T + theta[9:]
        return loss_of(logits, y, w) + ridge * ((theta - identity) ** 2).sum()

    found = lowest(objective, 0.5 * identity)
    theta = np.r_[ours.coef_.ravel(), ours.intercept_]
    assert objective(theta) == pytest.approx(found.fun, abs=1e-9)
    np.testing.assert_allclose(theta, found.x, atol=1e-4)


def test_matrix__strong_ridge_leaves_everything_as_it_is(problem):
    p, y, w = problem
    calibrated = MatrixScaling(ridge=1e6).fit(p, y, w).predict_proba(p)
    np.testing.assert_allclose(calibrated, p, atol=1e-5)


@pytest.mark.parametrize(("kind", "d"), [(MultinomialLoss, 4), (DiagonalLoss, 2)])
def test_multinomial__derivatives_equal_finite_differences(rng, kind, d, monkeypatch):
    monkeypatch.setattr("sksve.calibration._losses.CELLS", 3000)  # several sweeps over the rows
    n = 2100  # more than the Hessian takes at a time
    x = rng.normal(size=(4 if d == 4 else 3, n))
    penalty, centre = rng.uniform(0, 1, (3, d)), rng.normal(size=(3, d))
    share = rng.dirichlet(np.ones(n))
    problem = kind(x, rng.integers(0, 3, n), share, penalty, centre)
    theta = rng.normal(size=3 * d)
    _, gradient = problem.value_and_gradient(theta)
    numeric = approx_fprime(theta, lambda t: problem.value_and_gradient(t)[0], 1e-7)
    np.testing.assert_allclose(gradient, numeric, atol=1e-5)
    columns = [
        approx_fprime(theta, lambda t, j=j: problem.value_and_gradient(t)[1][j], 1e-7)
        for j in range(theta.size)
    ]
    np.testing.assert_allclose(problem.hessian(theta), columns, atol=1e-5)


def test_dirichlet__many_classes_by_l_bfgs_reach_the_newton_optimum(rng, monkeypatch):
    p, y = overconfident(rng, 600, 5)
    newton = DirichletCalibration(reg_lambda=0.01).fit(p, y)
    monkeypatch.setattr("sksve.calibration._losses.DENSE", 0)
    first_order = DirichletCalibration(reg_lambda=0.01).fit(p, y)
    np.testing.assert_allclose(first_order.coef_, newton.coef_, atol=1e-3)
    np.testing.assert_allclose(first_order.predict_proba(p), newton.predict_proba(p), atol=1e-4)


def test_optimiser__that_stops_early_says_so(rng, monkeypatch):
    p, y = overconfident(rng, 200, 3, 6.0)
    monkeypatch.setattr("sksve.calibration._losses.LOOSE", 0.0)
    with pytest.warns(CalibrationWarning, match="stopped before its optimum") as caught:
        VectorScaling().fit(p, y)
    assert caught[0].filename == __file__


def test_ensemble_temperature__equals_a_grid_of_weights(rng):
    # Confident mistakes among right answers: no single temperature mends both.
    p, y = overconfident(rng, 500, 3, 1.5)
    y[:40] = rng.integers(0, 3, 40)
    w = rng.uniform(0.2, 2, 500)
    ours = EnsembleTemperatureScaling().fit(p, y, w)
    temperature = TemperatureScaling().fit(p, y, w)
    assert ours.temperature_ == temperature.temperature_
    tempered, rows = temperature.predict_proba(p), np.arange(500)

    def loss(first, second):
        mixed = first * tempered + second * p + (1 - first - second) / 3
        return -np.average(np.log(mixed[rows, y]), weights=w)

    grid = [
        (loss(a, b), a, b)
        for a in np.linspace(0, 1, 51)
        for b in np.linspace(0, 1, 51)
        if a + b <= 1 + 1e-12
    ]
    best, a, b = min(grid)
    found = loss(*ours.weights_[:2])
    assert best - 1e-3 < found <= best + 1e-12
    assert abs(ours.weights_[0] - a) < 0.05
    assert abs(ours.weights_[1] - b) < 0.05
    expected = ours.weights_ @ np.stack([tempered, p, np.full_like(p, 1 / 3)]).reshape(3, -1)
    np.testing.assert_allclose(ours.predict_proba(p).ravel(), expected, atol=1e-14)
    assert negative_log_likelihood(y, ours.predict_proba(p), sample_weight=w) < (
        negative_log_likelihood(y, tempered, sample_weight=w)
    )


def test_ensemble_temperature__is_the_best_mixture(rng):
    # Optimality on the simplex: every used part has the same mean ratio to the mixture, 1.
    p, y = overconfident(rng, 4000, 3, 1.5)
    y[:400] = rng.integers(0, 3, 400)
    share, rows = rng.dirichlet(np.ones(4000)), np.arange(4000)
    found = EnsembleTemperatureScaling().fit(p, y, share)
    tempered = softmax(np.log(p) / found.temperature_, axis=1)
    parts = np.stack([tempered[rows, y], p[rows, y], np.full(4000, 1 / 3)])
    ratios = parts @ (share / (found.weights_ @ parts))
    assert (ratios <= 1 + 1e-6).all()
    np.testing.assert_allclose(ratios[found.weights_ > 1e-6], 1, atol=1e-5)
    assert found.weights_.sum() == pytest.approx(1, abs=1e-12)


# probmetrics 1.3.0, get_calibrator("sms"): float32 logits and BFGS, so equal to about 1e-3.
SMS = {
    2: (60, [[0.45040, 0.54960], [0.05704, 0.94296], [0.68442, 0.31558], [0.79448, 0.20552]]),
    3: (
        60,
        [
            [0.23162, 0.03341, 0.73497], [0.50193, 0.17014, 0.32793], [0.60091, 0.18771, 0.21138],
            [0.47788, 0.19060, 0.33153],
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("c", SMS)
def test_structured_matrix__equals_probmetrics(c):
    rng = np.random.default_rng(c)
    n, expected = SMS[c]
    p, y = overconfident(rng, n, c)
    new, _ = overconfident(rng, 4, c)
    found = StructuredMatrixScaling().fit(p, y)
    np.testing.assert_allclose(found.predict_proba(new), expected, atol=5e-4)


def test_structured_matrix__equals_its_loss_minimised_otherwise(rng):
    p, y = overconfident(rng, 200, 3, 2.5)
    ours = StructuredMatrixScaling(strength=2.0).fit(p, y)
    tempered = TemperatureScaling().fit(p, y).predict_proba(p)
    z = np.log(tempered * 200 / 201 + 1 / 603)
    off = ~np.eye(3, dtype=bool)

    def objective(theta):
        matrix, b = theta[:9].reshape(3, 3), theta[9:]
        pull = ((np.diag(matrix) - 1) ** 2).sum() + (b**2).sum() + 2 * (matrix[off] ** 2).sum()
        return loss_of(z @ matrix.T + b, y, None) + 2.0 * 3 / 200 * pull

    found = lowest(objective, np.r_[np.eye(3).ravel(), np.zeros(3)])
    np.testing.assert_allclose(np.r_[ours.coef_.ravel(), ours.intercept_], found.x, atol=1e-4)
