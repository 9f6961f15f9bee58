"""numpydoc's own inspection of every public name of the rooms datasets, preprocessing, plotting."""

import inspect
from importlib import import_module

import pytest
from numpydoc.validate import validate

ROOMS = ("datasets", "preprocessing", "plotting")
# A method is explained by its class: no extended summary, See Also or Examples of its own.
DATA = (str, int, float, tuple, type(None))  # defaults of a data class's fields
NOT_OF_METHODS = {"ES01", "SA01", "EX01"}


def public_names():
    for room in ROOMS:
        module = import_module(f"sksve.{room}")
        for name in module.__all__:
            yield f"sksve.{room}.{name}", set()
            found = getattr(module, name)
            for method, value in vars(found).items() if inspect.isclass(found) else ():
                if not method.startswith("_") and not isinstance(value, DATA):
                    yield f"sksve.{room}.{name}.{method}", NOT_OF_METHODS


def faults_of(name, allowed):
    return [error for error in validate(name)["errors"] if error[0] not in allowed]


@pytest.mark.parametrize(("name", "allowed"), list(public_names()))
def test_docstring__is_whole(name, allowed):
    assert faults_of(name, allowed) == []


@pytest.mark.parametrize("room", ROOMS)
def test_all__is_sorted_and_every_name_exists(room):
    module = import_module(f"sksve.{room}")
    assert module.__all__ == sorted(module.__all__)
    assert all(
        getattr(module, name).__module__.startswith(f"sksve.{room}.") for name in module.__all__
    )


def test_docstring__the_inspection_can_fail():
    assert {code for code, _ in faults_of("sksve.datasets._sentiment._member", set())} >= {"GL08"}
