"""Bootstrap intervals: coverage of known true values, and scipy as oracle."""

import itertools
from functools import partial

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, log_loss

from benchmarks.studies.interval_coverage import WAYS
from benchmarks.studies.interval_coverage import coverage as simulated_coverage
from sksve import metrics
from sksve.metrics import bootstrap_interval, expected_calibration_error
from tests.making import slow_but
from tests.metrics.strategies import problems, tempered

ERRORS = [
    expected_calibration_error,
    partial(expected_calibration_error, strategy="quantile"),
    partial(expected_calibration_error, norm="l2"),
    partial(metrics.debiased_calibration_error, strategy="uniform"),
    metrics.classwise_calibration_error,
    metrics.debiased_calibration_error,
    metrics.smooth_calibration_error,
]
ERROR_NAMES = ["ece", "quantile", "l2", "debiased-uniform", "classwise", "debiased", "smooth"]
OTHERS = [
    metrics.brier_score,
    metrics.negative_log_likelihood,
    metrics.aurc,
    metrics.eaurc,
    metrics.selective_accuracy,
    metrics.maximum_calibration_error,
]


draw = partial(tempered, c=4, sharpness=0.5)


def coverage(metric, true, n, temperature, simulations, n_resamples=200):
    held = 0
    for seed in range(simulations):
        y, p = draw([seed, n], n, temperature)
        low, high = bootstrap_interval(
            metric, y, p, labels=range(4), n_resamples=n_resamples, random_state=seed
        )
        held += low <= true <= high
    return held / simulations


@pytest.fixture(scope="module")
def population():
    """A million rows: what a metric tends to, by temperature."""
    return {t: draw(99, 10**6, t) for t in (0.9, 0.8, 0.6)}


@pytest.mark.parametrize("n", [300, 1500])
def test_bootstrap_interval__of_ece_covers_a_calibrated_models_zero(n):
    assert coverage(expected_calibration_error, 0.0, n, 1.0, 300) >= 0.93


@pytest.mark.parametrize(
    ("temperature", "n"),
    slow_but([*itertools.product([0.9, 0.8, 0.6], [300, 1500])], (0.9, 300), (0.6, 300)),
)
def test_bootstrap_interval__of_ece_covers_known_errors(n, temperature, population):
    true = expected_calibration_error(*population[temperature])
    assert 0.02 < true < 0.15
    assert coverage(expected_calibration_error, true, n, temperature, 300) >= 0.85


@pytest.mark.slow
@pytest.mark.parametrize("metric", ERRORS, ids=ERROR_NAMES)
@pytest.mark.parametrize("temperature", [1.0, 0.9, 0.6])
@pytest.mark.parametrize("n", [500, 3000])
def test_bootstrap_interval__coverage_of_every_calibration_error(
    metric, temperature, n, population
):
    true, least = 0.0, 0.93
    if temperature != 1:
        true = metric(*population[temperature])
        # 85 % is promised from an error of 0.02 on. Below, an error can lie where rows begin to tell
        # it from 0; classwise at 0.0126 and 3,000 rows was covered in 83.5 % of 200 draws.
        least = 0.85 if true >= 0.02 else 0.8
    assert coverage(metric, true, n, temperature, 200) >= least


@pytest.mark.parametrize("metric", ERRORS, ids=ERROR_NAMES)
def test_bootstrap_interval__reduced_coverage_of_every_calibration_error(metric):
    # A percentile interval holds 0 in none of them.
    assert coverage(metric, 0.0, 250, 1.0, 20, n_resamples=100) >= 0.8


@pytest.mark.parametrize("metric", [metrics.brier_score, metrics.aurc, metrics.selective_accuracy])
def test_bootstrap_interval__covers_other_metrics(metric, population):
    true = metric(*population[0.8])
    assert coverage(metric, true, 400, 0.8, 150, n_resamples=150) >= 0.88


