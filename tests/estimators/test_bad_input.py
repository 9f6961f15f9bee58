"""Bad input: one clear error each, before any model is loaded."""

import array
import io
from collections import deque

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator

from sksve import BackboneNotFoundError, MemberSearchCV, SVEClassifier, predict_uncertainty
from sksve.baselines import LinearProbeClassifier
from sksve.calibration import CalibratedClassifier, SelectiveClassifier

T, Y = ["good", "bad", "great", "dull"], [1, 0, 1, 0]


def test__no_loading__would_be_noticed(no_loading, make):
    with pytest.raises(AssertionError, match="was loaded"):
        make().fit(T, Y)


BAD_X = {
    "empty-list": ([], [], ValueError, r"0 sample\(s\)"),
    "empty-array": (np.array([]), [], ValueError, r"0 sample\(s\)"),
    "empty-str-array": (np.array([], dtype=str), [], ValueError, r"0 sample\(s\)"),
    "empty-series": (pd.Series([], dtype=object), [], ValueError, r"0 sample\(s\)"),
    "empty-frame": (pd.DataFrame({"a": []}), [], ValueError, r"0 sample\(s\)"),
    "empty-table": (np.empty((0, 3)), [], ValueError, r"0 sample\(s\)"),
    "no-columns": (np.empty((4, 0)), Y, ValueError, r"0 feature\(s\)"),
    "lengths": (T, [1, 0, 1], ValueError, r"inconsistent numbers of samples.*4.*3"),
    "table-lengths": (np.zeros((4, 2)), [1, 0], ValueError, "inconsistent numbers of samples"),
    "one-str": ("good film", [1], ValueError, r"one bare str.*\[X\]"),
    "bytes": (b"good film", [1], ValueError, "one bare bytes"),
    "none": (None, Y, ValueError, "Expected 2D array"),
    "zero-d": (np.array("good film"), Y, ValueError, "Expected 2D array, got scalar"),
    "a-number": (3, Y, ValueError, "Expected 2D array"),
    "a-dict": ({"a": [1, 2, 3, 4]}, Y, ValueError, r"Got dict instead: pass pandas.DataFrame\(X\)"),
    "a-set": ({"good", "bad"}, [0, 1], ValueError, "Got set instead: pass a list"),
    "a-generator": ((t for t in T), Y, ValueError, r"Got generator instead: pass list\(X\)"),
    "an-iterator": (iter(T), Y, TypeError, r"Got list_iterator instead: pass list\(X\)"),
    "a-map": (map(str, T), Y, ValueError, r"Got map instead: pass list\(X\)"),
    "a-zip": (zip(T, T), Y, ValueError, r"Got zip instead: pass list\(X\)"),
    "dict-keys": (dict.fromkeys(T).keys(), Y, ValueError, r"Got dict_keys instead: pass list\(X\)"),
    "dict-values": ({1: "a"}.values(), Y, ValueError, r"Got dict_values instead: pass list\(X\)"),
    "a-file": (
        io.StringIO("good\nbad"),
        [0, 1],
        ValueError,
        r"Got StringIO instead: pass list\(X\)",
    ),
    "one-d-ints": ([1, 2, 3, 4], Y, ValueError, "Reshape your data"),
    "one-d-floats": (np.arange(4.0), Y, ValueError, "Reshape your data"),
    "one-d-bools": (np.array([True, False, True, False]), Y, ValueError, "Reshape your data"),
    "one-d-nan": (np.full(4, np.nan), Y, ValueError, "Reshape your data"),
    "one-d-series": (pd.Series([1, 2, 3, 4]), Y, ValueError, "Reshape your data"),
    "one-d-NA": (pd.Series([1, None, 3, 4], dtype="Int64"), Y, ValueError, "Reshape your data"),
    "one-d-range": (range(4), Y, ValueError, "Reshape your data"),
    "one-d-deque": (deque([1, 2, 3, 4]), Y, ValueError, "Reshape your data"),
    "one-d-stdlib": (array.array("d", [1, 2, 3, 4]), Y, ValueError, "Reshape your data"),
    "one-d-arrow": (pa.array([1, 2, None, 4]), Y, ValueError, "Reshape your data"),
    "text-none": (
        ["good", None, None, "dull"],
        Y,
        ValueError,
        r"missing text: row 1 is None \(missing in all: 2 of 4\)",
    ),
    "text-arrow": (pa.array([None, "a", "b", None]), Y, ValueError, "row 0 is None .*2 of 4"),
    "text-nan": (["good", np.nan, "a", "dull"], Y, ValueError, "missing text: row 1 is nan"),
    "text-NA": (
        pd.Series(["good", "bad", "a", pd.NA], dtype="string", index=list("abcd")),
        Y,
        ValueError,
        "missing text: row 3 is <NA>",
    ),
    "all-none": ([None] * 4, Y, ValueError, "missing text: row 0 is None"),
    "column-none": (
        pd.DataFrame({"a": ["good", None, "bad", "dull"]}, dtype=object),
        Y,
        ValueError,
        "missing text: row 1",
    ),
    "not-str": (["good", "bad", 3, "dull"], Y, (TypeError, ValueError), "Row 2 is int: 3"),
    "a-list-inside": (["good", ["bad"], "a", "b"], Y, (TypeError, ValueError), "Row 1 is list"),
    "bytes-inside": ([b"good", b"bad", b"a", b"b"], Y, (TypeError, ValueError), "Row 0 is bytes"),
    "numbers-first": ([3, "good", "bad", "a"], Y, (TypeError, ValueError), "Row 0 is int: 3"),
    "objects": ([object()] * 4, Y, (TypeError, ValueError), "Row 0 is object"),
    "sparse": (scipy.sparse.csr_array(np.eye(4)), Y, TypeError, "[Ss]parse"),
    "complex": (np.eye(4) * 1j, Y, ValueError, "Complex data not supported"),
    "three-d": (np.zeros((4, 2, 2)), Y, ValueError, "vision backbone"),
    "infinity": (np.array([[1.0], [np.inf], [2], [3]]), Y, ValueError, "infinity"),
    "ragged": ([[1, 2], [3], [4, 5], [6, 7]], Y, ValueError, "Row 0 has 2 cells, row 1 has 1"),
    "lone-surrogate": (["good", "bad \ud800", "a", "b"], Y, ValueError, "row 1"),
}


