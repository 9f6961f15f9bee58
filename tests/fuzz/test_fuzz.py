"""Every public name, given what people give it: a documented error or a right answer, nothing else."""

import pytest

from tests.fuzz import registered  # noqa: F401  (it registers the cases)
from tests.fuzz.harness import FUZZ, run_cases
from tests.fuzz.world import World

FEW, MANY = 2, 150


@pytest.fixture(scope="session")
def world():
    return World()


@pytest.mark.parametrize("name", sorted(FUZZ))
def test__few_cases(name, world, tally):
    tally("fuzz cases", 0)
    tally("fuzz cases", run_cases(name, world, FEW))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FUZZ))
def test__many_cases(name, world, tally):
    tally("fuzz cases, slow suite", 0)  # a name that fails is told in the report, too
    tally("fuzz cases, slow suite", run_cases(name, world, MANY))
