"""Every public calibrator and wrapper is documented in full: sections, formula, source, example."""

import inspect
import re

import pytest
from numpydoc.validate import validate

from sksve import calibration
from sksve.calibration import CALIBRATORS, CalibratedClassifier, SelectiveClassifier

CLASSES = [cls.__name__ for cls in CALIBRATORS.values()]
IGNORED = {"GL01", "SS05", "SS06", "ES01", "SA01", "SA04", "RT02", "RT03", "EX01", "YD01", "GL08"}
METHODS = [
    f"{cls.__name__}{method}"
    for cls in (CalibratedClassifier, SelectiveClassifier)
    for method in ["", *(f".{name}" for name in dir(cls) if not name.startswith("_"))]
    if not method.startswith(".set_") and method not in {".get_params", ".score"}
]
BASE = ["TemperatureScaling.fit", "TemperatureScaling.predict_proba", "make_calibrator"]


@pytest.mark.parametrize("name", [*CLASSES, *BASE, *METHODS])
def test_docstrings__pass_numpydoc(name):
    found = validate(f"sksve.calibration.{name}")
    assert [fault for fault in found["errors"] if fault[0] not in IGNORED] == []
    assert found["docstring"]


@pytest.mark.parametrize("name", CLASSES)
def test_docstrings__of_calibrators_are_complete(name):
    calibrator = getattr(calibration, name)
    text = inspect.getdoc(calibrator)
    for section in ("Parameters", "Attributes", "See Also", "References", "Examples"):
        assert re.search(rf"^{section}\n-+$", text, re.M), section
    assert ".. math::" in text
    assert re.search(r":arxiv:|:doi:|ICML\.", text)
    for parameter in inspect.signature(calibrator).parameters:
        assert re.search(rf"^{parameter} : ", text, re.M), parameter


def test_all__is_importable():
    assert set(CLASSES) <= set(calibration.__all__)
    assert len(METHODS) > 20
    assert all(hasattr(calibration, name) for name in calibration.__all__)
