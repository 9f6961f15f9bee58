"""The ablations on a tiny backbone: what a variant changes, what a cell says, and their table."""

import json

import numpy as np
import pytest

from sksve import SVEClassifier
from sksve.metrics import negative_log_likelihood


@pytest.fixture
def ablations(evidence, script):
    """The ablations over the small data set of the grid's tests."""
    grid = evidence(["sve"])
    config = grid.config | {"rows": dict(grid.config["rows"])}
    return script("ablations").Ablations(config, grid.results.parent, n_validation=24)


def work(ablations, script, variants, seeds=(0,)):
    jobs = ablations.jobs(["toy"], 24, seeds, variants=variants)
    said = []
    assert script("_grid").work_off(jobs, seconds=None, say=said.append), said
    return said


def read(ablations, name, seed=0):
    return json.loads(ablations.path("toy", name, 24, seed).read_text())


def variant(script, name):
    return next(v for v in script("_ablation_variants").VARIANTS if v.name == name)


def test_cell__validation_rows_of_the_drawing_and_no_others(ablations, script):
    said = work(ablations, script, [variant(script, "base")])
    assert [line.split(":")[0] for line in said] == ["toy/base-n24-seed0"]
    cell = read(ablations, "base")
    task = ablations.grid.task("toy", 24, 0)
    assert len(task.validation.y) == 24
    clf = SVEClassifier(
        ablations.config["backbones"]["text"], n_members=2, batch_size=8,
        max_length=16, random_state=0, **cell["chosen"],
    ).fit(task.train.X, task.train.y)  # fmt: skip
    members = clf.predict_proba_members(task.validation.X)
    y = task.validation.y
    nll = [negative_log_likelihood(y, p) for p in (members[0], members.mean(axis=0))]
    got = cell["nll_of_first_members"]
    np.testing.assert_allclose([got["1"], got["2"]], nll, rtol=1e-5)
    assert cell["scores"]["nll"] == got["2"]
    # Goes on where it was.
    assert work(ablations, script, [variant(script, "base")]) == []


@pytest.mark.slow
def test_cell__settings_and_callbacks_reach_the_fit(ablations, script):
    names = ("base", "noise_0", "one_head_noise_0", "one_head_shared_batches", "members_16")
    variants = [variant(script, name) for name in names]
    work(ablations, script, variants)
    cells = {name: read(ablations, name) for name in names}
    assert cells["members_16"]["n_members"] == 16
    assert set(cells["members_16"]["nll_of_first_members"]) >= {"1", "2", "16"}
    first = [cells[n]["nll_of_first_members"] for n in ("base", "members_16")]
    assert first[0]["2"] == pytest.approx(first[1]["2"], rel=1e-4)  # members are independent
    spread = {name: cell["diversity"]["mutual_information"] for name, cell in cells.items()}
    assert spread["base"] > 3 * spread["one_head_noise_0"]
    assert len(set(spread.values())) == len(spread)


def test_freeze__each_kind_stays_at_its_start(ablations, script):
    task = ablations.grid.task("toy", 24, 0)
    moved = {}
    for name in ("base", "frozen_heads", "frozen_biases", "frozen_values"):
        kept = {}
        for epochs in (1, 2):
            settings = {"callbacks": variant(script, name).callbacks() or None}
            settings |= {"max_epochs": epochs, "head_lr": 1e-2}
            clf = ablations.grid.classifier("toy", "sve", settings, 0, 2)
            clf.fit(task.train.X, task.train.y)
            layer = next(iter(script("_sve_variants").layers_of(clf.net_)))
            kept[epochs] = {
                "heads": next(clf.net_.module_.heads.parameters()).detach().clone(),
                "biases": layer.bias_delta.detach().clone(),
                "values": layer.values.detach().clone(),
            }
        moved[name] = {k for k, p in kept[1].items() if not p.equal(kept[2][k])}
    assert moved == {
        "base": {"heads", "biases", "values"},
        "frozen_heads": {"biases", "values"},
        "frozen_biases": {"heads", "values"},
        "frozen_values": {"heads", "biases"},
    }