# -- proportions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0.8, 0.95, 0.999])
@pytest.mark.parametrize(
    ("k", "n"), [(0, 1), (1, 1), (0, 30), (30, 30), (29, 30), (166, 171), (3, 2000)]
)
def test_bootstrap_interval__of_proportions_is_scipys_exact_one(k, n, level):
    y = np.repeat([1, 0], [k, n - k])
    p = np.linspace(0.9, 0.6, n)  # class 1 is always answered, and no confidences tie
    exact = scipy.stats.binomtest(k, n).proportion_ci(level, method="exact")
    for metric in (accuracy_score, partial(metrics.selective_accuracy, coverage=1)):
        found = bootstrap_interval(metric, y, p, labels=[0, 1], confidence_level=level)
        np.testing.assert_allclose(found, [exact.low, exact.high], rtol=0, atol=1e-12)


def test_bootstrap_interval__of_selective_accuracy_counts_the_answered_rows():
    y, p = draw(0, 200)
    answered = np.argsort(-p.max(axis=1))[:160]
    k = int((p.argmax(axis=1) == y)[answered].sum())
    exact = scipy.stats.binomtest(k, 160).proportion_ci(method="exact")
    found = bootstrap_interval(metrics.selective_accuracy, y, p)
    np.testing.assert_allclose(found, [exact.low, exact.high], rtol=0, atol=1e-12)
    report = metrics.calibration_report(y, p, n_resamples=10)
    assert tuple(report["selective_accuracy"])[1:] == pytest.approx(found, abs=1e-12)
    right = int((p.argmax(axis=1) == y).sum())
    exact = scipy.stats.binomtest(right, 200).proportion_ci(method="exact")
    assert tuple(report["accuracy"])[1:] == pytest.approx((exact.low, exact.high), abs=1e-12)


@pytest.mark.parametrize("scale", [1.0, 1e-9, 1e9 + 0.5])
def test_bootstrap_interval__of_weighted_proportions_has_kishs_rows(scale):
    y, p = draw(0, 200)
    weight = np.random.default_rng(0).uniform(0.2, 1.8, 200) * scale
    found = bootstrap_interval(accuracy_score, y, p, sample_weight=weight)
    n = weight.sum() ** 2 / (weight**2).sum()
    k = n * np.average(p.argmax(axis=1) == y, weights=weight)
    slow = scipy.stats.beta.ppf([0.025, 0.975], [k, k + 1], [n - k + 1, n - k])
    np.testing.assert_allclose(found, slow, rtol=0, atol=1e-12)


# -- means and areas -------------------------------------------------------------------------------


def slow_losses(metric, y, p):
    return {
        metrics.brier_score: ((p - np.eye(p.shape[1])[y]) ** 2).sum(axis=1),
        metrics.negative_log_likelihood: -np.log(p[np.arange(len(y)), y]),
    }[metric]


@pytest.mark.parametrize("metric", [metrics.brier_score, metrics.negative_log_likelihood])
@pytest.mark.parametrize("weighted", [False, True])
def test_bootstrap_interval__of_a_mean_equals_a_slow_loop(metric, weighted, rng):
    y, p = draw(0, 60)
    ranked = np.argsort(-p, axis=1)
    other = np.where(ranked[:, 0] == y, ranked[:, 1], ranked[:, 0])
    losses = np.column_stack([slow_losses(metric, y, p), slow_losses(metric, other, p)])
    weight = rng.uniform(0.2, 1.8, 60) if weighted else np.ones(60)
    one_row = (weight**2).sum() / weight.sum()
    lows, highs = [], []
    for _ in range(5000):
        w = np.append(weight * rng.exponential(size=60), one_row * rng.exponential())
        row = rng.choice(60, p=weight / weight.sum())
        lows.append(np.average(np.append(losses[:, 0], losses[row].min()), weights=w))
        highs.append(np.average(np.append(losses[:, 0], losses[row].max()), weights=w))
    slow = np.quantile(lows, 0.025), np.quantile(highs, 0.975)
    found = bootstrap_interval(
        metric, y, p, sample_weight=weight if weighted else None, n_resamples=20_000, random_state=1
    )
    np.testing.assert_allclose(found, slow, atol=0.06 * (slow[1] - slow[0]))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("metric", [metrics.aurc, metrics.eaurc])