@pytest.mark.parametrize("case", BAD_X)
def test__fit__names_the_fault_of_X(case, no_loading, make):
    X, y, kind, words = BAD_X[case]
    with pytest.raises(kind, match=words):
        make().fit(X, y)


@pytest.mark.parametrize("case", [c for c in BAD_X if "lengths" not in c])
def test__predict__names_the_fault_of_X(case, fitted):
    X, _, kind, words = BAD_X[case]
    if case in {
        "no-columns",
        "complex",
        "infinity",
        "ragged",
        "column-none",
        "empty-frame",
        "empty-table",
    }:
        words = f"{words}|fitted on X of kind 'text'"  # the two faults of X come in either order
    with pytest.raises(kind, match=words):
        fitted.predict(X)


WRAPPERS = {
    "calibrated-frozen": lambda clf: CalibratedClassifier(FrozenEstimator(clf)),
    "calibrated-cv": lambda clf: CalibratedClassifier(clone(clf), cv=2),
    "selective-frozen": lambda clf: SelectiveClassifier(FrozenEstimator(clf), coverage=0.5),
    "selective-cv": lambda clf: SelectiveClassifier(clone(clf), coverage=0.5, cv=2),
    "search": lambda clf: MemberSearchCV(clone(clf), {"n_members": [1, 2]}, cv=2),
}


@pytest.mark.parametrize("case", [c for c in BAD_X if BAD_X[c][3].startswith("Got ")])
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test__wrappers__name_the_fault_of_X(wrapper, case, no_loading, fitted):
    X, y, kind, words = BAD_X[case]
    with pytest.raises(kind, match=words):
        WRAPPERS[wrapper](fitted).fit(X, y)