def test_mean_of_logits__is_the_normalised_geometric_mean(script):
    members = np.array([[[0.9, 0.1]], [[0.5, 0.5]]])
    got = script("ablations").mean_of_logits(members)
    odds = np.sqrt(9.0)
    np.testing.assert_allclose(got, [[odds / (1 + odds), 1 / (1 + odds)]], rtol=1e-12)


def test_orthogonal_rows__keep_lengths_and_the_first_one(script, rng):
    torch = pytest.importorskip("torch")
    noise = torch.from_numpy(rng.normal(size=(4, 30)))
    got = script("_sve_variants").orthogonal_rows(noise)
    np.testing.assert_allclose(got[0], noise[0], rtol=1e-12)
    squares = (noise**2).sum(axis=1)
    np.testing.assert_allclose(got @ got.T, np.diag(squares), atol=1e-10)


def test_weighted_noise__by_hand(script):
    torch = pytest.importorskip("torch")
    noise = torch.tensor([[3.0, 4.0], [1.0, 0.0]], dtype=torch.float64)
    square = torch.tensor([1.0, 4.0], dtype=torch.float64)
    got = script("_sve_variants").weighted_noise(noise, square, 0.5)
    bare = np.array([3 * np.sqrt(0.25 + 1e-4), 4 * np.sqrt(1 + 1e-4)])
    np.testing.assert_allclose(got[0], 5 * bare / np.linalg.norm(bare), rtol=1e-12)
    np.testing.assert_allclose(got[1], [1, 0], rtol=1e-12)


