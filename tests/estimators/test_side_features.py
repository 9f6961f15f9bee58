"""Tables whose text goes through the backbone and whose other columns join at the heads."""

import datetime
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import make_column_transformer
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sksve import PersistenceError, SVEClassifier, Training
from sksve.baselines import (
    FineTunedClassifier,
    LaplaceClassifier,
    LinearProbeClassifier,
    LoRAEnsembleClassifier,
)
from sksve.calibration import CalibratedClassifier
from sksve.preprocessing import TabularToText
from tests.making import new
from tests.private import member_streams

N = 60
NO_TEXT = pytest.mark.filterwarnings("ignore:X has no column of free text")


@pytest.fixture(scope="module")
def tickets():
    """The label follows the age and the channel; the text says nothing of it."""
    rng = np.random.default_rng(0)
    age, channel = rng.normal(40, 10, N), rng.choice(["mail", "phone", "chat"], N)
    y = np.where(age + 12 * (channel == "chat") + rng.normal(0, 3, N) > 44, "old", "young")
    return pd.DataFrame(
        {
            "text": [f"the order number {i} has not come yet" for i in range(N)],
            "channel": channel,
            "age": age,
            "vip": rng.random(N) > 0.5,
            "since": pd.date_range("2024-01-01", periods=N, freq="31h"),
        }
    ), y


@pytest.fixture(scope="module")
def fitted(tiny, tickets):
    return new(SVEClassifier, tiny, n_members=2, max_epochs=2, random_state=0).fit(*tickets)


def test__fit__learns_from_columns_that_the_text_does_not_know(fitted, tiny, tickets):
    X, y = tickets
    assert fitted.score(X, y) > 0.85
    assert fitted.input_kind_ == "table"
    assert fitted.feature_names_in_.tolist() == list(X.columns)
    assert "text: text; number: age, vip; date: since; category: channel" in repr(fitted.settings_)
    without = new(SVEClassifier, tiny, n_members=2, max_epochs=2, random_state=0)
    assert without.fit(X["text"], y).score(X["text"], y) < 0.75


def test__start__is_the_regression_on_row_weights_of_the_members_own(tiny, tickets):
    """With rates of (nearly) nothing, members are scikit-learn's solutions, at one of the strengths."""
    X, y = tickets
    still = Training(side_lr=None, head_lr=1e-12, head_init_scale=0.0)
    own = {"n_members": 3, "max_epochs": 1, "lr": 1e-12, "precision": "float64", "random_state": 0}
    clf = SVEClassifier(tiny, training=still, **own).fit(X, y)
    members, side = clf.predict_proba_members(X), clf.side_features_.transform(X)
    distances = []
    for C in [10 ** (k / 2) for k in range(-8, 3)]:
        expected = []
        for k in range(3):
            weight = member_streams(0, k).side.exponential(size=N)
            model = LogisticRegression(C=C, tol=1e-8, max_iter=1000)
            expected.append(model.fit(side, y, weight * N / weight.sum()).predict_proba(side))
        distances.append(np.abs(members - expected).max())
    assert min(distances) < 1e-3 < sorted(distances)[1]
    assert members.std(axis=0).max() > 0.01


@NO_TEXT
def test__no_text__members_are_regressions_and_the_backbone_is_not_run(tiny, tickets, monkeypatch):
    X, y = tickets[0].drop(columns="text"), tickets[1]

    model = tiny[0]
    forward = type(model).forward

    def refuse(self, input_ids=None, *args, **kwargs):
        assert len(input_ids) <= 2, "the backbone was run"  # two rows: what it can do is tried
        return forward(self, input_ids, *args, **kwargs)

    monkeypatch.setattr(type(model), "forward", refuse)
    clf = new(SVEClassifier, tiny, random_state=0).fit(X, y)
    assert clf.score(X, y) > 0.85
    members = clf.predict_proba_members(X)
    assert members.std(axis=0).max() > 1e-3
    assert len(clf.history_) == 1
    assert np.isfinite(clf.predict_uncertainty(X).total).all()
    one = clf.predict_proba(X.iloc[:1])
    np.testing.assert_allclose(one, clf.predict_proba(X)[:1], rtol=0, atol=1e-6)


def test__no_text__says_which_model_does_the_same(tiny, tickets):
    X, y = tickets
    with pytest.warns(UserWarning, match="LogisticRegression or HistGradientBoostingClassifier"):
        new(SVEClassifier, tiny, n_members=1).fit(X.drop(columns="text"), y)


