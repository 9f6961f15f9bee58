"""A progress bar on stderr, shown only when the work turns out to be long."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

__all__ = ["Progress", "is_long", "without_bars"]

#: Seconds of work from which on a bar is worth its lines.
LONG = 5.0

# Of this thread: the bar of a stream stands for those of its pieces.
_silent: ContextVar[bool] = ContextVar("sksve_silent", default=False)


def is_long(seconds: float, done: float, total: float | None) -> bool:
    """Whether work is expected to take more than five seconds, judged from its beginning.

    Parameters
    ----------
    seconds : float
        Since the start.
    done : float
        How much has been done in this time.
    total : float or None
        How much there is. None: unknown, and only the time that has passed counts.

    Returns
    -------
    bool

    Examples
    --------
    >>> from sksve.training._progress import is_long
    >>> is_long(0.2, 10, 100), is_long(0.2, 1, 100), is_long(6.0, 1, None)
    (False, True, True)
    """
    if total is None:
        return seconds > LONG
    return done > 0 and seconds * total > LONG * done


class Progress:
    """Counts work, and shows a bar (tqdm, on stderr) once :func:`is_long` says so.

    Parameters
    ----------
    total : int or None
        None: unknown.
    unit : str
    show : bool
        False: never any bar. Nor is there one inside of :func:`without_bars`.

    Examples
    --------
    >>> from sksve.training._progress import Progress
    >>> with Progress(3, "row", show=True) as progress:  # too short for a bar
    ...     for _ in range(3):
    ...         progress.advance(1)
    """

    def __init__(self, total: int | None, unit: str, *, show: bool) -> None:
        self.total, self.unit = total, unit
        self.show = show and not _silent.get()
        self._done = 0
        self._start = time.perf_counter()
        self._bar: Any = None

    def advance(self, n: int) -> None:
        """Count n units more."""
        if not self.show:
            return
        self._done += n
        if self._bar is not None:
            self._bar.update(n)
        elif is_long(time.perf_counter() - self._start, self._done, self.total):
            from tqdm import tqdm

            self._bar = tqdm(
                desc="Predicting",
                total=self.total,
                initial=self._done,
                unit=self.unit,
                unit_scale=True,
            )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()


@contextmanager
def without_bars() -> Iterator[None]:
    """Let no bar appear in this thread for the time of the block: another one stands for them."""
    token = _silent.set(True)
    try:
        yield
    finally:
        _silent.reset(token)
