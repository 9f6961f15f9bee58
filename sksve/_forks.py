"""Locks that a forked process finds open.

A thread of the parent that holds a lock at the time of the fork does not exist in the child, which would wait
for it for ever. What such a lock guards must be whole at every bytecode, as a dictionary is.
"""

import os
import threading
import weakref
from typing import Any


class ForkSafeLock:
    """Reentrant lock; in a forked child, and in copies and pickles, it is a new one."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        _all.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: Any) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[type["ForkSafeLock"], tuple[()]]:
        return ForkSafeLock, ()


_all: weakref.WeakSet[ForkSafeLock] = weakref.WeakSet()
_of_things: weakref.WeakKeyDictionary[object, ForkSafeLock] = weakref.WeakKeyDictionary()
_of_others = ForkSafeLock()


def _renew() -> None:
    for lock in list(_all):
        lock._lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)


def lock_of(thing: object) -> ForkSafeLock:
    """Lock of an object that only one thread may use at a time, such as a tokenizer."""
    with _of_others:
        try:
            return _of_things.setdefault(thing, ForkSafeLock())
        except (
            TypeError
        ):  # one that cannot be referred to weakly shares a lock with others of that kind
            return _of_others
