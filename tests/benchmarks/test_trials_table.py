"""The evidence's page says how many trials each method had, and whose."""

import json


def kept(folder, name, method, rows, count):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"method": method, "rows": rows, "trials": [{}] * count}))
    return name


def test_trials_table__counts_files_and_names_stand_ins(script, tmp_path):
    page = script("_evidence_trials")
    sve = kept(tmp_path, "newsgroups/tuning-sve-n200.json", "sve", 200, 5)
    first = kept(tmp_path, "newsgroups/tuning-fine_tuned-n200.json", "fine_tuned", 200, 7)
    again = kept(tmp_path, "newsgroups/tuning-deep-n200.json", "deep", 200, 3)
    runs = {
        ("newsgroups", "sve", 200, 0): {"tuning": sve},
        ("credit", "sve", 200, 0): {"tuning": sve},
        ("newsgroups", "deep", 200, 0): {"tuning": again},
        ("newsgroups", "fine_tuned", 200, 1): {"tuning": first},
        ("newsgroups", "fine_tuned", 1000, 1): {"tuning": "newsgroups/other.json"},
        ("credit", "probe", 200, 0): {"tuning": "credit/lost.json"},
    }
    assert page.trials_table(runs, 200, tmp_path) == [
        "| trials | 20 Newsgroups | credit as text |",
        "| --- | --- | --- |",
        "| SVE | 5 | 5, of 20 Newsgroups |",
        "| deep ensemble | 7 + 3 | - |",
        "| fine-tuned model | 7 | - |",
        "| linear probe | - | - |",
        "",
    ]


def test_trials_table__of_a_deep_ensemble_with_trials_of_its_own_only(script, tmp_path):
    name = kept(tmp_path, "credit/tuning-deep-n1000.json", "deep", 1000, 3)
    lines = script("_evidence_trials").trials_table(
        {("credit", "deep", 1000, 0): {"tuning": name}}, 1000, tmp_path
    )
    assert lines[2] == "| deep ensemble | 3 |"


def test_trials_table__nothing_without_trials(script, tmp_path):
    page = script("_evidence_trials")
    assert page.trials_table({("credit", "sve", 200, 0): {}}, 200, tmp_path) == []
    assert page.trials_table({("credit", "sve", 200, 0): {"tuning": "x"}}, 200, None) == []
