"""SIGKILL at random moments of fit: the same call goes on and ends with the same bits."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("kill_fits.py")


def kill_fits(scratch, n, seed):
    command = [sys.executable, str(PROGRAM), str(scratch), str(n), str(seed)]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kills", "resumed"),
    [(2, 0), (60, 20)],  # others died before a checkpoint
)
def test__kills(kills, resumed, tmp_path, tally):
    told = kill_fits(tmp_path, kills, seed=kills % 2)
    tally("SIGKILL during fit", told["kills"])
    assert told["kills"] >= kills
    assert told["resumed"] >= resumed
