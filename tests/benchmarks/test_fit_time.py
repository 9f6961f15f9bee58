"""Fits in turns, and what the report reads of them."""

import json

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("whole", [False, True], ids=["in-turns", "whole"])
def test_measure__every_method_beside_one_fine_tune(whole, evidence, script):
    module = script("fit_time")
    grid = evidence(["deep", "sve"])
    for method in ("fine_tuned", "sve"):
        path = grid.tuning.path("toy", method)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"chosen": {"head_lr": 1e-2, "max_epochs": 3}}))
    found = module.measure(grid, "toy", ["sve"], 24, whole=whole)["methods"]
    assert set(found) == {"fine_tuned", "sve"}
    m = grid.config["members"]
    assert [found[name]["members"] for name in ("fine_tuned", "sve")] == [1, m]
    for numbers in found.values():
        assert numbers["share_of_deep"] == pytest.approx(numbers["ratio_to_fine_tuned"] / m)
        assert numbers["seconds"] > 0
    assert found["fine_tuned"]["ratio_to_fine_tuned"] == 1.0


def entry(cpu, **shares):
    """What a measurement leaves."""
    methods = {name: {"share_of_deep": share} for name, share in shares.items()}
    return {"provenance": {"hardware": {"cpu": cpu}}, "methods": methods}


def test_times__of_another_cpu_stay_beside_the_new_ones(script, tmp_path):
    module = script("_fit_times")
    first = module.with_measured(None, entry("Intel(R) Xeon(R) Processor", sve=0.7, lora=0.5))
    second = module.with_measured(first, entry("AMD EPYC", sve=0.8))
    third = module.with_measured(second, entry("Intel(R) Xeon(R) Processor", sve=0.6))
    last = module.with_measured(third, entry("AMD EPYC", probe=0.1))
    path = tmp_path / "times.json"
    path.write_text(json.dumps({"datasets": {"toy": last, "other": first}}))
    assert module.load_times(path) == {
        "AMD EPYC": {"sve": {"toy": 0.8}, "probe": {"toy": 0.1}},
        "Intel Xeon": {"sve": {"toy": 0.6, "other": 0.7}, "lora": {"toy": 0.5, "other": 0.5}},
    }
    assert "elsewhere" not in last["elsewhere"][0]
    assert "elsewhere" not in first
    assert module.load_times(tmp_path / "none.json") == {}


def test_times__of_another_cpu_go_where_the_method_has_other_settings_now(script):
    module = script("_fit_times")

    def measured(cpu, **settings):
        made = entry(cpu, sve=0.5, lora=0.4)
        made["methods"]["sve"] |= {"chosen": {"lr": 1.0}, **settings}
        return made

    first = measured("Xeon", settings={"lr": 1.0, "freeze_out": None})
    kept = module.with_measured(first, measured("EPYC", settings={"lr": 1.0, "freeze_out": None}))
    assert set(kept["elsewhere"][0]["methods"]) == {"sve", "lora"}
    changed = module.with_measured(first, measured("EPYC", settings={"lr": 1.0, "freeze_out": 0.5}))
    assert set(changed["elsewhere"][0]["methods"]) == {"lora"}
    # What was measured before all settings were told goes by those chosen.
    old = module.with_measured(measured("Xeon"), measured("EPYC", settings={"lr": 1.0}))
    assert set(old["elsewhere"][0]["methods"]) == {"sve", "lora"}
    alone = {**first, "methods": {"sve": first["methods"]["sve"]}}
    assert "elsewhere" not in module.with_measured(alone, measured("EPYC", settings={"lr": 2.0}))


def test_name__times_of_other_numbers_of_rows_stand_apart(script):
    name = script("_fit_times").fit_time_name
    made = {rows: name("made", rows) for rows in (200, 1000, None)}
    assert made == {200: "made_fit_time", 1000: "made_fit_time_n1000", None: "made_fit_time_nall"}
    whole = [name("made", rows, whole=True) for rows in made]
    assert whole == [f"{turns}_whole" for turns in made.values()]


def test_summed_ratios__of_all_seconds(script):
    found = script("_alternate").summed_ratios({"a": [1.0, 3.0], "b": [6.0, 2.0]}, "a")
    assert found["a"] == {"seconds": 2.0, "ratio_to_a": 1.0, "rounds": 2}
    assert found["b"] == {"seconds": 4.0, "ratio_to_a": 2.0, "rounds": 2}


def test_alternate__in_turn_by_the_clock_given(script):
    told, now = [], iter(range(100))
    contenders = {name: (lambda name=name: told.append(name)) for name in "ab"}
    seconds = script("_alternate").alternate(contenders, 2, clock=lambda: next(now))
    assert told == ["a", "b"] * 3  # a round to warm up
    assert seconds == {"a": [1, 1], "b": [1, 1]}


@pytest.mark.parametrize(("rows", "n_datasets"), [(1000, 6), (3000, 2)])
def test_kept__times_have_the_settings_that_the_trials_choose_now(script, rows, n_datasets):
    """With more rows: measured anew when a choice changes."""
    record = script("_record")
    kept = json.loads((record.RESULTS / f"evidence_fit_time_n{rows}.json").read_text())["datasets"]
    assert len(kept) == n_datasets
    for dataset, found in kept.items():
        path = record.RESULTS / "evidence" / dataset / f"tuning-sve_subspaces-n{rows}.json"
        chosen = json.loads(path.read_text())["chosen"]
        assert found["methods"]["sve_subspaces"]["chosen"] == chosen, dataset
        # The share is of five such fine-tunes: the deep ensemble's trials may choose other rates, not epochs.
        deep = json.loads(path.with_name(f"tuning-deep-n{rows}.json").read_text())["chosen"]
        baseline = found["methods"]["fine_tuned"]["chosen"]
        assert baseline["max_epochs"] == deep["max_epochs"], dataset
