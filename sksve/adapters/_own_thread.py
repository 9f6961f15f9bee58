"""Switches on a shared module that each thread has for itself."""

import os
import threading
import weakref
from typing import Any, Generic, TypeVar, overload

import torch

__all__ = ["ThreadSwitch"]

T = TypeVar("T")


class ThreadSwitch(Generic[T]):
    """Attribute of a module whose value belongs to the thread that set it; None for all others.

    Threads that predict with one module thus cannot turn each other's switches. It is neither copied
    nor pickled with the module.
    """

    def __init__(self) -> None:
        self._local = threading.local()

    @overload
    def __get__(self, module: None, owner: Any) -> "ThreadSwitch[T]": ...
    @overload
    def __get__(self, module: object, owner: Any) -> T | None: ...
    def __get__(self, module: object | None, owner: Any) -> "ThreadSwitch[T] | T | None":
        if module is None:
            return self
        values = getattr(self._local, "values", None)
        return None if values is None else values.get(module)

    def __set__(self, module: object, value: T | None) -> None:
        if not hasattr(self._local, "values"):
            self._local.values = weakref.WeakKeyDictionary()
        if value is None:
            self._local.values.pop(module, None)
        else:
            self._local.values[module] = value


def _one_thread() -> None:
    torch.set_num_threads(1)


# OpenMP's threads do not exist in a forked process, and waiting for them would last for ever: once
# the parent has computed on several threads, the child must stay on its only one.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_one_thread)
