"""The command line says what the library says, on stdout or in files, and nothing else."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import sksve
from sksve.cli import main
from tests.making import save_tiny

PLANS = ["free", "team", "firm"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(save_tiny(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    words = {"pay": ["great film", "good story", "loved it"], "log in": ["bad film", "dull plot"]}
    y = rng.choice([*words], size=60)
    text = [" and ".join(rng.choice(words[k], 3)) for k in y]
    y[::7] = rng.choice([*words], size=len(y[::7]))
    plan, age = rng.choice(PLANS, 60), rng.integers(1, 90, 60)
    return pd.DataFrame({"text": text, "plan": plan, "age": age, "category": y})


@pytest.fixture(scope="module", params=[["--text", "text"], []], ids=["text", "table"])
def model(request, frame, folder, tmp_path_factory):
    here = tmp_path_factory.mktemp("model")
    frame[:40].to_csv(here / "tickets.csv", index=False)
    command = ["fit", str(here / "tickets.csv"), *request.param, "--label", "category"]
    command += ["--out", str(here / "model"), "--backbone", folder, "--members", "2"]
    assert main(command) == 0
    return here / "model"


def test_predict__is_what_the_library_predicts(model, frame, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sksve.cli._main.ROWS", 7)
    new = frame[40:].drop(columns="category")
    new.loc[45, "plan"] = None
    new.to_csv(tmp_path / "new.csv", index=False)
    files = [str(tmp_path / "new.csv"), "--out", str(tmp_path / "out.csv")]
    assert main(["predict", str(model), *files]) == 0
    told = capsys.readouterr()
    assert told.out == ""
    assert "20 rows scored" in told.err
    scored = pd.read_csv(tmp_path / "out.csv")
    pd.testing.assert_frame_equal(scored[new.columns], pd.read_csv(tmp_path / "new.csv"))
    clf = sksve.load(model)
    X = new[clf.feature_names_in_]
    proba, uncertainty = clf.predict_proba(X), clf.predict_uncertainty(X)
    assert scored["predicted"].tolist() == clf.predict(X).tolist()
    np.testing.assert_allclose(scored["probability"], proba.max(axis=1), atol=2e-6)
    np.testing.assert_allclose(scored["uncertainty"], uncertainty.total, atol=2e-6)
    np.testing.assert_allclose(scored["novelty"], uncertainty.novelty, atol=2e-6)


@pytest.mark.filterwarnings("ignore::sksve.CalibrationWarning")
def test_report__prints_the_figures_and_writes_the_page(model, frame, tmp_path, capsys):
    frame.to_csv(tmp_path / "test.csv", index=False)
    page = tmp_path / "page.html"
    command = ["report", str(model), str(tmp_path / "test.csv"), "--out", str(page)]
    assert main([*command, "--resamples", "20"]) == 0
    clf = sksve.load(model)
    accuracy = clf.score(frame[clf.feature_names_in_], frame["category"])
    assert f"accuracy{'':26}{accuracy:.4f}" in capsys.readouterr().out
    assert page.read_text().rstrip().endswith("</html>")
    assert main(command) == 1
    assert "is there already" in capsys.readouterr().err
    assert main([*command, "--overwrite", "--label", "topic"]) == 1
    assert "no column 'topic'" in capsys.readouterr().err


def test_doctor__says_what_a_name_means(folder, capsys):
    assert main(["doctor", folder]) == 0
    out = capsys.readouterr().out
    assert "bert, 2 blocks" in out
    assert "scikit-learn" in out
    assert main(["doctor", "no-such-model"]) == 1
    assert "no-such-model" in capsys.readouterr().err


def faulty(case, frame, here, model, folder):
    """Arguments that are wrong, and a word of the sentence that says so."""
    file = here / "a.csv"
    frame.to_csv(file, index=False)
    out = ["--out", str(here / "out")]
    fit = ["fit", str(file), "--backbone", folder, *out]
    if case == "no label":
        return [
            *fit,
            "--label",
            "topic",
        ], "no column 'topic'. Its columns: text, plan, age, category"
    if case == "no text":
        return [*fit, "--label", "category", "--text", "body"], "no column 'body'"
    if case == "label read":
        return [*fit, "--label", "text", "--text", "text"], "the column of the classes"
    if case == "no file":
        return ["predict", str(model), str(here / "b.csv"), *out], "b.csv is no file"
    if case == "no model":
        return ["predict", str(here), str(file), *out], str(here)
    if case == "empty":
        file.write_text("")
        return [*fit, "--label", "category"], "is no CSV file"
    if case == "no rows":
        frame[:0].to_csv(file, index=False)
        return [*fit, "--label", "category"], "has no rows"
    if case == "encoding":
        file.write_bytes("text,category\ncafé,a\n".encode("latin-1"))
        return [*fit, "--label", "category"], "is not in UTF-8"
    if case == "one class":
        frame.assign(category="a").to_csv(file, index=False)
        return [*fit, "--label", "category", "--text", "text"], "at least two classes"
    if case == "taken":
        frame.assign(novelty=1).to_csv(file, index=False)
        return ["predict", str(model), str(file), *out], "has a column 'novelty'"
    if case == "missing column":
        frame.drop(columns="text").to_csv(file, index=False)
        return ["predict", str(model), str(file), *out], "no column 'text'"
    frame.drop(columns="category").to_csv(file, index=False)
    return ["report", str(model), str(file), *out], "No other column"


@pytest.mark.parametrize(
    "case", "no label,no text,label read,no file,no model,empty,no rows,encoding,one class,taken,"
    "missing column,unlabelled".split(","),
)  # fmt: skip
def test_faults__are_one_sentence_and_leave_nothing(case, frame, tmp_path, model, folder, capsys):
    arguments, words = faulty(case, frame, tmp_path, model, folder)
    before = sorted(tmp_path.iterdir())
    assert main(arguments) == 1
    told = capsys.readouterr()
    assert words in told.err
    assert "Traceback" not in told.err
    assert told.out == ""
    assert sorted(tmp_path.iterdir()) == before


def test_help__is_at_once_and_wrong_usage_is_2():
    code = "import sys, sksve.cli as c\ntry: c.main(['-h'])\nfinally: print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.endswith("False\n")
    with pytest.raises(SystemExit) as info:
        main(["fit"])
    assert info.value.code == 2
