"""What a test does when archives cannot be fetched."""

from contextlib import contextmanager

import pytest

from sksve._exceptions import FetchError


@contextmanager
def skip_without_registry():
    """Skip where pip cannot download; a cache that cannot be written is a fault, and stays one."""
    try:
        yield
    except FetchError as error:
        if not str(error).startswith("Cannot download"):
            raise
        pytest.skip(f"no package registry is reachable: {error}")
