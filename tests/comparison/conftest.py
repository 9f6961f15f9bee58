"""One comparison of probabilities whose truth is known, made once."""

import pytest

from sksve import compare_calibration
from tests.comparison.made import make_models


@pytest.fixture(scope="session")
def found():
    pairs, y_cal, y_test = make_models()
    texts = [f"row {i} <script>alert({i})</script>" for i in range(len(y_test))]
    return compare_calibration(
        pairs,
        None,
        y_cal,
        texts,
        y_test,
        methods=["temperature", "isotonic"],
        n_resamples=200,
        random_state=0,
    )
