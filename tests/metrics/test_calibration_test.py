"""Calibration tests: p-values uniform under calibration, powerful when off."""

import pickle

import numpy as np
import pytest
from scipy.stats import kstest, norm

from sksve.metrics import calibration_test, expected_calibration_error
from tests.metrics.strategies import draw_labels, tempered

TESTS = ["resampling", "spiegelhalter"]


@pytest.mark.parametrize("test", TESTS)
@pytest.mark.parametrize("c", [2, 5])
def test_calibration_test__pvalues_are_uniform_under_calibration(test, c):
    found = [
        calibration_test(
            *tempered(seed, 150, c=c),
            labels=range(c),
            test=test,
            n_resamples=199,
            random_state=seed,
        ).pvalue
        for seed in range(400)
    ]
    assert kstest(found, "uniform").pvalue > 0.01
    assert np.mean(np.array(found) < 0.05) < 0.09


@pytest.mark.parametrize("test", TESTS)
@pytest.mark.parametrize("temperature", [0.6, 1.8])
def test_calibration_test__finds_what_is_off(test, temperature):
    found = [
        calibration_test(
            *tempered(seed, 800, temperature), test=test, n_resamples=199, random_state=seed
        ).pvalue
        for seed in range(40)
    ]
    assert np.mean(np.array(found) < 0.05) > 0.9


def test_calibration_test__spiegelhalter_equals_the_binary_formula(rng):
    p = rng.uniform(size=500)
    y = rng.random(500) < p**1.2
    z = ((y - p) * (1 - 2 * p)).sum() / np.sqrt(((1 - 2 * p) ** 2 * p * (1 - p)).sum())
    result = calibration_test(y, p, test="spiegelhalter")
    assert result.statistic == pytest.approx(z, abs=1e-9)
    assert result.pvalue == pytest.approx(2 * norm.sf(abs(z)), abs=1e-9)


def test_calibration_test__spiegelhalter_is_the_standardised_brier_score():
    y, p = tempered(0, 200, c=4)
    rng = np.random.default_rng(0)
    drawn = [((p - np.eye(4)[draw_labels(p, rng)]) ** 2).sum() for _ in range(4000)]
    score = ((p - np.eye(4)[y]) ** 2).sum()
    z = calibration_test(y, p, test="spiegelhalter").statistic
    assert z == pytest.approx((score - np.mean(drawn)) / np.std(drawn), abs=0.1)


def test_calibration_test__spiegelhalter_of_sure_rows():
    assert calibration_test([0, 1], np.eye(2), test="spiegelhalter") == (0, 1)
    assert calibration_test([1, 0], np.eye(2), test="spiegelhalter") == (np.inf, 0)


def test_calibration_test__the_result_unpacks_names_its_test_and_pickles():
    y, p = tempered(0, 100)
    result = calibration_test(y, p, n_resamples=99, random_state=0)
    statistic, pvalue = result
    assert statistic == pytest.approx(expected_calibration_error(y, p), abs=1e-12)
    assert 1 / 100 <= pvalue <= 1
    assert result.test == "resampling"
    assert "test='resampling'" in repr(result)
    again = pickle.loads(pickle.dumps(result))
    assert again == result
    assert again.test == "resampling"


def test_calibration_test__a_calibrated_table_is_never_extreme():
    p = np.tile([0.7, 0.3], (10, 1))
    result = calibration_test([0] * 7 + [1] * 3, p, n_resamples=99, random_state=0)
    assert result.pvalue == 1


def test_calibration_test__weights_are_rows_with_labels_of_their_own():
    y, p = tempered(1, 200, 0.7)
    weight = np.random.default_rng(0).integers(1, 4, 200)
    twice = calibration_test(
        np.repeat(y, weight), np.repeat(p, weight, axis=0), n_resamples=4000, random_state=0
    )
    weighted = calibration_test(y, p, sample_weight=weight, n_resamples=4000, random_state=1)
    assert weighted.statistic == pytest.approx(twice.statistic, abs=1e-12)
    assert weighted.pvalue == pytest.approx(twice.pvalue, abs=0.04)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test": "ks"}, "'spiegelhalter'.*Got 'ks'"),
        ({"n_resamples": 0}, "'n_resamples' parameter of calibration_test"),
    ],
)
def test_calibration_test__bad_parameters_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        calibration_test([0, 1], [0.2, 0.8], **options)
