"""What a test does when archives cannot be fetched."""

from contextlib import contextmanager

import pytest

from sksve import FetchError


def is_out_of_reach(error):
    """Whether an archive could not be had, and not: could not be put where it belongs."""
    return "SKSVE_CACHE" not in str(error)


@contextmanager
def skip_without_registry():
    """Skip where pip cannot download; a cache that cannot be written is a fault, and stays one."""
    try:
        yield
    except FetchError as error:
        if not is_out_of_reach(error):
            raise
        pytest.skip(f"no package registry is reachable: {error}")