def test_bootstrap_interval__of_an_area_equals_a_slow_loop(metric, ties, rng):
    y, p = draw(0, 40)
    if ties:
        p = (np.round(4 * p) + 0.1) / (np.round(4 * p) + 0.1).sum(axis=1, keepdims=True)
    conf, wrong = p.max(axis=1), p.argmax(axis=1) != y

    def area(w, e, group):
        """Each row of a group of ties has the group's error rate under these weights."""
        rate = np.bincount(group, w * e) / np.bincount(group, w)
        total = (w * np.cumsum(w * rate[group]) / np.cumsum(w)).sum() / w.sum()
        if metric is metrics.eaurc:
            right = w @ ~e
            tail = scipy.special.digamma(w.sum() + 1) - scipy.special.digamma(right + 1)
            total -= (w @ e - right * tail) / w.sum()
        return total

    order = np.argsort(-conf, kind="stable")
    group = np.unique(-conf[order], return_inverse=True)[1]
    lows, highs = [], []
    for _ in range(4000):
        w, e = rng.exponential(size=40), wrong[order]
        lows.append(area(w, e, group))
        rank = rng.integers(41)
        if not ties:  # the error splits no group of ties
            w, e = np.insert(w, rank, rng.exponential()), np.insert(e, rank, True)
            highs.append(area(w, e, np.arange(41)))
    low, high = bootstrap_interval(
        metric, y, p, n_resamples=10_000, random_state=1, labels=range(4)
    )
    assert low == pytest.approx(np.quantile(lows, 0.025), abs=0.06 * (high - low))
    if not ties:
        assert high == pytest.approx(np.quantile(highs, 0.975), abs=0.06 * (high - low))


def test_bootstrap_interval__of_losses_0_and_1_is_clopper_pearsons():
    y = np.repeat([0, 1], [92, 8])
    certain = np.tile([1.0, 0.0], (100, 1))
    exact = scipy.stats.binomtest(8, 100).proportion_ci(method="exact")
    found = bootstrap_interval(metrics.brier_score, y, certain, n_resamples=40_000, random_state=0)
    np.testing.assert_allclose(found, [2 * exact.low, 2 * exact.high], rtol=0.03)
    low, _ = bootstrap_interval(metrics.aurc, y, certain, n_resamples=40_000, random_state=0)
    assert low == pytest.approx(exact.low, rel=0.06), "all rows tie: the area is the error rate"


def test_bootstrap_interval__of_perfect_answers_leaves_room_for_an_error():
    """No row is wrong: resampled rows alone would say that none ever is."""
    p = np.tile([0.98, 0.01, 0.01], (100, 1))
    for metric in (metrics.negative_log_likelihood, metrics.brier_score, metrics.aurc):
        low, high = bootstrap_interval(metric, [0] * 100, p, labels=range(3), random_state=0)
        value = metric([0] * 100, p, labels=range(3))
        assert low == pytest.approx(value)
        assert high > value + 0.02
    assert bootstrap_interval(accuracy_score, [0] * 100, p, labels=range(3)) == (
        pytest.approx(0.025 ** (1 / 100)), 1.0,
    )  # fmt: skip


BY_ROWS = [accuracy_score, *OTHERS[:5]]


@pytest.mark.parametrize("metric", BY_ROWS, ids=lambda metric: metric.__name__)
@settings(max_examples=15)
@given(problem=problems(), seed=st.integers(0, 99))
def test_bootstrap_interval__neither_order_nor_names_nor_repetition_matter(metric, problem, seed):
    y, p = problem
    rng, c = np.random.default_rng(seed), p.shape[1]
    options = {"n_resamples": 20, "random_state": seed}
    found = bootstrap_interval(metric, y, p, labels=range(c), **options)
    mixed = rng.permutation(len(y))
    assert bootstrap_interval(metric, y[mixed], p[mixed], labels=range(c), **options) == (
        pytest.approx(found, abs=1e-12)
    )
    names = np.array(["eel", "ant", "cat", "bee", "dog"])[:c]
    assert bootstrap_interval(metric, names[y], p, labels=names, **options) == found
    weight = rng.integers(0, 4, len(y))
    weight[0] = 1
    counted = bootstrap_interval(metric, y, p, labels=range(c), sample_weight=weight, **options)
    twice = np.repeat(y, weight), np.repeat(p, weight, axis=0)
    assert counted == pytest.approx(
        bootstrap_interval(metric, *twice, labels=range(c), **options), abs=1e-12
    )
    equal = bootstrap_interval(
        metric, y, p, labels=range(c), sample_weight=np.full(len(y), 0.3), **options
    )
    assert equal == pytest.approx(found, abs=1e-9), "a weight that all rows share says nothing"


