"""The ablations on a tiny backbone: what a variant changes, what a cell says, and their table."""

import numpy as np
import pytest

from benchmarks.common.estimators import make_estimator
from benchmarks.common.results import Table
from benchmarks.evidence.ablations import (
    VARIANTS,
    Ablations,
    ablation_section,
    load_ablations,
    mean_of_logits,
    score_members,
)
from sksve.metrics import negative_log_likelihood
from tests.benchmarks.conftest import finish


@pytest.fixture
def ablations(evidence):
    """The ablations over the small data set of the grid's tests."""
    grid = evidence(["sve"])
    config = grid.config | {"rows": dict(grid.config["rows"])}
    return Ablations(config, grid.results, n_validation=24)


def variant(name):
    return next(v for v in VARIANTS if v.name == name)


def work(ablations, *names):
    jobs = ablations.jobs(["toy"], 24, (0,), variants=[variant(name) for name in names])
    said = finish(jobs)
    return said, {name: ablations.table.rows()[f"toy/{name}-n24-seed0"] for name in names}


def test_cell__validation_rows_of_the_drawing_and_no_others(ablations):
    said, cells = work(ablations, "base")
    assert [line.split(":")[0] for line in said] == ["toy/base-n24-seed0"]
    cell = cells["base"]
    task = ablations.grid.task("toy", 24, 0)
    assert len(task.validation.y) == 24
    clf = make_estimator(
        "SVEClassifier", backbone=ablations.config["backbones"]["text"], n_members=2, batch_size=8,
        max_length=16, random_state=0, **cell["chosen"],
    ).fit(task.train.X, task.train.y)  # fmt: skip
    members = clf.predict_proba_members(task.validation.X)
    y = task.validation.y
    nll = [negative_log_likelihood(y, p) for p in (members[0], members.mean(axis=0))]
    got = cell["nll_of_first_members"]
    np.testing.assert_allclose([got["1"], got["2"]], nll, rtol=1e-5)
    assert cell["scores"]["nll"] == got["2"]
    assert work(ablations, "base")[0] == []  # goes on where it was


def test_mean_of_logits__is_the_normalised_geometric_mean():
    got = mean_of_logits(np.array([[[0.9, 0.1]], [[0.5, 0.5]]]))
    odds = np.sqrt(9.0)
    np.testing.assert_allclose(got, [[odds / (1 + odds), 1 / (1 + odds)]], rtol=1e-12)


def cells_of(table, skills, seeds_of=lambda name: (0,)):
    """Fill a table with cells of variants of some skill on each data set; their NLL."""
    nll = {}
    for k, dataset in enumerate(("this", "that")):
        for name, each in skills.items():
            for seed in seeds_of(name) if each[k] is not None else ():
                noise = np.random.default_rng([k, seed]).normal(size=(3, 300)) / 2
                y = np.random.default_rng([k, seed, 1]).integers(0, 2, 300)
                p = 1 / (1 + np.exp(-(2 * y - 1) * each[k] - noise))
                cell = {"dataset": dataset, "variant": name, "rows": 24, "seed": seed}
                cell |= score_members(np.stack([1 - p, p], axis=-1), y)
                table.put(f"{dataset}/{name}-n24-seed{seed}", cell)
                nll[dataset, name, seed] = cell["scores"]["nll"]
    return nll


def test_section__differences_to_the_base(tmp_path):
    table = Table(tmp_path / "ablations.jsonl")
    assert ablation_section(load_ablations(table)) == []
    seeds = {"base": (0, 1), "noise_0": (0,), "no_bias": (2,)}
    skills = {"base": (1.0, None), "noise_0": (0.3, None), "no_bias": (1.0, None)}
    nll = cells_of(table, skills, seeds.__getitem__)
    lines = ablation_section(load_ablations(table))
    rows = {line.split(" | ")[0]: line.split(" | ") for line in lines if line.startswith("| ")}
    mean = (nll["this", "base", 0] + nll["this", "base", 1]) / 2
    assert rows["| base"][1:4] == ["0 1", f"{mean:.3f}", "-"]
    gap = nll["this", "noise_0", 0] - nll["this", "base", 0]
    assert float(rows["| noise_0"][3]) == pytest.approx(gap, abs=2e-3)
    low, high = map(float, rows["| noise_0"][4].split(" to "))
    assert 0 < low < gap < high
    assert rows["| no_bias"][3:5] == ["-", "-"]  # no seed in common with the base
    assert any(line.startswith("Not run yet: one_head, ") for line in lines)
    assert any(line.startswith("NLL by number of members (base): 1: 0.") for line in lines)
    assert not any("on every data set" in line for line in lines)  # there is but one
