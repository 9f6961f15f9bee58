"""The example of a cluster runs from top to bottom, on two real worker processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sksve.backbones import make_tiny_backbone

ROOT = Path(__file__).parent.parent

pytest.importorskip("dask.distributed", reason="the extra `dask` is not installed")


@pytest.mark.slow
def test_dask__runs_top_to_bottom(tmp_path):
    folder = tmp_path / "tiny"
    for part in make_tiny_backbone():
        part.save_pretrained(folder)
    command = [
        *(sys.executable, "-W", "ignore", str(ROOT / "examples" / "6_dask.py"), "--synthetic"),
        *("--backbone", str(folder), "--rows", "24", "--epochs", "1", "--members", "3"),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    for words in ("Dask: 2 workers", "same members: True", "grid search, 8 fits", "best: {"):
        assert words in done.stdout
