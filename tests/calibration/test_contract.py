"""What holds for every calibrator, one test per property."""

import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from sksve import CalibrationWarning
from sksve.calibration import CALIBRATORS, make_calibrator
from sksve.metrics import negative_log_likelihood
from tests.calibration.problems import overconfident, problems

NAMES = list(CALIBRATORS)
# Whose family holds the identity: the fitting rows cannot become less likely.
SCALING = ["temperature", "ensemble-temperature", "vector", "matrix", "dirichlet"]
MONOTONE = ["temperature", "ensemble-temperature"]
FAST = [name for name in NAMES if name not in ("bbq", "enir")]

every = pytest.mark.parametrize("name", NAMES)
every_fast = pytest.mark.parametrize("name", FAST)


def fitted(name, p, y, *args, **options):
    """Fit; a tiny problem may be at a bound, which is the warning's own test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibrationWarning)
        return make_calibrator(name).fit(p, y, *args, **options)


@pytest.mark.parametrize("name", FAST)
@given(problems())
def test_rows__are_probabilities_for_any_problem(name, problem):
    p, y = problem
    q = fitted(name, p, y, labels=range(p.shape[1])).predict_proba(p)
    assert q.shape == p.shape
    assert q.dtype == np.float64
    assert np.isfinite(q).all()
    assert (q >= 0).all()
    np.testing.assert_allclose(q.sum(axis=1), 1, atol=1e-12)


@pytest.mark.parametrize("name", ["bbq", "enir"])
@settings(max_examples=8)
@given(problems(max_rows=25))
def test_rows__are_probabilities_for_any_problem_with_netcal(name, problem):
    test_rows__are_probabilities_for_any_problem.hypothesis.inner_test(name, problem)


@pytest.mark.parametrize("name", SCALING)
@given(problems())
def test_loss__of_the_fitting_rows_is_never_worse(name, problem):
    p, y = problem
    labels = range(p.shape[1])
    weight = np.linspace(0.5, 2, len(y))
    calibrator = fitted(name, p, y, weight, labels=labels)
    options = {"labels": labels, "sample_weight": weight}
    after = negative_log_likelihood(y, calibrator.predict_proba(p), **options)
    assert after <= negative_log_likelihood(y, p, **options) + 1e-9


@pytest.mark.parametrize("name", SCALING)
def test_loss__of_new_rows_is_better_if_the_classifier_was_overconfident(rng, name):
    p, y = overconfident(rng, 1500, 4, 3.0)
    new, y_new = overconfident(rng, 1500, 4, 3.0)
    calibrated = make_calibrator(name).fit(p, y).predict_proba(new)
    before = negative_log_likelihood(y_new, new)
    assert negative_log_likelihood(y_new, calibrated) < before - 0.1


@pytest.mark.parametrize("name", MONOTONE)
@given(problems())
def test_argmax__never_changes(name, problem):
    p, y = problem
    q = fitted(name, p, y, labels=range(p.shape[1])).predict_proba(p)
    np.testing.assert_array_equal(q.argmax(axis=1), p.argmax(axis=1))


@every
@pytest.mark.parametrize("order", [[2, 0, 1], [1, 0]])
def test_classes__permuted_permute_the_output(rng, name, order):
    c, order = len(order), np.array(order)
    p, y = overconfident(rng, 120, c)
    plain = make_calibrator(name).fit(p, y, labels=range(c)).predict_proba(p)
    permuted = make_calibrator(name).fit(p[:, order], y, labels=order)
    np.testing.assert_allclose(permuted.predict_proba(p[:, order]), plain[:, order], atol=1e-6)
    np.testing.assert_array_equal(permuted.classes_, order)


@every
def test_rows__permuted_change_nothing(rng, name):
    p, y = overconfident(rng, 120, 3)
    order = rng.permutation(120)
    plain = make_calibrator(name).fit(p, y).predict_proba(p)
    permuted = make_calibrator(name).fit(p[order], y[order]).predict_proba(p)
    np.testing.assert_allclose(permuted, plain, atol=1e-6)


@every
def test_weights__two_equals_twice_and_zero_equals_absent(rng, name):
    p, y = overconfident(rng, 150, 3)
    weight = rng.integers(0, 4, 150)
    repeated = make_calibrator(name).fit(np.repeat(p, weight, axis=0), np.repeat(y, weight))
    weighted = make_calibrator(name).fit(p, y, weight)
    np.testing.assert_allclose(weighted.predict_proba(p), repeated.predict_proba(p), atol=1e-6)


@every_fast
def test_weights__their_scale_does_not_matter_and_a_class_of_weight_zero_keeps_its_column(
    rng, name
):
    p, y = overconfident(rng, 150, 3)
    weight = rng.uniform(0.1, 2, 150)
    one = make_calibrator(name).fit(p, y, weight).predict_proba(p)
    other = make_calibrator(name).fit(p, y, 1e4 * weight).predict_proba(p)
    np.testing.assert_allclose(other, one, atol=1e-6)
    found = fitted(name, p, y, (y != 1).astype(float))
    absent = fitted(name, p[y != 1], y[y != 1], labels=[0, 1, 2])
    np.testing.assert_allclose(found.predict_proba(p), absent.predict_proba(p), atol=1e-6)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in MONOTONE])
@pytest.mark.parametrize("input", ["proba", "logits"])
def test_absent_class__keeps_its_probability_and_the_others_are_calibrated_among_themselves(
    rng, name, input
):
    p, y = overconfident(rng, 200, 4)
    p = 0.99 * p + 0.01 / 4
    scores = p if input == "proba" else np.log(p) + rng.normal(size=(200, 1))
    kept, others = y != 2, [0, 1, 3]
    calibrator = make_calibrator(name, input=input)
    with pytest.warns(CalibrationWarning, match="No calibration row is of class 'c2'") as caught:
        calibrator.fit(scores[kept], [f"c{k}" for k in y[kept]], labels=["c0", "c1", "c2", "c3"])
    assert caught[0].filename == __file__
    assert calibrator.has_rows_.tolist() == [True, True, False, True]
    q = calibrator.predict_proba(scores)
    np.testing.assert_allclose(q[:, 2], p[:, 2], atol=1e-12)
    np.testing.assert_allclose(q.sum(axis=1), 1, atol=1e-12)
    among = scores[:, others]
    if input == "proba":
        among = among / among.sum(axis=1, keepdims=True)
    alone = make_calibrator(name, input=input).fit(among[kept], y[kept]).predict_proba(among)
    np.testing.assert_allclose(q[:, others], alone * (1 - p[:, [2]]), atol=1e-9)
    with pytest.raises(ValueError, match="labels="):
        make_calibrator(name).fit(p[kept], y[kept])


@every
def test_one_class_alone__teaches_nothing_of_classes(rng, name):
    p, _ = overconfident(rng, 30, 3)
    q = fitted(name, p, np.ones(30, dtype=int), labels=[0, 1, 2]).predict_proba(p)
    assert (q.argmax(axis=1) == p.argmax(axis=1)).all()
    if name not in MONOTONE:
        np.testing.assert_array_equal(q, p)


SLOW_TO_LEARN = {
    "matrix": "1,001,000 numbers from 1,001 rows.*VectorScaling",
    "dirichlet": "1,001,000 numbers from 1,001 rows.*VectorScaling",
    "venn-abers": "1,001,000 steps for 1,001 rows.*IsotonicCalibration",
    "bbq": "1,001,000 probabilities .1,001 rows.*IsotonicCalibration",
}


@pytest.mark.parametrize("name", SLOW_TO_LEARN)
def test_many_classes__that_would_take_minutes_are_refused_before_the_fit(rng, name):
    p, y = rng.dirichlet(np.ones(1000), size=1001), np.arange(1001) % 1000
    with pytest.raises(ValueError, match=SLOW_TO_LEARN[name]):
        make_calibrator(name).fit(p, y)


@every
def test_exact_zeros_and_ones__are_finite(rng, name):
    p = np.eye(3)[rng.integers(0, 3, 60)]
    y = np.where(rng.random(60) < 0.7, p.argmax(axis=1), rng.integers(0, 3, 60))
    found = make_calibrator(name).fit(p, y)
    q = found.predict_proba(np.eye(3))
    # A one-hot row names a class and nothing else: the best answer for it is the hit rate.
    rates = [np.mean(y[p[:, k] == 1] == k) for k in range(3)]
    if name in ("vector", "dirichlet"):
        np.testing.assert_allclose(np.diag(q), rates, atol=0.05)
    assert ((q > 0) & (q < 1)).any()
    assert np.isfinite(q).all()


@every
def test_float32__gives_the_float64_answer(rng, name):
    p, y = overconfident(rng, 300, 3)
    p = np.floor(p * 256)
    p[:, 0] = 256 - p[:, 1] - p[:, 2]
    p /= 256  # exact in both precisions
    double = make_calibrator(name).fit(p, y).predict_proba(p)
    single = make_calibrator(name).fit(p.astype(np.float32), y).predict_proba(p.astype(np.float32))
    assert single.dtype == np.float64
    np.testing.assert_array_equal(single, double)


@every
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_lower_precision__comes_near_the_float64_answer(rng, name, dtype):
    p, y = overconfident(rng, 300, 3)
    p = 0.9 * p + 0.1 / 3
    double = make_calibrator(name).fit(p, y).predict_proba(p)
    rounded = make_calibrator(name).fit(p.astype(dtype), y).predict_proba(p.astype(dtype))
    close = np.abs(rounded - double).max(axis=1) < (1e-4 if dtype is np.float32 else 0.05)
    # A row at the edge of a bin may change its bin.
    assert close.mean() > (0.97 if dtype is np.float32 or name in SCALING else 0.6)


@every
def test_binary__one_column_equals_two(rng, name):
    p, y = overconfident(rng, 120, 2)
    one = make_calibrator(name).fit(p[:, 1], y).predict_proba(p[:, 1])
    two = make_calibrator(name).fit(np.column_stack([1 - p[:, 1], p[:, 1]]), y).predict_proba(p)
    np.testing.assert_allclose(one, two, atol=1e-7)


@every
def test_logits__equal_the_probabilities_of_their_softmax(rng, name):
    p, y = overconfident(rng, 150, 3)
    p = 0.99 * p + 0.01 / 3
    proba = make_calibrator(name).fit(p, y).predict_proba(p)
    logits = make_calibrator(name, input="logits").fit(np.log(p), y).predict_proba(np.log(p))
    np.testing.assert_allclose(logits, proba, atol=1e-7)


@every
def test_input__is_never_guessed(rng, name):
    p, y = overconfident(rng, 60, 3)
    with pytest.raises(ValueError, match=r"sum to 1|not below 0"):
        make_calibrator(name).fit(np.log(p), y)
    as_logits = make_calibrator(name, input="logits").fit(p, y).predict_proba(p)
    as_proba = make_calibrator(name).fit(p, y).predict_proba(p)
    assert np.abs(as_logits - as_proba).max() > 1e-3


@every
def test_labels__of_any_kind_and_arguments_that_stay_as_they_are(rng, name):
    p, y = overconfident(rng, 90, 3)
    p[0] = [1, 0, 0]
    weight = rng.integers(1, 3, 90)
    for array in (p, y, weight):
        array.setflags(write=False)
    make_calibrator(name).fit(p, y, weight).predict_proba(p)
    words = np.array(["no", "maybe", "yes"])
    by_word = make_calibrator(name).fit(p, list(words[y]), labels=words)
    by_code = make_calibrator(name).fit(p, y)
    assert by_word.classes_.tolist() == ["no", "maybe", "yes"]
    np.testing.assert_array_equal(by_word.predict_proba(p), by_code.predict_proba(p))


@every
def test_frames__are_matched_by_the_names_of_their_columns(rng, name):
    p, y = overconfident(rng, 90, 3)
    words = np.array(["a", "b", "c"])
    expected = make_calibrator(name).fit(p, words[y]).predict_proba(p)
    mixed = pd.DataFrame(p, columns=words)[["c", "a", "b"]]
    by_name = make_calibrator(name).fit(mixed, words[y])
    assert by_name.classes_.tolist() == ["c", "a", "b"]
    for frame in (mixed, mixed[["b", "c", "a"]], pl.DataFrame(mixed), pa.table(mixed)):
        np.testing.assert_allclose(by_name.predict_proba(frame)[:, [1, 2, 0]], expected, atol=1e-6)
    in_order = make_calibrator(name).fit(mixed, words[y], labels=words)
    np.testing.assert_allclose(in_order.predict_proba(mixed), expected, atol=1e-12)
    with pytest.raises(ValueError, match=r"The columns of y_proba are named \['d', 'a', 'b'\]"):
        by_name.predict_proba(mixed.rename(columns={"c": "d"}))
    with pytest.raises(ValueError, match="series is named 'a'"):
        make_calibrator(name).fit(pd.Series(p[:, 0], name="a"), np.where(y == 0, "a", "b"))


KINDS = {
    "tensor": (lambda p: torch.tensor(p, requires_grad=True), torch.tensor),
    "masked": (np.ma.masked_array, np.ma.masked_array),
    "arrow": (lambda p: pa.table({f"{k}": p[:, k] for k in range(3)}), pa.array),
    "nullable": (
        lambda p: pd.DataFrame(p).astype("Float64"),
        lambda y: pd.Series(y, dtype="Int64"),
    ),
}


@pytest.mark.parametrize("name", ["temperature", "vector", "isotonic"])
@pytest.mark.parametrize("kind", KINDS)
def test_arrays_of_other_packages__are_read(rng, name, kind):
    p, y = overconfident(rng, 90, 3)
    as_scores, as_labels = KINDS[kind]
    expected = make_calibrator(name).fit(p, y).predict_proba(p)
    found = make_calibrator(name).fit(as_scores(p), as_labels(y))
    np.testing.assert_allclose(found.predict_proba(as_scores(p)), expected, atol=1e-12)
    if kind == "masked":
        with pytest.raises(ValueError, match="masked"):
            found.fit(np.ma.masked_greater(p, 0.9), y)


def test_bfloat16__is_read(rng):
    p, y = overconfident(rng, 200, 3)
    p = 0.9 * p + 0.1 / 3
    found = make_calibrator("vector").fit(torch.tensor(p).bfloat16(), y)
    expected = make_calibrator("vector").fit(p, y).predict_proba(p)
    np.testing.assert_allclose(found.predict_proba(p), expected, atol=0.02)


@every
def test_clone_pickle_repr__work(rng, name):
    p, y = overconfident(rng, 60, 3)
    found = make_calibrator(name).fit(p, y)
    params = found.get_params()
    copy = clone(found)
    assert copy.get_params() == params
    with pytest.raises(NotFittedError):
        copy.predict_proba(p)
    again = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(again.predict_proba(p), found.predict_proba(p))
    assert repr(clone(found)) == f"{type(found).__name__}()"


@every
def test_state__is_parameters_and_plain_numbers(rng, name):
    p, y = overconfident(rng, 60, 3)
    found = make_calibrator(name).fit(p, y)
    state = {key: value for key, value in vars(found).items() if key.endswith("_")}
    assert set(vars(found)) == set(state) | set(found.get_params())
    for value in state.values():
        assert type(value) in (float, np.ndarray) or (
            type(value) is list and all(type(item) is np.ndarray for item in value)
        )
    rebuilt = type(found)(**found.get_params())
    for key, value in state.items():
        setattr(rebuilt, key, value)
    np.testing.assert_array_equal(rebuilt.predict_proba(p), found.predict_proba(p))


@every_fast
def test_errors__of_shapes_leave_the_former_fit(rng, name):
    p, y = overconfident(rng, 60, 3)
    found = make_calibrator(name).fit(p, y)
    before = found.predict_proba(p)
    with pytest.raises(ValueError, match="same number of rows"):
        found.fit(p[:, :2] / p[:, :2].sum(axis=1, keepdims=True), y[:5])
    np.testing.assert_array_equal(found.predict_proba(p), before)
    with pytest.raises(ValueError, match="3 columns this calibrator was fitted with"):
        found.predict_proba(p[:, :2])
    with pytest.raises(ValueError, match="3 columns"):
        found.predict_proba(p[:, 0])
    with pytest.raises(ValueError, match="At least one row"):
        found.predict_proba(p[:0])
    with pytest.raises(ValueError, match="Row 1 holds NaN"):
        found.predict_proba([[0.2, 0.3, 0.5], [np.nan, 0.5, 0.5]])


def test_logits__must_be_finite():
    with pytest.raises(ValueError, match="Logits must be finite"):
        make_calibrator("temperature", input="logits").fit([[0.0, 1], [np.inf, 0]], [0, 1])


@pytest.mark.parametrize(
    ("name", "params", "words"),
    [
        ("temperature", {"input": "scores"}, "'input' parameter of TemperatureScaling"),
        ("matrix", {"ridge": 0}, "'ridge' parameter of MatrixScaling"),
        ("dirichlet", {"reg_lambda": -1}, "'reg_lambda' parameter"),
        ("dirichlet", {"reg_mu": "x"}, "'reg_mu' parameter"),
        ("histogram", {"n_bins": 0}, "'n_bins' parameter"),
        ("histogram", {"strategy": "x"}, "'strategy' parameter"),
        ("bbq", {"score_function": "bic!"}, "'score_function' parameter of BBQ"),
    ],
)
def test_parameters__are_checked(name, params, words):
    with pytest.raises(ValueError, match=words):
        make_calibrator(name, **params).fit([[0.5, 0.5], [0.2, 0.8]], [0, 1])


def test_make_calibrator__names_and_objects():
    assert NAMES[0] == "temperature"
    assert all(type(make_calibrator(name)) is CALIBRATORS[name] for name in NAMES)
    original = make_calibrator("histogram", n_bins=7)
    made = make_calibrator(original)
    assert made is not original
    assert made.n_bins == 7
    assert make_calibrator(original, n_bins=9).n_bins == 9
    assert original.n_bins == 7


@pytest.mark.parametrize("wrong", ["temprature", None, 3, CALIBRATORS["beta"]])
def test_make_calibrator__lists_the_names(wrong):
    with pytest.raises(ValueError, match=r"'temperature', 'ensemble-temperature', .* Got"):
        make_calibrator(wrong)


def test_histogram__rows_of_zeros_keep_their_probabilities(rng):
    p, y = overconfident(rng, 30, 3)
    found = make_calibrator("histogram").fit(p, y)
    found.values_ = [np.zeros_like(values) for values in found.values_]
    np.testing.assert_array_equal(found.predict_proba(p), p)
