"""All sizes together: each data set counts once, with the mean of its sizes."""

import copy

import numpy as np
import pytest


def with_more_rows(runs, rows, datasets, loss):
    """The same runs again with more rows on some data sets, the method's NLL so much above the rival's."""
    more = dict(runs)
    for (dataset, method, _, seed), run in runs.items():
        if dataset in datasets:
            again = copy.deepcopy(run)
            again["rows"] = rows
            if method == "sve_subspaces":
                rival = runs[dataset, "deep", 200, seed]["scores"]["test"]["before"]["nll"]
                again["scores"]["test"]["before"]["nll"] = rival + loss
            more[dataset, method, rows, seed] = again
    return more


@pytest.fixture
def both(fabricate, tables):
    runs = tables.load_runs(fabricate({"sve_subspaces": 0.5, "deep": 0.2}))
    return with_more_rows(runs, 1000, ("newsgroups", "credit"), 0.01)


def test_compare__of_several_sizes_is_the_mean_of_each_data_sets_sizes(both, tables):
    alone = {n: tables.compare(both, "sve_subspaces", "deep", n, "nll") for n in (200, 1000)}
    together = tables.compare(both, "sve_subspaces", "deep", (200, 1000), "nll")
    assert set(alone[1000].datasets) == {"newsgroups", "credit"}
    for dataset, (gap, low, high) in together.datasets.items():
        gaps = [c.datasets[dataset][0] for c in alone.values() if dataset in c.datasets]
        assert gap == pytest.approx(np.mean(gaps), rel=1e-12)
        assert low <= high
    assert together.difference == pytest.approx(
        np.mean([gap for gap, _, _ in together.datasets.values()]), rel=1e-12
    )
    assert together.n_cells == 9 + 6
    assert together.low < together.difference < together.high
    one = tables.compare(both, "sve_subspaces", "deep", (200,), "nll")
    assert one == alone[200]


def test_bars__of_all_sizes_may_be_kept_where_one_size_is_not(both, tables):
    nll = {
        rows: next(b for b in tables.bars(both, rows, "sve_subspaces") if b.name == "NLL")
        for rows in (200, 1000, (200, 1000))
    }
    assert [nll[rows].kept for rows in nll] == [True, False, True]
    counts = [nll[rows].measured.split(";")[0] for rows in nll]
    assert counts == ["3 of 3", "0 of 2", "3 of 3"]


def test_mean_times__over_the_sizes_measured_on_a_cpu(script):
    few = {
        "One": {"sve_subspaces": {"credit": 0.2, "newsgroups": 0.4}, "sve": {"credit": 0.7}},
        "Other": {"sve_subspaces": {"credit": 0.1}},  # nothing there with more rows
    }
    more = {"One": {"sve_subspaces": {"newsgroups": 0.8}}}
    mean = script("_fit_times").mean_times([few, more])
    assert mean == {
        "One": {
            "sve_subspaces": {"credit": 0.2, "newsgroups": pytest.approx(0.6)},
            "sve": {"credit": 0.7},
        }
    }
    assert script("_fit_times").mean_times([]) == {}


def test_section__says_what_each_data_set_adds(both, tables, script):
    sizes = script("_sizes_page")
    assert sizes.sizes_with(both) == (200, 1000)
    lines = sizes.sizes_section(both, {"One": {"sve_subspaces": {"credit": 0.25}}})
    c = tables.compare(both, "sve_subspaces", "deep", (200, 1000), "nll")
    row = next(line for line in lines if line.startswith(("| NLL | +", "| NLL | -")))
    names = ("movie_reviews", "newsgroups", "credit")
    gaps = [c.datasets[d][0] for d in names]
    words = [f"{gap:+.4f}" for gap in [*gaps, np.mean(gaps)]]
    assert row == "| NLL | " + " | ".join(words) + " |"
    assert "| time of fit, deep ensemble = 1 (One) | - | - | 0.250 | 0.250 |" in lines
    assert "| training rows | 200 | 200, 1,000 | 200, 1,000 |  |" in lines
    assert any(
        line.startswith("| time of fit, in turns |") and "**0.25 (One)**" in line for line in lines
    )


def test_section__one_size_has_none(fabricate, tables, script):
    runs = tables.load_runs(fabricate({"sve_subspaces": 0.5, "deep": 0.2}))
    assert script("_sizes_page").sizes_section(runs) == []
    assert script("_sizes_page").sizes_section({}) == []
