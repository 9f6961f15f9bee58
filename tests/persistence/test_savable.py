"""What every class with ``save_pretrained`` shares: the model card, the metrics, the hub."""

import dataclasses
import inspect
import math
import sys
from types import SimpleNamespace

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub import ModelCard
from sklearn.base import BaseEstimator

from sksve.persistence import CardFacts, Savable, SavedModel

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
    n_trained=176_000,
    n_total=22_700_000,
    versions={"torch": "2"},
)


class Model(Savable, BaseEstimator):
    """The least that can be saved."""

    def __init__(self, facts=FACTS):
        self.facts = facts
        self.fitted_ = True

    def fit(self, X, y):
        return self

    def _to_saved(self):
        return SavedModel("Model", {}, {"x": np.zeros(1)})

    def _card_facts(self, saved, metrics):
        return dataclasses.replace(self.facts, metrics=metrics)


@pytest.fixture
def card(tmp_path):
    def write(metrics=None, **changes):
        model = Model(dataclasses.replace(FACTS, **changes))
        folder = model.save_pretrained(tmp_path / "model", metrics=metrics)
        return ModelCard((folder / "README.md").read_text(encoding="utf-8"))

    return write


def test__header__is_what_the_hub_reads(card):
    data = card({"accuracy": 0.875}).data
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
def test__header__names_the_task(kind, task, card):
    assert card(input_kind=kind).data.pipeline_tag == task


def test__body__holds_the_facts(card):
    body = card({"accuracy": 0.875}).text
    for part in (
        "training: 2,000 rows", "`neg` 900, `pos` 1,100", "| train loss | 0.25 |",
        "| accuracy | 0.875 |", "176,000 numbers", "0.775 %", "5 members", "not calibrated",
        'SVEClassifier.from_pretrained("this folder")',
    ):  # fmt: skip
        assert part in body
    assert "(model, processor)" in card(backbone="").text
    assert "10 more" in card(classes=list(range(30))).text
    calibrated = card(calibration="temperature scaling").text
    assert "calibrated: temperature scaling" in calibrated
    assert "not calibrated" not in calibrated


def test__hostile_words__stay_words(card):
    evil = '"\n---\nlicense: evil\n| a | `b` <script>'
    found = card({evil: 1.0}, classes=[evil, "b"], backbone=evil, hub_backbone=evil)
    assert found.data.license is None
    assert found.data.base_model == evil
    assert found.data.eval_results[0].metric_type == evil
    assert all(line.strip() != "---" for line in found.text.splitlines())


@pytest.mark.parametrize(
    "metrics", [{"a": math.nan}, {"a": "x"}, {3: 1.0}, {"a": None}, [0.5], {"a": 10**400}], ids=str
)
def test__metrics__must_be_finite_numbers(metrics, tmp_path):
    with pytest.raises(ValueError, match="'metrics' must map names to"):
        Model().save_pretrained(tmp_path / "model", metrics=metrics)
    assert list(tmp_path.iterdir()) == []


# -- the hub: its own client is replaced, and no test asks the network ---------------------------


def test__push_to_hub(monkeypatch):
    calls = []

    class Api:
        def __init__(self, token=None):
            calls.append(token)

        def create_repo(self, repo_id, **rest):
            calls.append((repo_id, rest))

        def upload_folder(self, **rest):
            calls.append(rest)
            return SimpleNamespace(commit_url="address of the commit")

    real = huggingface_hub.HfApi
    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    got = Model().push_to_hub("me/model", private=True, token="secret", revision="dev")
    assert got == "address of the commit"
    token, (repo, made), sent = calls
    assert (token, repo) == ("secret", "me/model")
    assert made == {"repo_type": "model", "private": True, "exist_ok": True}
    assert sent["revision"] == "dev"
    # The tensors of the model that was there go; those just uploaded are not matched first.
    assert sent["delete_patterns"] == ["members-*.safetensors"]
    # The fake takes what the real client takes.
    assert {"repo_id", *made} <= set(inspect.signature(real.create_repo).parameters)
    assert set(sent) <= set(inspect.signature(real.upload_folder).parameters)


def test__push_to_hub__without_huggingface_hub(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match="pip install huggingface_hub"):
        Model().push_to_hub("me/model")
