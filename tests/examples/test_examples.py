"""Examples run top to bottom, on a tiny backbone in place of the real one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sksve.backbones import make_tiny_backbone
from sksve.datasets import fetch_movie_reviews
from tests.fetching import skip_without_registry

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.slow
def test_compare_calibration__runs_top_to_bottom(tmp_path):
    with skip_without_registry():
        fetch_movie_reviews()
    folder = tmp_path / "tiny"
    for part in make_tiny_backbone(max_positions=512):
        part.save_pretrained(folder)
    command = [
        sys.executable,
        *("-W", "ignore", str(ROOT / "examples" / "3_compare_calibration.py")),
        *("--backbone", str(folder), "--train-rows", "64", "--rows", "60", "--resamples", "20"),
        *("--output", str(tmp_path)),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    for words in ("3 models x 6 methods", " as it is", "* the pick", "p_value", "The page:"):
        assert words in done.stdout
    page = (tmp_path / "calibration.html").read_text(encoding="utf-8")
    assert "logistic regression" in page
    assert page.rstrip().endswith("</html>")
