"""Every public name is documented in full: sections, shapes, references, examples."""

import inspect
import re
import sys

import pytest
from numpydoc.validate import validate

from sksve import metrics

FUNCTIONS = [name for name in metrics.__all__ if inspect.isfunction(getattr(metrics, name))]
IGNORED = {
    "GL01",  # summary on the line of the quotes, as everywhere in sksve
    "SS05",  # infinitive verb: a metric is named by a noun
    "SS06",  # one-line summary
    "ES01",  # extended summary: not of every record
    "SA01",  # see also, likewise
    "SA04",
    "EX01",  # demanded of functions below
    "RT02",
    "RT03",
    "RT05",
    "PR01",  # fields of named tuples are described in the class
    "PR02",
    "GL08",  # methods inherited from tuple
    "YD01",
}


def faults(name):
    return [
        fault for fault in validate(f"sksve.metrics.{name}")["errors"] if fault[0] not in IGNORED
    ]


@pytest.mark.parametrize("name", metrics.__all__)
def test_docstrings__pass_numpydoc(name):
    assert faults(name) == []


def test_docstrings__numpydoc_finds_faults(monkeypatch):
    def bad(x):
        """does something

        Parameters
        ----------
        x: int
           thing
        """

    bad.__module__ = "sksve.metrics"
    monkeypatch.setattr(sys.modules["sksve.metrics"], "bad", bad, raising=False)
    assert {"SS02", "SS03", "PR10"} <= {code for code, _ in faults("bad")}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_docstrings__of_functions_are_complete(name):
    function = getattr(metrics, name)
    text = inspect.getdoc(function)
    for section in ("Parameters", "Returns", "Raises", "See Also", "References", "Examples"):
        assert re.search(rf"^{section}\n-+$", text, re.M), section
    assert ".. math::" in text
    assert re.search(r"doi:10\.|arXiv:\d{4}\.\d{4,5}|https://jmlr", text)
    assert re.search(rf">>> .*\b{name}\(", text)
    for parameter in inspect.signature(function).parameters:
        assert re.search(rf"^\*{{0,2}}([\w, ]+, )?{parameter}\b.* : ", text, re.M), parameter
    for line in re.findall(r"^y_proba : .*|^y_true : .*|^sample_weight : .*", text, re.M):
        assert "of shape" in line


def test_all__is_sorted_and_importable():
    assert metrics.__all__ == sorted(metrics.__all__)
    assert len(FUNCTIONS) == 25
