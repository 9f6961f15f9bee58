"""The examples run from top to bottom, here on a tiny backbone and a few made-up rows."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.utils import Bunch

import sksve
from sksve.backbones import make_tiny_backbone

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    for part in make_tiny_backbone(max_positions=512):
        part.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def run(monkeypatch, backbone, tmp_path):
    def run(name, *options):
        import matplotlib.pyplot as plt

        argv = [name, "--backbone", backbone, "--output", str(tmp_path), *options]
        monkeypatch.setattr(sys, "argv", argv)
        shown = runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        plt.close("all")
        return shown

    return run


def loans():
    rng = np.random.default_rng(0)
    names = [
        "loan_purpose", "loan_amount", "term", "homeownership", "annual_income", "verified_income",
        "debt_to_income", "emp_length", "inquiries_last_12m", "total_credit_limit",
        "total_credit_utilized", "accounts_opened_24m", "public_record_bankrupt", "emp_title", "more",
    ]  # fmt: skip
    data = pd.DataFrame(rng.integers(0, 1000, size=(60, len(names))).astype(float), columns=names)
    for name in ("loan_purpose", "homeownership", "verified_income", "emp_title"):
        data[name] = rng.choice(["nurse", "cook", "own"], size=60)
    data.loc[3, ["emp_title", "emp_length"]] = None
    return Bunch(data=data, target=np.arange(60) % 3, target_names=["A", "B", "C"], DESCR="")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sksve.TruncationWarning")  # the tiny tokenizer spells words
def test__tabular_to_text(run, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sksve.datasets, "fetch_loans", loans)
    options = ["--train-rows", "36", "--test-rows", "20", "--members", "2"]
    shown = run("2_tabular_to_text.py", *options)
    out = capsys.readouterr().out
    assert "loan purpose: " in out
    assert "same answers: True" in out
    assert shown["table"].shape == (2, 3)
    assert np.isfinite(shown["table"].to_numpy()).all()
    assert (tmp_path / "tabular_to_text.png").stat().st_size > 10_000


@pytest.mark.slow
def test__grid_search(run, monkeypatch, capsys, tmp_path):
    texts = np.array(["good film", "bad film", "great fun", "dull story"] * 6, dtype=object)
    reviews = Bunch(data=texts, target=np.array([1, 0] * 12))
    monkeypatch.setattr(sksve.datasets, "fetch_movie_reviews", lambda: reviews)
    options = ["--rows", "24", "--members", "1", "2", "--ranks", "1", "16"]
    shown = run("5_grid_search.py", *options)
    assert "12 members were trained in the search" in capsys.readouterr().out
    assert len(shown["table"]) == 4
    assert (tmp_path / "grid_search.png").stat().st_size > 10_000
