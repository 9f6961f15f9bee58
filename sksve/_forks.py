"""Locks that a forked process finds open."""

import os
import threading
import weakref
from types import TracebackType

__all__ = ["ForkSafeLock", "lock_of"]


class ForkSafeLock:
    """Reentrant lock; in a forked child it is a new one.

    A thread of the parent that holds a lock at the time of the fork does not exist in the child, which
    would wait for it for ever. What it guards must be whole at every bytecode, as a dictionary is.

    Examples
    --------
    >>> from sksve._forks import ForkSafeLock
    >>> lock = ForkSafeLock()
    >>> with lock, lock:
    ...     print("in")
    in
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        _all.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[type["ForkSafeLock"], tuple[()]]:
        return ForkSafeLock, ()  # copies and pickles hold a lock of their own


_all: weakref.WeakSet[ForkSafeLock] = weakref.WeakSet()


def _renew() -> None:
    for lock in list(_all):
        lock._lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)

_of_things: weakref.WeakKeyDictionary[object, ForkSafeLock] = weakref.WeakKeyDictionary()
_of_others = ForkSafeLock()


def lock_of(thing: object) -> ForkSafeLock:
    """Lock of an object that only one thread may use at a time, such as a tokenizer.

    Parameters
    ----------
    thing : object
        One that cannot be referred to weakly shares a lock with others of that kind.

    Examples
    --------
    >>> from sksve._forks import lock_of
    >>> class Tokenizer:
    ...     pass
    >>> one, two = Tokenizer(), Tokenizer()
    >>> lock_of(one) is lock_of(one), lock_of(one) is lock_of(two)
    (True, False)
    """
    with _of_others:
        try:
            return _of_things.setdefault(thing, ForkSafeLock())
        except TypeError:
            return _of_others
