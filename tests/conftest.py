"""Shared set-up: no model hub, quiet threads, reproducible hypothesis."""

import os

# Before torch or transformers is imported by any test.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("MPLBACKEND", "Agg")

from collections import Counter

import numpy as np
import pytest
from hypothesis import settings

settings.register_profile("sksve", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("sksve")


@pytest.fixture
def rng():
    """A fresh generator per test, so that tests cannot move each other's numbers."""
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def texts():
    from tests.making import TEXTS

    return list(TEXTS)


@pytest.fixture(scope="session")
def labels():
    from tests.making import LABELS

    return list(LABELS)


@pytest.fixture(scope="session")
def tiny():
    """A (model, tokenizer) pair that many tests share: none may change it."""
    from sksve.backbones import make_tiny_backbone

    return make_tiny_backbone()


# -- the survival report -------------------------------------------------------------------------

_MARK = "survived: "
_running = []


def pytest_runtest_setup(item):
    _running[:] = [item]


@pytest.fixture(scope="session")
def tally():
    """Count what was survived: ``tally("SIGKILL during save", 20)``, also inside ``@given``.

    The counts of tests that pass are summed over tests (and xdist workers) and printed at the end.
    """

    def count(name, n=1):
        # A report carries its test's properties to the process that prints the summary.
        properties = _running[0].user_properties
        known = dict(properties)
        properties[:] = [p for p in properties if p[0] != _MARK + name]
        properties.append((_MARK + name, known.get(_MARK + name, 0) + n))

    return count


def pytest_terminal_summary(terminalreporter):
    counts, lost = Counter(), set()
    for outcome, reports in terminalreporter.stats.items():
        for report in reports:
            if getattr(report, "when", None) != "call":
                continue
            for name, n in report.user_properties:
                if name.startswith(_MARK) and outcome == "passed":
                    counts[name.removeprefix(_MARK)] += n
                elif name.startswith(_MARK):
                    lost.add(name.removeprefix(_MARK))
    if counts or lost:
        terminalreporter.section("survival report")
        for name in sorted(counts | dict.fromkeys(lost, 0)):
            end = "a test FAILED, its counts are left out" if name in lost else "nothing lost"
            terminalreporter.line(f"{name}: {counts[name]:,}, {end}")