def test_fisher_spread__follows_finite_differences_and_trains_nothing(ablations, script):
    torch = pytest.importorskip("torch")
    variants = script("_sve_variants")
    task = ablations.grid.task("toy", 24, 0)
    seen = {}

    class Look(variants.FisherSpread):
        def on_train_begin(self, net, X=None, **kwargs):
            layers = list(variants.layers_of(net))
            before = [p.detach().clone() for p in net.module_.member_parameters()]
            with torch.no_grad():
                noise = [p.detach().clone() for p in variants.starts_of(net)]
                for p in variants.starts_of(net):
                    p.zero_()
            squares = self._squares(net, X, [layer.values for layer in layers])
            delta, step, total = layers[0].values, 1e-2, 0.0
            rows = np.linspace(0, len(X) - 1, 2 * (min(self.n_rows, len(X)) // 2)).astype(int)
            for chunk in rows.reshape(-1, 2, 1):
                sides = []
                for side in (step, -step):
                    with torch.no_grad():
                        delta[:, 0] = side
                        Xi, yi = X.collate(chunk, None)
                        sides.append(net.member_losses(net.infer(Xi), yi, Xi).double())
                        delta[:, 0] = 0.0
                total += float((((sides[0] - sides[1]) / (2 * step)) ** 2).sum())
            seen["ratio"] = float(squares[0][0]) / total
            with torch.no_grad():
                for p, start in zip(variants.starts_of(net), noise):
                    p.copy_(start)
            super().on_train_begin(net, X=X, **kwargs)
            changed = [
                not torch.equal(p, old) for p, old in zip(net.module_.member_parameters(), before)
            ]
            seen["changed"] = sum(changed), len(layers)
            seen["gradients"] = [p.grad for p in net.module_.member_parameters()]

    settings = {"callbacks": [Look()], "max_epochs": 1, "init_scale": 0.3}
    clf = ablations.grid.classifier("toy", "sve", settings, 0, 2)
    clf.fit(task.train.X, task.train.y)
    assert seen["ratio"] == pytest.approx(1.0, rel=0.02)
    assert seen["changed"] == (seen["changed"][1], seen["changed"][1])  # each layer's delta, only
    assert all(g is None for g in seen["gradients"])


def test_variants__names_are_unique_and_parameters_exist(script):
    variants = script("_ablation_variants").VARIANTS
    assert len({v.name for v in variants}) == len(variants)
    known = SVEClassifier().get_params()
    for v in variants:
        assert set(v.settings) <= set(known)


def test_section__differences_to_the_base(script, tmp_path):
    page, module = script("_ablation_page"), script("ablations")
    assert page.ablation_section(page.load_ablations(tmp_path)) == []
    rng = np.random.default_rng(0)
    losses = {}
    for name, skill, seeds in (
        ("base", 1.0, (0, 1)),
        ("noise_0", 0.3, (0,)),
        ("no_bias", 1.0, (2,)),
    ):
        for seed in seeds:
            y = rng.integers(0, 2, 200)
            p = 1 / (1 + np.exp(-(2 * y - 1) * skill - rng.normal(size=(3, 200)) / 2))
            members = np.stack([1 - p, p], axis=-1)
            cell = {"dataset": "toy", "variant": name, "rows": 24, "seed": seed}
            cell |= json.loads(json.dumps(module.score_members(members, y)))
            losses[name, seed] = cell["scores"]["nll"]
            path = tmp_path / "toy" / f"{name}-n24-seed{seed}.json"
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(cell))
    lines = page.ablation_section(page.load_ablations(tmp_path))
    rows = {line.split(" | ")[0]: line.split(" | ") for line in lines if line.startswith("| ")}
    assert rows["| base"][1:4] == ["0 1", f"{(losses['base', 0] + losses['base', 1]) / 2:.3f}", "-"]
    gap = losses["noise_0", 0] - losses["base", 0]
    assert float(rows["| noise_0"][3]) == pytest.approx(gap, abs=2e-3)
    low, high = map(float, rows["| noise_0"][4].split(" to "))
    assert 0 < low < gap < high
    assert rows["| no_bias"][3:5] == ["-", "-"]  # no seed in common with the base
    assert any(line.startswith("Not run yet: one_head, ") for line in lines)
    assert any(line.startswith("NLL by number of members (base): 1: 0.") for line in lines)
    assert not any("on every data set" in line for line in lines)  # there is but one


def test_section__says_what_wins_and_loses_on_every_data_set(script, tmp_path):
    page, module = script("_ablation_page"), script("ablations")
    skills = {
        "base": (1.0, 1.0), "noise_0": (3.0, 3.0), "no_bias": (0.1, 0.1), "one_head": (3.0, 0.1),
        "mlp": (3.0, None),
    }  # fmt: skip
    nll = {}
    for k, dataset in enumerate(("this", "that")):
        noise = np.random.default_rng(k).normal(size=(3, 300)) / 2
        y = np.random.default_rng([k, 1]).integers(0, 2, 300)
        for name, each in skills.items():
            if each[k] is None:
                continue
            p = 1 / (1 + np.exp(-(2 * y - 1) * each[k] - noise))
            cell = {"dataset": dataset, "variant": name, "rows": 24, "seed": 0}
            scores = module.score_members(np.stack([1 - p, p], axis=-1), y)
            cell |= json.loads(json.dumps(scores))
            nll[dataset, name] = cell["scores"]["nll"]
            path = tmp_path / dataset / f"{name}-n24-seed0.json"
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(cell))
    lines = page.ablation_section(page.load_ablations(tmp_path))
    said = next(line for line in lines if "on every data set" in line)
    better, worse = said.split("Better than the base: ")[1].split(" Worse: ")
    for text, name in ((better, "noise_0"), (worse, "no_bias")):
        told = text.removeprefix(f"{name} (").removesuffix(").").split(", ")
        # Data sets by name: "that" stands before "this".
        gaps = [nll[dataset, name] - nll[dataset, "base"] for dataset in ("that", "this")]
        np.testing.assert_allclose([float(v) for v in told], gaps, atol=2e-3)