@NO_TEXT
@pytest.mark.parametrize("with_text", [True, False])
def test__members__do_not_depend_on_their_number(tiny, tickets, with_text):
    X, y = tickets
    X = X if with_text else X.drop(columns="text")
    own = {"max_epochs": 1, "precision": "float64", "random_state": 3}
    three = new(SVEClassifier, tiny, n_members=3, **own).fit(X, y)
    one = new(SVEClassifier, tiny, n_members=1, warm_start=True, **own).fit(X, y)
    expected = three.predict_proba_members(X)
    np.testing.assert_allclose(one.predict_proba_members(X), expected[:1], rtol=0, atol=1e-6)
    one.set_params(n_members=3).fit(X, y)
    np.testing.assert_allclose(one.predict_proba_members(X), expected, rtol=0, atol=1e-6)
    first = three.first_members(2).predict_proba_members(X)
    np.testing.assert_allclose(first, expected[:2], rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test__containers__give_the_same_predictions(fitted, tickets):
    X, _ = tickets
    proba = fitted.predict_proba(X)
    same = {
        "shuffled": X[X.columns[::-1]],
        "extra": X.assign(more=1),
        "polars": pl.from_pandas(X),
        "arrow": pa.Table.from_pandas(X),
        "nullable": X.convert_dtypes(),
        "arrow dtypes": X.convert_dtypes(dtype_backend="pyarrow"),
        "categories": X.astype({"channel": "category"}),
        "dates as text": X.assign(since=X["since"].astype(str)),
        "array": X.to_numpy(dtype=object),
        "list": X.to_numpy(dtype=object).tolist(),
    }
    for name, other in same.items():
        got = fitted.predict_proba(other)
        np.testing.assert_allclose(got, proba, rtol=0, atol=1e-6, err_msg=name)


def test__new_rows__with_unseen_categories_and_gaps_are_answered(fitted, tickets):
    X = tickets[0].iloc[:4].astype(object)
    X.iloc[0, 1] = "fax"
    X.iloc[1, :] = None
    X.iloc[2, 2] = np.inf
    proba = fitted.predict_proba(X)
    assert np.isfinite(proba).all()
    alone = np.vstack([fitted.predict_proba(X.iloc[[i]]) for i in range(4)])
    np.testing.assert_allclose(alone, proba, rtol=0, atol=1e-5)


@NO_TEXT
def test__columns__of_gaps_alone(tiny, tickets):
    X, y = tickets
    clf = new(SVEClassifier, tiny, n_members=1, max_epochs=1, random_state=0)
    empty = clf.fit(X.assign(none=None, nan=np.nan), y)
    assert np.isfinite(empty.predict_proba(X.assign(none="a", nan=1.0))).all()


def test__two_texts__are_both_read(tiny, tickets):
    X, y = tickets
    X = X[["text", "age"]].assign(title=[f"where is my parcel {i}" for i in range(N)])
    clf = new(SVEClassifier, tiny, n_members=1, max_epochs=1, random_state=0).fit(X, y)
    assert "text: text, title; number: age" in repr(clf.settings_)
    before = clf.predict_proba(X)
    for name in ("text", "title"):
        assert np.abs(clf.predict_proba(X.assign(**{name: "bad"})) - before).max() > 1e-6


def test__none__is_rows_as_texts(tiny, tickets):
    X, y = tickets
    own = {"n_members": 1, "max_epochs": 1, "random_state": 0}
    none = new(SVEClassifier, tiny, side_features=None, **own).fit(X, y)
    serializer = new(SVEClassifier, tiny, serializer=TabularToText(), **own).fit(X, y)
    texts = list(TabularToText().fit_transform(X))
    expected = new(SVEClassifier, tiny, **own).fit(texts, y).predict_proba(texts)
    for clf in (none, serializer):
        assert not hasattr(clf, "side_features_")
        np.testing.assert_array_equal(clf.predict_proba(X), expected)


def columns(*more):
    return make_column_transformer(
        (StandardScaler(), ["age"]), (OneHotEncoder(handle_unknown="ignore"), ["channel"]), *more
    )


def test__transformer__makes_the_side_features(tiny, tickets):
    X, y = tickets
    clf = new(
        SVEClassifier, tiny, n_members=2, max_epochs=1, side_features=columns(), random_state=0
    )
    clf.fit(X, y)
    assert clf.score(X, y) > 0.85
    blind = X.assign(vip=~X["vip"])
    np.testing.assert_array_equal(clf.predict_proba(blind), clf.predict_proba(X))
    bad = clone(clf).set_params(side_features=TabularToText())
    with pytest.raises(ValueError, match="'side_features' transformer must turn 60 rows"):
        bad.fit(X, y)
    with pytest.raises(ValueError, match="'side_features' parameter of SVEClassifier must be"):
        clone(clf).set_params(side_features="yes").fit(X, y)
    with pytest.raises(ValueError, match=r"of a table\. Got X of kind 'text'"):
        clone(clf).fit(X["text"], y)


class Own(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X[["age"]].to_numpy() / 40


@NO_TEXT
@pytest.mark.parametrize("kind", ["auto", "transformer", "no text"])
def test__saved__predicts_the_same(kind, tiny, tickets, tmp_path):
    X, y = tickets
    X = X.drop(columns="text") if kind == "no text" else X
    side = columns() if kind == "transformer" else "auto"
    clf = new(SVEClassifier, tiny, n_members=2, max_epochs=1, side_features=side, random_state=0)
    clf.fit(X, y)
    proba = clf.predict_proba(X)
    again = SVEClassifier.from_pretrained(clf.save_pretrained(tmp_path / "m"), backbone=tiny)
    np.testing.assert_array_equal(again.predict_proba(X[X.columns[::-1]]), proba)
    assert again.settings_ == clf.settings_
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(clf)).predict_proba(X), proba)


