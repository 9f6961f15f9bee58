"""Example 7, plainly and under the launchers that it names, on a tiny backbone and made-up rows."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sksve import SVEClassifier
from sksve.backbones import make_tiny_backbone
from tests.training.test_data_parallel import ACCELERATE, LIMIT, TORCHRUN, launch

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "7_data_parallel.py"


@pytest.mark.slow
def test_data_parallel__one_process_and_two_say_the_same(tmp_path):
    for part in make_tiny_backbone():
        part.save_pretrained(tmp_path / "tiny")
    said, saved = {}, {}
    for how in ("plain", "accelerate", "torchrun"):
        output = tmp_path / how
        options = ["--backbone", str(tmp_path / "tiny"), "--synthetic", "--rows", "30"]
        options += ["--output", str(output)]
        if how == "plain":
            environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
            command = [sys.executable, str(EXAMPLE), *options]
            done = subprocess.run(
                command, capture_output=True, text=True, env=environment, timeout=LIMIT
            )
            code, out = done.returncode, done.stdout + done.stderr
        else:
            code, out = launch(TORCHRUN if how == "torchrun" else ACCELERATE, EXAMPLE, *options)
        assert code == 0, out[-3000:]
        assert out.count("losses:") == 1, "one process speaks"
        said[how] = [line for line in out.splitlines() if line.startswith("losses:")]
        saved[how] = SVEClassifier.from_pretrained(output / "data_parallel")
        assert ("2 processes" in out) == (how != "plain")
    assert said["plain"] == said["accelerate"] == said["torchrun"]
    expected = saved["plain"].predict_proba_members(["good film", "dull"])
    for how in ("accelerate", "torchrun"):
        got = saved[how].predict_proba_members(["good film", "dull"])
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4)
