"""No public name is forgotten: it has cases of its own, or a reason why not."""

from importlib import import_module

import sksve
from tests.fuzz.harness import FUZZ
from tests.fuzz.registered import UNFUZZED, WHOLE_ROOMS

# `inputs` and `training` are rooms of their own, though no name of sksve leads to them.
ROOMS = [name for name in sksve.__all__ if name in sksve._ROOMS] + ["inputs", "training"]


def public_names():
    for name in sksve.__all__:
        if name not in sksve._ROOMS:
            yield name
    for room in ROOMS:
        if room not in WHOLE_ROOMS:
            yield from (f"{room}.{name}" for name in import_module(f"sksve.{room}").__all__)


def test_names__each_has_cases_or_a_reason():
    missing = [name for name in public_names() if name not in FUZZ and name not in UNFUZZED]
    assert missing == []


def test_names__no_entry_outlives_its_name():
    known = {*public_names(), *(f"estimators.{n}" for n in sksve._LAZY)}
    assert [name for name in FUZZ if name not in known] == []
    assert [name for name in UNFUZZED if name not in known] == []
    assert [name for name in UNFUZZED if name in FUZZ] == []
