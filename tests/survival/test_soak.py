"""The soak of ``benchmarks/studies/soak.py``, for seconds instead of half an hour."""

from pathlib import Path

import pytest

from benchmarks.studies import soak
from tests.survival.kills import needs_fork

needs_proc = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")


@pytest.mark.slow
@needs_fork
@needs_proc
def test__twenty_seconds(tally):
    found = soak.run(minutes=20 / 60, seed=0)
    assert found["counts"]["losses"] == 0, found["faults"]
    assert found["counts"]["rounds"] >= 3
    assert found["counts"]["kills"] >= 3
    assert found["end"]["open_files"] <= found["start"]["open_files"] + 2
    tally("SIGKILL during the soak", found["counts"]["kills"])
    tally("round of the soak", found["counts"]["rounds"])


@pytest.mark.slow
@needs_fork
@needs_proc
def test__a_loss_is_seen(monkeypatch):
    """A model that answers otherwise than at the start is counted."""
    fitted = soak.Soak.__init__

    def spoiled(self, home, seed):
        fitted(self, home, seed)
        self.answers = [answer + 1e-9 for answer in self.answers]

    monkeypatch.setattr(soak.Soak, "__init__", spoiled)
    found = soak.run(minutes=0.001)
    assert found["counts"]["losses"] >= 3
    assert "another answer" in found["faults"][0]
