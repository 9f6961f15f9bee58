"""Runs without tuning: what is judged, what is repeated, and which goals are met."""

import numpy as np
import pytest
from sklearn.metrics import log_loss

from benchmarks import no_tuning
from benchmarks.common.results import RESULTS, ROOT, Table
from benchmarks.studies.no_tuning_report import goals, means, report, with_table


def row(data, contender, nll, *, rows=200, seed=0, ece=0.02, seconds=30.0):
    return {
        "data": data, "contender": contender, "rows": rows, "seed": seed, "nll": nll, "accuracy": 0.8,
        "ece": ece, "best_temperature": 1.0, "cpu_seconds": seconds,
    }  # fmt: skip


ROWS = [
    row("movies", "sve", 0.40, ece=0.03),
    row("movies", "sve", 0.50, seed=1, ece=0.05),
    row("movies", "sve", 9.0, seed=2),  # the regression has no such seed
    row("movies", "frozen_lr", 0.60, seconds=2.0),
    row("movies", "frozen_lr", 0.70, seed=1, seconds=2.0),
    row("tweets", "sve", 0.32, ece=0.12, seconds=41.0),
    row("tweets", "frozen_lr", 0.30),
    row("tweets", "deep_tuned", 0.31, seconds=120.0),
]


def test_means__over_the_seeds_that_all_have():
    found = means(ROWS, 200, ("sve", "frozen_lr"))
    assert found["movies"]["sve"]["nll"] == pytest.approx(0.45)
    assert found["movies"]["frozen_lr"]["nll"] == pytest.approx(0.65)
    assert set(found) == {"movies", "tweets"}
    assert means(ROWS, 50, ("sve",)) == {}


def test_goals__met_missed_and_by_how_much():
    found = {words: (met, measured) for words, met, measured in goals(ROWS)}
    mean = "200 rows: NLL below frozen + LR by 0.05 in the mean"
    assert found[mean] == (True, "-0.090, mean of 2 sets")  # (-0.2 + 0.02) / 2
    everywhere = "200 rows: NLL at most 0.0 above frozen + LR on every set"
    assert found[everywhere] == (False, "tweets 0.020")
    assert found["200 rows: ECE at most 0.10 on every set"] == (False, "tweets 0.120")
    assert found["200 rows: fit takes at most 40 CPU seconds"] == (False, "tweets 41.000")
    deep = "200 rows: NLL below the tuned deep ensemble in the mean"
    assert found[deep] == (False, "0.010, mean of 1 sets")
    third = "200 rows: fit takes at most a third of the CPU time of deep ensemble, tuned"
    assert not found[third][0]
    assert found["50 rows: NLL below frozen + LR in the mean"][0] is None


def test_report__shows_every_goal_and_the_means_of_each_set():
    text = report(ROWS, list(no_tuning.SETS))
    assert text.count("**missed**") == 6
    assert "| movies | 0.450 (0.800 / 0.040) | 0.650 (0.800 / 0.020) | 1.00 | 30 / 2 |" in text
    assert "| **mean** | 0.385 " in text
    assert "| deep ensemble, tuned | 1 | 0.310 / 0.320 |" in text


@pytest.fixture
def toy(monkeypatch, tmp_path):
    X = ["good film", "bad film", "good plot", "bad plot"] * 10
    data = no_tuning.Data(X, np.array([1, 0] * 20), X[:8], np.array([1, 0] * 4))
    monkeypatch.setattr(no_tuning, "load", lambda name: data)
    monkeypatch.setattr(no_tuning, "TABLE", Table(tmp_path / "made.jsonl"))
    return data


def test_run__is_made_once_and_judged_on_the_test_rows(toy, capsys):
    cells = [("movies", "tfidf_lr", 20, 0)]
    for _ in range(2):
        no_tuning.work(cells, None, None)
    assert capsys.readouterr().out.count("movies/tfidf_lr-n20-seed0") == 1
    made = no_tuning.TABLE.rows()["movies/tfidf_lr-n20-seed0"]
    assert made["accuracy"] == 1.0
    assert made["n_test"] == 8
    assert made["settings"]["C"] > 0


def test_judge__equals_scikit_learn_and_the_best_temperature_is_best():
    rng = np.random.default_rng(0)
    proba = rng.dirichlet([1, 1, 1], 60)
    y = rng.integers(0, 3, 60)
    found = no_tuning.judge(y, proba, np.arange(3))
    assert found["nll"] == pytest.approx(log_loss(y, proba), abs=1e-4)
    assert found["nll_at_best_temperature"] <= found["nll"]


def test_rows__that_the_rules_would_make_otherwise_are_made_again():
    rows = Table(RESULTS / "no_tuning.jsonl").rows().values()
    row = next(r for r in rows if r["contender"] == "sve" and no_tuning.is_current(r))
    assert not no_tuning.is_current(row | {"settings": row["settings"] | {"weight_decay": 3.0}})
    assert no_tuning.is_current({"contender": "frozen_lr"})


@pytest.mark.parametrize(
    ("name", "rows", "lr"),
    [("movies_5", 200, 3e-5), ("newsgroups_8", 1000, 1.2e-4), ("reuters_r8", 50, 1.2e-4)],
)
def test_tuned_settings__are_those_of_the_evidence(name, rows, lr):
    found = no_tuning.tuned_settings(name, rows)
    assert found["lr"] == lr
    assert found["max_epochs"] == (2 if rows == 1000 else 4)
    assert found["batch_size"] == 16


def test_pages__are_what_the_results_say():
    """Stale otherwise: ``python -m benchmarks.no_tuning --report --write``."""
    every = Table(RESULTS / "no_tuning.jsonl").rows().values()
    rows = [row for row in every if no_tuning.is_current(row)]
    page = (ROOT / "docs" / "guide" / "no_tuning.md").read_text("utf-8")
    assert page == report(rows, list(no_tuning.SETS))
    readme = (ROOT / "README.md").read_text("utf-8")
    assert readme == with_table(readme, rows)
