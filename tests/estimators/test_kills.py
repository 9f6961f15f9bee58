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


def test__a_few_kills(tmp_path, tally):
    told = kill_fits(tmp_path, 3, seed=1)
    tally("SIGKILL during fit", told["kills"])
    assert told["kills"] >= 3


@pytest.mark.slow
def test__many_kills(tmp_path, tally):
    told = kill_fits(tmp_path, 60, seed=0)
    tally("SIGKILL during fit", told["kills"])
    assert told["kills"] >= 60
    assert told["resumed"] >= 20  # the others died before their first checkpoint