BAD_Y = {
    "missing": (None, {}, "requires y to be passed"),
    "one-class": (["a"] * 4, {}, "two classes.*'a'"),
    "one-class-left": (Y, {"sample_weight": [1, 0, 2, 0]}, "(?i)class"),
    "nan": ([1.0, 0.0, np.nan, 1.0], {}, "NaN"),
    "none": (["a", "b", None, "a"], {}, "None"),
    "NA": (pd.Series(["a", "b", pd.NA, "a"], dtype="string"), {}, "NaN|NA"),
    "continuous": ([0.5, 1.5, 0.1, 0.2], {}, "(?i)unknown label type|continuous"),
    "two-columns": (np.zeros((4, 2)), {}, "must hold soft labels"),
    "negative-weight": (Y, {"sample_weight": [1, -1, 1, 1]}, "[Nn]egative"),
    "nan-weight": (Y, {"sample_weight": [1, np.nan, 1, 1]}, "NaN"),
    "weight-length": (Y, {"sample_weight": [1, 1]}, r"sample_weight.shape"),
    "no-weight": (Y, {"sample_weight": [0, 0, 0, 0]}, "at least one non-zero"),
    "val-without-y": (Y, {"X_val": T}, "X_val and y_val"),
    "y-val-without-X": (Y, {"y_val": Y}, "X_val and y_val"),
    "unknown-label": (Y, {"X_val": T, "y_val": [0, 1, 2, 0]}, r"y_val holds labels.*\[2\]"),
    "val-length": (Y, {"X_val": T, "y_val": [0, 1]}, "inconsistent numbers of samples"),
    "val-kind": (Y, {"X_val": np.zeros((4, 2)), "y_val": Y}, "kind 'text'"),
    "val-empty": (Y, {"X_val": [], "y_val": []}, r"0 sample\(s\)"),
    "val-none": (Y, {"X_val": ["a", None, "b", "c"], "y_val": Y}, "row 1 is None"),
    "val-y-nan": ([0.0, 1.0, 0.0, 1.0], {"X_val": T, "y_val": [0.0, np.nan, 1.0, 1.0]}, "NaN|nan"),
}


@pytest.mark.parametrize("case", BAD_Y)
def test__fit__names_the_fault_of_y_and_weights(case, no_loading, make):
    y, more, words = BAD_Y[case]
    with pytest.raises(ValueError, match=words):
        make().fit(T, y, **more)