@pytest.mark.parametrize("metric", [metrics.negative_log_likelihood, metrics.aurc, metrics.eaurc])
def test_bootstrap_interval__of_many_rows_shares_weights(metric, monkeypatch):
    y, p = draw(0, 3000)
    whole = bootstrap_interval(metric, y, p, n_resamples=4000, random_state=0)
    monkeypatch.setattr("sksve.metrics._dirichlet.SINGLE_ROWS", 200)
    cells = bootstrap_interval(metric, y, p, n_resamples=4000, random_state=1)
    weight = np.full(3000, 0.4)
    weighted = bootstrap_interval(
        metric, y, p, n_resamples=4000, sample_weight=weight, random_state=2
    )
    for found in (cells, weighted):
        np.testing.assert_allclose(found, whole, atol=0.05 * (whole[1] - whole[0]))


def test_aurc__says_the_same_in_any_unit_of_weight(rng):
    y, p = draw(0, 100)
    weight = rng.uniform(0.2, 1.8, 100)
    for metric in (metrics.aurc, metrics.eaurc):
        value = metric(y, p, sample_weight=weight)
        assert metric(y, p, sample_weight=weight / weight.sum()) == pytest.approx(value, abs=1e-9)
        assert metric(y, p, sample_weight=np.full(100, 0.01)) == pytest.approx(
            metric(y, p), abs=1e-9
        )


# -- any callable ----------------------------------------------------------------------------------


def square_of_accuracy(y, p):
    return (y == p.argmax(axis=1)).mean() ** 2


def mean_loss(y, p):
    return -np.log(p[np.arange(len(y)), y]).mean()


@pytest.mark.parametrize("metric", [mean_loss, square_of_accuracy])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_bootstrap_interval__of_any_callable_is_scipys_bca(metric, level):
    y, p = draw(0, 100)
    theirs = scipy.stats.bootstrap(
        (np.arange(100),), lambda rows: metric(y[rows], p[rows]), method="BCa", vectorized=False,
        n_resamples=300, confidence_level=level, rng=np.random.default_rng(5),
    ).confidence_interval  # fmt: skip
    ours = bootstrap_interval(
        metric, y, p, n_resamples=300, confidence_level=level, random_state=np.random.default_rng(5)
    )
    assert ours == pytest.approx(tuple(theirs), abs=1e-9)


def test_bootstrap_interval__of_a_callable_that_never_changes_is_its_value():
    assert bootstrap_interval(lambda y, p: 0.25, [0, 1, 1], [0.2, 0.7, 0.9]) == (0.25, 0.25)
    assert bootstrap_interval(lambda y, p: y.mean(), [1], [0.7], labels=[0, 1]) == (1.0, 1.0)


@pytest.mark.parametrize("metric", [*ERRORS, *OTHERS])
def test_bootstrap_interval__holds_the_estimate_and_stays_in_range(metric):
    for temperature in (0.2, 1.0, 5.0):
        y, p = draw(3, 80, temperature)
        low, high = bootstrap_interval(
            metric, y, p, labels=range(4), n_resamples=60, random_state=0
        )
        top = {metrics.brier_score: 2, metrics.negative_log_likelihood: np.inf}.get(metric, 1)
        assert 0 <= low <= metric(y, p, labels=range(4)) <= high <= top


