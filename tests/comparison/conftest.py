"""One comparison of probabilities whose truth is known, made once."""

import pytest

from tests.comparison.made import compare


@pytest.fixture(scope="session")
def found():
    texts = [f"row {i} <script>alert({i})</script>" for i in range(800)]
    return compare(X_test=texts, methods=["temperature", "isotonic"], n_resamples=200)