BAD_PARAMETERS = {
    "rank-0": ({"rank": 0}, "'rank' parameter of SVEClassifier must be .* Got 0 instead"),
    "rank-1.0": ({"rank": 1.0}, "'rank'.*Got 1.0 instead"),
    "rank-0.0": ({"rank": 0.0}, "'rank'.*Got 0.0 instead"),
    "rank-negative": ({"rank": -1}, "'rank'.*Got -1 instead"),
    "rank-True": ({"rank": True}, "'rank'.*Got True instead"),
    "rank-str": ({"rank": "all"}, "'rank'.*Got 'all' instead"),
    "members-0": ({"n_members": 0}, "'n_members'.*Got 0 instead"),
    "members-True": ({"n_members": True}, "'n_members'.*Got True instead"),
    "members-float": ({"n_members": 2.0}, "'n_members'.*Got 2.0 instead"),
    "pool-0": ({"rank": 1, "direction_pool": 0}, "'direction_pool' parameter .* Got 0 instead"),
    "pool-without-rank": (
        {"rank": None, "direction_pool": 4},
        "'direction_pool' .* with rank=None",
    ),
    "pool-of-a-share": ({"rank": 0.5, "direction_pool": 4}, "an int .* with rank=0.5"),
    "pool-below-rank": ({"rank": 5, "direction_pool": 4}, "Got direction_pool=4 with rank=5"),
    "off-diagonals": ({"off_diagonals": -1}, "'off_diagonals'.*Got -1"),
    "off-diagonals-0": ({"core": "banded", "off_diagonals": 0}, r"'off_diagonals'.*\[1, inf\).*Got 0"),
    "adapt-blocks-0": ({"adapt_blocks": 0}, "'adapt_blocks'.*Got 0 instead"),
    "adapt-blocks-many": ({"adapt_blocks": 9}, "adapt_blocks=9 .* int up to 2, or None"),
    "lr-0": ({"lr": 0.0}, "'lr'.*Got 0.0"),
    "lr-nan": ({"lr": np.nan}, "'lr'.*Got nan"),
    "lr-inf": ({"head_lr": np.inf}, "'head_lr'.*Got inf"),
    "warmup": ({"warmup": 1.5}, "'warmup'.*Got 1.5"),
    "fraction": ({"validation_fraction": 1.0}, "'validation_fraction'.*Got 1.0"),
    "batch-size": ({"batch_size": 0}, "'batch_size'.*Got 0"),
    "epochs": ({"max_epochs": 0}, "'max_epochs'.*Got 0"),
    "pooling": ({"pooling": "max"}, "'pooling'.*'cls'.*Got 'max'"),
    "precision": ({"precision": "half"}, "'precision'.*'float64'.*Got 'half'"),
    "batches": ({"shared_batches": "own"}, "'shared_batches'.*Got 'own'"),
    "class-weight": ({"class_weight": "even"}, "'class_weight'.*'balanced'.*Got 'even'"),
    "class-weight-negative": ({"class_weight": {0: -1.0, 1: 2.0}}, "class_weight.*-1.0"),
    "class-weight-unknown": ({"class_weight": {0: 1.0, 7: 2.0}}, "not in class_weight"),
    "n-jobs": ({"n_jobs": 0}, "'n_jobs'.*Got 0"),
    "seed": ({"random_state": -1}, "'random_state'.*Got -1"),
    "seed-bool": ({"random_state": True}, "'random_state'.*Got True"),
    "device": ({"device": "abacus"}, "'device'.*Got 'abacus'"),
    "device-number": ({"device": "cuda:99"}, "'device'.*Got 'cuda:99'"),
    "callbacks-one": ({"callbacks": "progress"}, "'callbacks'.*Got 'progress'"),
    "callbacks-item": ({"callbacks": [print]}, "'callbacks'.*print"),
    "serializer": ({"serializer": "json"}, "'serializer'.*Got 'json'"),
    "targets": (
        {"target_modules": ["qeury"]},
        r"(?s)\['qeury'\] matches no linear map.*attention\.self\.query",
    ),
    "targets-empty": ({"target_modules": []}, r"'target_modules'.*Got \[\]"),
    "targets-regex": ({"target_modules": "query("}, r"regular expression.*'query\('"),
    "max-length-0": ({"max_length": 0}, "'max_length'.*Got 0"),
    "max-length-129": ({"max_length": 129}, r"'max_length'.*at most 128.*Got 129"),
    "backbone-type": ({"backbone": 3}, "'backbone'.*Got 3"),
    "backbone-order": ({"backbone": ("a", "b")}, "'backbone'.*transformers model"),
    **{
        f"{name}-no-float": ({name: 10**400}, f"'{name}' parameter of (SVEClassifier|Training)")
        for name in (
            "lr", "head_lr", "init_scale", "head_init_scale", "weight_decay", "max_grad_norm",
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_PARAMETERS)
def test__fit__names_the_faulty_parameter(case, no_loading, make):
    changes, words = BAD_PARAMETERS[case]
    with pytest.raises(ValueError, match=words):
        make(**({"batch_size": 4} | changes)).fit(T, Y)


def test__fit__names_all_faulty_parameters_at_once(no_loading, make):
    with pytest.raises(ValueError, match=r"(?s)'lr'.*'n_members'.*'rank'") as info:
        make(rank=0, n_members=0, lr=-1).fit(T, Y)
    assert str(info.value).count("must be") == 3


def test__fit__lists_where_it_looked_for_a_backbone(no_loading):
    with pytest.raises(BackboneNotFoundError, match=r"(?s)Tried:.*folder.*cache") as info:
        SVEClassifier("no-such-model").fit(T, Y)
    assert "save_pretrained()" in str(info.value)


def test__fit__with_a_shape_that_no_split_can_hold(no_loading, make):
    with pytest.raises(ValueError, match="early_stopping=True holds out 1 of 4 rows"):
        make(early_stopping=True).fit(T, Y)


METHODS = [
    "predict", "predict_proba", "predict_log_proba", "decision_function", "predict_proba_members",
    "predict_uncertainty",
]  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("cls", [SVEClassifier, LinearProbeClassifier])
def test__methods__need_fit_first(method, cls):
    with pytest.raises(NotFittedError, match=f"This {cls.__name__} instance is not fitted yet"):
        getattr(cls(), method)(T)
    with pytest.raises(NotFittedError):
        cls().score(T, Y)
    with pytest.raises(NotFittedError):
        predict_uncertainty(cls(), T)


FAILURES = {
    "data": ({}, {"X": ["good", None], "y": [0, 1]}, ValueError),
    "parameter": ({"rank": 0}, {}, ValueError),
    "training": ({"lr": 1e300, "max_epochs": 2}, {}, FloatingPointError),
    "backbone": ({"backbone": "no-such-model"}, {}, ValueError),
    "max-length": ({"max_length": 1000}, {}, ValueError),
}


@pytest.mark.parametrize("case", FAILURES)
def test__failed_fit__leaves_the_fitted_estimator_as_it_was(case, make, texts, labels):
    changes, data, kind = FAILURES[case]
    clf = make(max_epochs=1).fit(texts, labels)
    before = vars(clf).copy()
    proba = clf.predict_proba(texts)
    old = clf.get_params(deep=False)
    clf.set_params(**changes)
    with pytest.raises(kind):
        clf.fit(**({"X": T, "y": Y} | data))
    np.testing.assert_array_equal(clf.predict_proba(texts), proba)
    clf.set_params(**{name: old[name] for name in changes})
    after = vars(clf)
    assert before.keys() == after.keys()
    assert all(before[name] is after[name] for name in before)


def test__failed_first_fit__leaves_the_estimator_unfitted(make):
    clf = make(lr=1e300)
    with pytest.raises(FloatingPointError):
        clf.fit(T, Y)
    assert not [name for name in vars(clf) if name not in clf.get_params()]


@pytest.mark.parametrize(
    "weight", [10**400, -1, float("nan"), float("inf"), "heavy", None, [1]], ids=repr
)
def test__class_weight__of_no_finite_number_is_refused(no_loading, make, weight):
    for y in (Y, np.eye(2)[Y]):  # labels, and soft labels
        with pytest.raises(ValueError, match="'class_weight' parameter must hold finite weights"):
            make(class_weight={0: 1.0, 1: weight}).fit(T, y)


def test__a_list_in_a_first_row_is_a_cell_as_in_any_other(make):
    rows = [[(1, 2), [1, [2]], 3], [1, 2, 3], [4, 5, 6], [7, 8, [9]]]
    clf = make(max_epochs=1, side_features=None).fit(rows, Y)
    expected = clf.predict_proba(rows)
    np.testing.assert_allclose(clf.predict_proba(rows[::-1]), expected[::-1], rtol=0, atol=1e-5)
    assert np.ptp(expected[:, 1]) > 0


def test__parameters__numpys_floats_are_floats(make):
    told = {"rank": 0.5, "init_scale": 0.25, "lr": 0.125, "validation_fraction": 0.5}
    plain = make(max_epochs=1, early_stopping=True, **told).fit(T, Y)
    numpys = make(
        max_epochs=1, early_stopping=True, **{k: np.float32(v) for k, v in told.items()}
    ).fit(T, Y)
    np.testing.assert_array_equal(numpys.predict_proba(T), plain.predict_proba(T))


def test__y_and_weights__that_are_no_column_of_numbers(no_loading, make):
    with pytest.raises(ValueError, match=r"y must hold one label per row\. Its rows"):
        make().fit(T, [[1], [0, 1], [1], [0]])
    with pytest.raises(ValueError, match="sample_weight must be finite"):
        make().fit(T, Y, sample_weight=np.array([10**400] * 4, dtype=object))
