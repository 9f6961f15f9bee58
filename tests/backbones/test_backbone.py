"""What a user says of a backbone: a value object that search and clone understand."""

import pickle
from pathlib import Path

import pytest
from sklearn.base import clone
from sklearn.utils._param_validation import InvalidParameterError

import sksve
from sksve.backbones import (
    Backbone,
    as_backbone,
    load_backbone,
    make_tiny_backbone,
    plan_adaptation,
    resolve_backbone,
)


def test_backbone__is_a_value():
    backbone = sksve.Backbone("x", pooling="cls", target_modules=["query"], image_size=56)
    assert sksve.Backbone is Backbone
    assert repr(Backbone(source="x", pooling="cls")) == "Backbone(pooling='cls', source='x')"
    for twin in (clone(backbone), pickle.loads(pickle.dumps(backbone)), as_backbone(backbone)):
        assert twin == backbone
    assert backbone != Backbone("x", pooling="cls")
    assert backbone != "x"
    assert clone(backbone).set_params(pooling="mean") != backbone
    pair = make_tiny_backbone()
    assert Backbone(pair) == Backbone(pair)
    assert Backbone(pair) != Backbone(make_tiny_backbone())


@pytest.mark.parametrize("source", ["x", Path("x"), make_tiny_backbone()])
def test_as_backbone__takes_what_stands_for_one(source):
    assert as_backbone(source) == Backbone(source)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (Backbone(Backbone("x")), "a Backbone of one of these. Got an object of class Backbone"),
        (Backbone("x", pooling="max"), "'pooling' parameter of Backbone must be a str among"),
        (Backbone("x", target_modules=3), "'target_modules' parameter of Backbone must be"),
        (Backbone("x", image_size=0), "'image_size' parameter of Backbone must be an int"),
        (3, "must be a name, a folder, a .* pair or a Backbone of one of these. Got an object"),
    ],
)
def test_as_backbone__names_what_is_wrong(given, words):
    with pytest.raises(InvalidParameterError, match=words):
        as_backbone(given)
    with pytest.raises(ValueError, match=words):
        resolve_backbone(given)


def test_backbone__decides_pooling_and_targets(tmp_path):
    pair = make_tiny_backbone()
    for part in pair:
        part.save_pretrained(tmp_path)
    for source in (pair, tmp_path, str(tmp_path)):
        resolved = resolve_backbone(Backbone(source, pooling="last", target_modules=["query"]))
        assert load_backbone(resolved).pooling == "last"
        targets = plan_adaptation(resolved, adapt_blocks=1).targets
        assert targets == ("encoder.layer.1.attention.self.query",)