def test_bootstrap_interval__a_significant_error_has_a_low_end_above_zero():
    y, p = draw(0, 2000, 0.4)
    for metric in [*ERRORS, metrics.maximum_calibration_error]:
        low, _ = bootstrap_interval(metric, y, p, n_resamples=200, random_state=0)
        assert low > 0.02


def test_bootstrap_interval__labels_are_the_same_in_every_resample():
    """Three rows of 200 hold the third class: many resamples miss it."""
    rng = np.random.default_rng(0)
    y = np.array(["a", "b"])[rng.integers(0, 2, 200)].astype(object)
    y[:2] = "c"
    p = rng.dirichlet(np.ones(3), size=200)
    ours = bootstrap_interval(metrics.negative_log_likelihood, y, p, random_state=0)
    theirs = bootstrap_interval(log_loss, y, p, random_state=0)  # BCa: other ends of the same kind
    np.testing.assert_allclose(ours, theirs, rtol=0.15)


def test_bootstrap_interval__whole_weights_are_repeated_rows():
    y, p = draw(0, 150, 0.5)
    weight = np.random.default_rng(0).integers(1, 4, 150)
    for metric in (metrics.brier_score, *ERRORS[:5], metrics.aurc):
        ours = bootstrap_interval(
            metric, y, p, sample_weight=weight, n_resamples=1500, random_state=0
        )
        twice = bootstrap_interval(
            metric,
            np.repeat(y, weight),
            np.repeat(p, weight, axis=0),
            n_resamples=1500,
            random_state=1,
        )
        np.testing.assert_allclose(ours, twice, atol=0.15 * (twice[1] - twice[0]))


def test_bootstrap_interval__fractional_weights_stay_with_their_row():
    y, p = draw(0, 300, 0.5)
    weight = np.random.default_rng(0).uniform(0.5, 2, 300)
    for metric in [*ERRORS, metrics.brier_score]:
        low, high = bootstrap_interval(
            metric, y, p, sample_weight=weight, n_resamples=60, random_state=0
        )
        assert low <= metric(y, p, sample_weight=weight) <= high


def nan_without_class_three(y, p):
    return np.nan if (y != 3).all() else 1.0


@pytest.mark.parametrize(
    ("metric", "options", "message"),
    [
        ("ece", {}, "metric must be callable, for instance .* Got 'ece'"),
        (accuracy_score, {"confidence_level": 1.0}, "'confidence_level' parameter"),
        (accuracy_score, {"n_resamples": 1}, "'n_resamples' parameter"),
        (partial(expected_calibration_error, n_bins=0), {}, "'n_bins' parameter of expected"),
        (nan_without_class_three, {}, "metric returned NaN on [0-9]+ of 1000"),
        (lambda y, p: 1.0, {"sample_weight": np.ones(5)}, "takes no argument of that name"),
    ],
)
def test_bootstrap_interval__wrong_use_says_what_is_wrong(metric, options, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(metric, [0, 1, 2, 3, 0], np.eye(4)[[0, 1, 2, 3, 0]], **options)


# -- simulated coverage ----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("n", [100, 500])
@pytest.mark.parametrize("way", WAYS)
def test_bootstrap_interval__simulated_coverage(way, n):
    """At least 93 %, less two standard errors, at nominal 95: accuracy, NLL, Brier, AURC, with weights."""
    draws = 400
    for accuracy in (0.5, 0.9, 0.97, 0.99):
        found = simulated_coverage(WAYS[way], accuracy, n, draws=draws, n_resamples=400, seed=1)
        for name, cell in (found or {}).items():
            assert cell["coverage"] >= 0.93 - 2 * np.sqrt(0.93 * 0.07 / draws), (name, accuracy)


@pytest.mark.parametrize("way", ["overconfident", "weights by class"])
def test_bootstrap_interval__reduced_coverage_near_one(way):
    """Where the basic bootstrap held the true value in 77 % of draws."""
    found = simulated_coverage(
        WAYS[way], 0.97, 120, draws=60, n_resamples=200, truth_rows=100_000
    )  # fmt: skip
    assert all(cell["coverage"] >= 0.88 for cell in found.values())
