"""The wrappers and all their methods are documented in full."""

import pytest
from numpydoc.validate import validate

from sksve.calibration import CalibratedClassifier, SelectiveClassifier

IGNORED = {"GL01", "SS05", "SS06", "ES01", "SA01", "SA04", "EX01", "YD01", "GL08", "RT02"}
OWN = [
    f"{cls.__name__}{method}"
    for cls in (CalibratedClassifier, SelectiveClassifier)
    for method in ["", *(f".{name}" for name in dir(cls) if not name.startswith("_"))]
    if not method.startswith(".set_") and method not in {".get_params", ".score"}
]


@pytest.mark.parametrize("name", OWN)
def test_docstrings__pass_numpydoc(name):
    found = validate(f"sksve.calibration.{name}")
    assert [fault for fault in found["errors"] if fault[0] not in IGNORED] == []
    assert found["docstring"]


def test_docstrings__there_are_many():
    assert len(OWN) > 20
