"""Every public name is documented in full: numpydoc's own inspection, formulas, sources, examples."""

import inspect
import re
from importlib import import_module

import pytest
from numpydoc.validate import validate

from sksve import calibration, metrics

# Summary on the line of the quotes, nouns for names of metrics, longer summaries of few words,
# and what the tests below ask of functions and calibrators by themselves.
LOOSE = set("GL01 SS05 SS06 ES01 SA01 SA04 EX01 RT02 RT03 YD01 GL08".split())
ALLOWED = {
    "datasets": set(),
    "preprocessing": set(),
    "plotting": set(),
    "metrics": LOOSE | {"RT05", "PR01", "PR02"},  # fields of named tuples: described in the class
    "calibration": LOOSE,
}
# A method is explained by its class: no extended summary, See Also or Examples of its own.
NOT_OF_METHODS = {"ES01", "SA01", "EX01"}
DATA = (str, int, float, tuple, type(None))  # defaults of a data class's fields
FUNCTIONS = [name for name in metrics.__all__ if inspect.isfunction(getattr(metrics, name))]
CALIBRATORS = [cls.__name__ for cls in calibration.CALIBRATORS.values()]


def members_of(found):
    parents = [c for c in getattr(found, "__mro__", ()) if c.__module__.startswith("sksve")]
    return {name: value for c in parents for name, value in vars(c).items()}


def public_names():
    for room, allowed in ALLOWED.items():
        module = import_module(f"sksve.{room}")
        for name in module.__all__:
            found = getattr(module, name)
            if isinstance(found, dict):
                continue
            yield f"sksve.{room}.{name}", allowed
            for method, value in members_of(found).items():
                if not method.startswith("_") and not isinstance(value, DATA):
                    yield f"sksve.{room}.{name}.{method}", allowed | NOT_OF_METHODS


def faults_of(name, allowed):
    return [error for error in validate(name)["errors"] if error[0] not in allowed]


@pytest.mark.parametrize(("name", "allowed"), list(public_names()))
def test_docstring__is_whole(name, allowed):
    assert faults_of(name, allowed) == []


def test_docstring__the_inspection_can_fail():
    assert {code for code, _ in faults_of("sksve.datasets._sentiment._member", set())} >= {"GL08"}


@pytest.mark.parametrize("room", ALLOWED)
def test_all__every_name_exists(room):
    module = import_module(f"sksve.{room}")
    assert all(hasattr(module, name) for name in module.__all__)


def has_sections(text, *sections):
    for section in sections:
        assert re.search(rf"^{section}\n-+$", text, re.M), section
    assert ".. math::" in text


@pytest.mark.parametrize("name", FUNCTIONS)
def test_metric__has_formula_source_example_and_shapes(name):
    function = getattr(metrics, name)
    text = inspect.getdoc(function)
    has_sections(text, "Parameters", "Returns", "Raises", "See Also", "References", "Examples")
    assert re.search(r"doi:10\.|arXiv:\d{4}\.\d{4,5}|https://jmlr", text)
    assert re.search(rf">>> .*\b{name}\(", text)
    for parameter in inspect.signature(function).parameters:
        assert re.search(rf"^\*{{0,2}}([\w, ]+, )?{parameter}\b.* : ", text, re.M), parameter
    for line in re.findall(r"^y_proba : .*|^y_true : .*|^sample_weight : .*", text, re.M):
        assert "of shape" in line


@pytest.mark.parametrize("name", CALIBRATORS)
def test_calibrator__has_formula_source_and_every_parameter(name):
    calibrator = getattr(calibration, name)
    text = inspect.getdoc(calibrator)
    has_sections(text, "Parameters", "Attributes", "See Also", "References", "Examples")
    assert re.search(r":arxiv:|:doi:|ICML\.", text)
    for parameter in inspect.signature(calibrator).parameters:
        assert re.search(rf"^{parameter} : ", text, re.M), parameter
