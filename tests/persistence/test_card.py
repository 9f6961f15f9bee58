"""The model card: read back by the hub's own reader."""

import dataclasses
import math

import pytest
from huggingface_hub import ModelCard

from sksve.persistence import CardFacts, check_metrics, model_card

FACTS = CardFacts(
    class_name="SVEClassifier",
    module="sksve",
    input_kind="text",
    backbone="all-MiniLM-L6-v2",
    hub_backbone="sentence-transformers/all-MiniLM-L6-v2",
    n_members=5,
    classes=["neg", "pos"],
    sizes={"training": 2000, "validation": 200},
    class_counts=[900, 1100],
    parameters={"rank": "None"},
    history={"train_loss": 0.25},
    metrics={"accuracy": 0.875},
    n_trained=176_000,
    n_total=22_700_000,
    versions={"torch": "2"},
)


def test__header__is_what_the_hub_reads():
    data = ModelCard(model_card(FACTS)).data
    assert data.library_name == "sksve"
    assert data.pipeline_tag == "text-classification"
    assert data.base_model == "sentence-transformers/all-MiniLM-L6-v2"
    assert {"sksve", "uncertainty"} <= set(data.tags)
    [result] = data.eval_results
    assert (result.metric_type, result.metric_value) == ("accuracy", 0.875)


@pytest.mark.parametrize(
    ("kind", "task"),
    [("table", "tabular-classification"), ("image", "image-classification")],
)
def test__header__names_the_task(kind, task):
    card = ModelCard(model_card(dataclasses.replace(FACTS, input_kind=kind)))
    assert card.data.pipeline_tag == task


def test__body__holds_the_facts():
    body = ModelCard(model_card(FACTS)).text
    for part in (
        "training: 2,000 rows", "`neg` 900, `pos` 1,100", "| train loss | 0.25 |",
        "| accuracy | 0.875 |", "176,000 numbers", "0.775 %", "5 members", "not calibrated",
        'SVEClassifier.from_pretrained("this folder")',
    ):  # fmt: skip
        assert part in body
    assert "(model, processor)" in model_card(dataclasses.replace(FACTS, backbone=""))
    calibrated = model_card(dataclasses.replace(FACTS, calibration="temperature scaling"))
    assert "calibrated: temperature scaling" in calibrated
    assert "not calibrated" not in calibrated


def test__hostile_words__stay_words():
    evil = '"\n---\nlicense: evil\n| a | `b` <script>'
    facts = dataclasses.replace(
        FACTS, classes=[evil, "b"], backbone=evil, hub_backbone=evil, metrics={evil: 1.0}
    )
    card = ModelCard(model_card(facts))
    assert card.data.license is None
    assert card.data.base_model == evil
    assert card.data.eval_results[0].metric_type == evil
    assert all(line.strip() != "---" for line in card.text.splitlines())


def test__check_metrics():
    assert check_metrics({"a": 1}) == {"a": 1.0}
    assert check_metrics(None) == {}
    for bad in ({"a": math.nan}, {"a": "x"}, {3: 1.0}, {"a": None}, [0.5]):
        with pytest.raises(ValueError, match="'metrics' must map names to"):
            check_metrics(bad)


def test_metrics__an_int_that_no_float_can_hold_is_refused():
    with pytest.raises(ValueError, match="to finite numbers"):
        check_metrics({"a": 10**400})
