"""Pooled vectors of a frozen backbone, against the model's own forward pass, one row at a time."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from sksve.backbones import Backbone, make_tiny_backbone
from sksve.preprocessing import BackboneFeatures, TabularToText
from tests.making import LABELS, TEXTS, name_of, temporary_tiny

ROWS = [*TEXTS, "", "good " * 20]


@pytest.fixture(scope="module")
def double(tiny):
    return BackboneFeatures(tiny, precision="float64").fit(ROWS)


def tokens_of(pair, texts):
    model, tokenizer = pair
    model = copy.deepcopy(model).double().eval()
    with torch.no_grad():
        return [model(**tokenizer(t, return_tensors="pt")).last_hidden_state[0] for t in texts]


@pytest.mark.parametrize(
    ("family", "pool"),
    [("bert", lambda t: t.mean(0)), ("mpnet", lambda t: t.mean(0)), ("gpt2", lambda t: t[-1])],
)
def test_vectors__are_those_of_a_plain_forward_pass(family, pool):
    pair = make_tiny_backbone(family)
    rows = [text for text in ROWS if text or family != "gpt2"]  # it has no token for an empty text
    expected = np.stack([pool(t).numpy() for t in tokens_of(pair, rows)])
    found = BackboneFeatures(pair, precision="float64").fit_transform(rows)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    single = BackboneFeatures(pair).fit_transform(rows)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, rtol=0, atol=1e-5)


def test_vectors__do_not_depend_on_batch_order_or_company(double):
    whole = double.transform(ROWS)
    for size in (1, 3, 100):
        found = clone(double).set_params(batch_size=size).fit_transform(ROWS)
        np.testing.assert_allclose(found, whole, rtol=0, atol=1e-12)
    order = np.random.default_rng(0).permutation(len(ROWS))
    found = double.transform([ROWS[i] for i in order])
    np.testing.assert_allclose(found, whole[order], rtol=0, atol=1e-12)
    np.testing.assert_allclose(double.transform([""]), whole[[-2]], rtol=0, atol=1e-12)
    assert np.isfinite(whole).all()


def test_normalize__gives_vectors_of_length_one_in_the_same_direction(double, tiny):
    found = BackboneFeatures(tiny, normalize=True, precision="float64").fit_transform(ROWS)
    plain = double.transform(ROWS)
    expected = plain / np.sqrt((plain**2).sum(axis=1))[:, None]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_backbone_options__pool_in_another_way(tiny):
    found = BackboneFeatures(Backbone(tiny, pooling="cls"), precision="float64").fit_transform(
        TEXTS
    )
    expected = np.stack([t[0].numpy() for t in tokens_of(tiny, TEXTS)])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_tables__are_read_as_texts(double, tiny):
    table = pd.DataFrame({"n": [1.0, None, 3.5], "what": ["good film", "dull", None]})
    found = BackboneFeatures(tiny, precision="float64").fit(table)
    assert found.input_kind_ == "table"
    assert found.feature_names_in_.tolist() == ["n", "what"]
    as_text = double.transform(TabularToText().fit_transform(table))
    np.testing.assert_allclose(found.transform(table), as_text, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(found.transform(table[["what", "n"]]), found.transform(table))


def test_images__are_the_class_token():
    model, processor = make_tiny_backbone("vit")
    X = np.random.default_rng(0).integers(0, 256, size=(5, 28, 28, 3), dtype=np.uint8)
    found = BackboneFeatures((model, processor), precision="float64", batch_size=2).fit_transform(X)
    pixels = processor(list(X), return_tensors="pt")["pixel_values"].double()
    with torch.no_grad():
        hidden = copy.deepcopy(model).double().eval()(pixels).last_hidden_state
    np.testing.assert_allclose(found, hidden[:, 0].numpy(), rtol=0, atol=1e-6)


def test_pipelines__take_it_as_any_transformer(double, tiny):
    table = pd.DataFrame({"text": TEXTS, "n": np.arange(12.0)}, index=np.arange(12) + 5)
    columns = make_column_transformer(
        (BackboneFeatures(tiny, precision="float64"), "text"), (StandardScaler(), ["n"])
    ).set_output(transform="pandas")
    found = columns.fit_transform(table)
    assert found.columns[0] == "backbonefeatures__backbonefeatures0"
    assert found.index.tolist() == table.index.tolist()
    np.testing.assert_allclose(found.iloc[:, :16], double.transform(TEXTS), rtol=0, atol=1e-12)
    model = make_pipeline(columns, LogisticRegression(C=1e3, max_iter=1000)).fit(table, LABELS)
    assert model.score(table, LABELS) == 1


def test_copies__give_the_same_vectors(double):
    expected = double.transform(ROWS)
    for twin in (
        pickle.loads(pickle.dumps(double)),
        copy.deepcopy(double),
        clone(double).fit(ROWS),
    ):
        np.testing.assert_array_equal(twin.transform(ROWS), expected)


def test_fit__leaves_the_backbone_and_the_former_fit_alone(tiny, double):
    before = copy.deepcopy(tiny[0].state_dict())
    features = BackboneFeatures(tiny).fit(pd.DataFrame({"a": [1, 2], "b": [3, 4]}))
    assert features.n_features_in_ == 2
    features.fit(TEXTS).transform(TEXTS)
    assert not hasattr(features, "n_features_in_")
    assert all(torch.equal(before[name], value) for name, value in tiny[0].state_dict().items())


def test_faults__are_named(double, tiny):
    with pytest.raises(ValueError, match=r"fitted on X of kind 'text'\. Got 'table'"):
        double.transform([[1, 2]])
    with pytest.raises(ValueError, match="The 'batch_size' parameter of BackboneFeatures must be"):
        BackboneFeatures(tiny, batch_size=0).fit(TEXTS)
    with pytest.raises(ValueError, match="'max_length' parameter must be at most"):
        BackboneFeatures(tiny, max_length=10**6).fit(TEXTS)
    with pytest.raises(ValueError, match="X must be a sequence of texts"):
        BackboneFeatures(tiny).fit("good film")


CHECKS = list(
    estimator_checks_generator(
        BackboneFeatures(temporary_tiny(n_blocks=1, max_positions=512), max_length=512)
    )
)


@pytest.mark.parametrize(("estimator", "check"), CHECKS, ids=[name_of(c) for _, c in CHECKS])
def test_check_estimator(estimator, check):
    check(estimator)


def test_check_estimator__the_checks_are_many():
    assert len(CHECKS) > 40
