"""The survival report itself: what passed is summed, what failed is not."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

TESTS = """
import pytest
from hypothesis import given, settings, strategies as st

@pytest.mark.parametrize("k", range(4))
def test_kills(k, tally):
    for _ in range(3):
        tally("kills")

@settings(max_examples=20, database=None)
@given(st.integers())
def test_cases(tally, n):
    tally("cases")

def test_lost(tally):
    tally("floods", 5)
    assert False
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [[], ["-n", "2"]],
    ids=["alone", "xdist"],
)
def test__counts_of_all_workers_are_summed(options, pytester):
    if options:
        pytest.importorskip("xdist")
    pytester.makeconftest((Path(__file__).parents[1] / "conftest.py").read_text())
    pytester.makepyfile(TESTS)
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", *options)
    done.assert_outcomes(passed=5, failed=1)
    done.stdout.fnmatch_lines(
        [
            "*survival report*",
            "cases: 20, nothing lost",
            "floods: 0, a test FAILED, its counts are left out",
            "kills: 12, nothing lost",
        ]
    )
