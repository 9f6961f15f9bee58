"""Warnings of a task in another process: kept there, given again here."""

import sys
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

__all__ = ["ToldWarning", "keep_warnings", "warn_again"]


class ToldWarning(NamedTuple):
    """A warning as it travels: what ``warnings.warn_explicit`` wants."""

    message: str
    category: type[Warning]
    filename: str
    lineno: int
    module: str | None


_lock = threading.Lock()
_kept: dict[int, list[ToldWarning]] = {}  # by thread
_catching: list[
    Any
] = []  # the one `catch_warnings` of the process, and what showed warnings before


@contextmanager
def keep_warnings() -> Iterator[list[ToldWarning]]:
    """Keep the warnings that this thread would show, in a list, in place of showing them.

    ``warnings.catch_warnings`` alone is not safe where a worker runs several tasks in threads: here
    the first of them enters it, and the last one leaves it. The filters stay as they are; what has
    been shown once is shown again.
    """
    mine: list[ToldWarning] = []
    with _lock:
        if not _kept:
            catcher = warnings.catch_warnings()
            catcher.__enter__()
            _catching[:] = [catcher, warnings.showwarning]
            warnings.showwarning = _show
        _kept[threading.get_ident()] = mine
    try:
        yield mine
    finally:
        with _lock:
            del _kept[threading.get_ident()]
            if not _kept:
                catcher = _catching[0]
                _catching.clear()
                catcher.__exit__(None, None, None)


def _show(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,
    line: str | None = None,
) -> None:
    mine = _kept.get(threading.get_ident())
    if mine is None:
        _catching[1](message, category, filename, lineno, file, line)
        return
    mine.append(ToldWarning(str(message), category, filename, lineno, _module_of(filename)))


def _module_of(filename: str) -> str | None:
    """Name of the module in a file: filters of the receiving process may go by it."""
    for name, module in list(sys.modules.items()):
        if getattr(module, "__file__", None) == filename:
            return name
    return None


def warn_again(told: Iterable[ToldWarning]) -> None:
    """Give warnings that were kept; the filters of this process decide what becomes of them.

    Under the default filters, what several tasks say alike is shown once.
    """
    seen: dict[Any, Any] = {}
    for each in told:
        warnings.warn_explicit(*each, registry=seen)