def test__saved__a_transformer_of_ones_own_is_refused(tiny, tickets, tmp_path):
    clf = new(SVEClassifier, tiny, n_members=1, max_epochs=1, side_features=Own()).fit(*tickets)
    with pytest.raises(PersistenceError, match="Own"):
        clf.save_pretrained(tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test__calibrated__mixed_rows(fitted, tickets, tmp_path, tiny):
    X, y = tickets
    clf = CalibratedClassifier(clone(fitted), cv=2).fit(X, y)
    assert clf.feature_names_in_.tolist() == list(X.columns)
    proba = clf.predict_proba(X)
    np.testing.assert_allclose(clf.predict_proba(X[X.columns[::-1]]), proba, rtol=0, atol=1e-6)
    again = CalibratedClassifier.from_pretrained(clf.save_pretrained(tmp_path / "m"), backbone=tiny)
    np.testing.assert_array_equal(again.predict_proba(X), proba)
    assert cross_val_predict(clone(fitted), X, y, cv=2, method="predict_proba").shape == (N, 2)


RIVALS = [
    (LoRAEnsembleClassifier, {"n_members": 2, "rank": 2, "max_epochs": 1}),
    (FineTunedClassifier, {"max_epochs": 1}),
    (LinearProbeClassifier, {}),
    (LaplaceClassifier, {"n_samples": 20, "max_epochs": 1}),
]


@pytest.mark.slow
@NO_TEXT
@pytest.mark.parametrize(("cls", "own"), RIVALS, ids=[cls.__name__ for cls, _ in RIVALS])
@pytest.mark.parametrize("with_text", [True, False])
def test__rivals__take_columns_too(cls, own, with_text, tiny, tickets):
    if cls is LaplaceClassifier:
        pytest.importorskip("laplace", reason="the extra sksve[laplace] is not installed")
    X, y = tickets
    X = X if with_text else X.drop(columns="text")
    assert cls(tiny, random_state=0, **own).fit(X, y).score(X, y) > 0.8


@pytest.mark.slow
def test__further__and_soft_labels_and_early_stopping(fitted, tiny, tickets):
    X, y = tickets
    clf = pickle.loads(pickle.dumps(fitted))
    before = clf.predict_proba(X)
    clf.partial_fit(X, y)
    assert np.abs(clf.predict_proba(X) - before).max() > 1e-6
    soft = pd.DataFrame(
        {"old": np.where(y == "old", 0.9, 0.1), "young": np.where(y == "old", 0.1, 0.9)}
    )
    own = {"n_members": 1, "max_epochs": 2, "random_state": 0}
    assert new(SVEClassifier, tiny, **own).fit(X, soft).score(X, y) > 0.8
    stopped = new(SVEClassifier, tiny, early_stopping=True, **own).fit(X, y)
    assert stopped.score(X, y) > 0.8


def test__to_torch__takes_side_features(fitted, tickets):
    import torch

    X, _ = tickets
    batch = fitted._tokenizer(X["text"].tolist(), padding=True, return_tensors="pt")
    side = torch.as_tensor(fitted.side_features_.transform(X))
    with torch.no_grad():
        logits = fitted.to_torch(1)(batch["input_ids"], batch["attention_mask"], side_features=side)
    expected = fitted.predict_proba_members(X)[1]
    np.testing.assert_allclose(logits.softmax(dim=-1).numpy(), expected, rtol=0, atol=1e-5)


def test__dates__of_every_kind_are_the_same(tiny, tickets):
    X, y = tickets
    X = X[["text", "since"]]
    days = [datetime.datetime(2024, 1, 1) + datetime.timedelta(hours=31 * i) for i in range(N)]
    clf = new(SVEClassifier, tiny, n_members=1, max_epochs=1, random_state=0).fit(X, y)
    expected = clf.predict_proba(X)
    for since in (days, [d.isoformat() for d in days], np.array(days, dtype="datetime64[s]")):
        np.testing.assert_allclose(clf.predict_proba(X.assign(since=since)), expected, atol=1e-6)


def test__not_fitted(tiny, tickets):
    with pytest.raises(NotFittedError):
        new(SVEClassifier, tiny).predict(tickets[0])


@pytest.mark.parametrize("seed", range(3))
def test__noise__beside_a_text_hardly_moves_the_start(tiny, seed):
    """Columns that know nothing of the label: the strongest regularisation within one standard error."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({"text": [f"the order number {i} has not come" for i in range(200)]})
    X = X.assign(
        a=rng.normal(size=200), b=rng.exponential(size=200), c=rng.choice(list("xyz"), 200)
    )
    still = Training(side_lr=None, head_lr=1e-12, head_init_scale=0.0)
    clf = SVEClassifier(tiny, n_members=2, max_epochs=1, lr=1e-12, training=still, random_state=0)
    clf.fit(X, rng.integers(2, size=200))
    assert clf.predict_proba_members(X).std(axis=1).max() < 0.03
