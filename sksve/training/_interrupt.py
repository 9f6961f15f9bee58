"""Ctrl-C ends a training between two steps, with members that can be used."""

import signal
import threading
import time
from types import FrameType
from typing import Any, Self

import numpy as np

__all__ = [
    "InterruptMixin",
    "SigintFlag",
    "TrainingStopped",
    "close_history",
    "interrupt_notes",
    "sigints",
]

# Moments between two steps, when parameters, optimizer and history agree.
_BETWEEN_STEPS = {"on_epoch_begin", "on_batch_end", "on_epoch_end"}


class TrainingStopped(KeyboardInterrupt):
    """Nothing is left to train: skorch's own way out of its loop, and no interrupt."""


class SigintFlag:
    """Counts SIGINT while it is entered: the first is only noted, a second raises KeyboardInterrupt.

    Does nothing outside the main thread, and where somebody else handles SIGINT.
    """

    def __init__(self) -> None:
        self.count = 0
        self._installed = False

    def __enter__(self) -> Self:
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._note)
            self._installed = True
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        if self.count > 1:
            raise KeyboardInterrupt

    def __exit__(self, *exception: object) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)


class InterruptMixin:
    """For a skorch net: how its training loop begins and ends.

    It counts steps, goes on where a checkpoint has put it (``epochs_done_``), and tells the ends of a
    training apart: all members have stopped, a skorch callback has said so, or somebody has
    interrupted it. An interrupt before the first step, a second Ctrl-C, and any in a net that is not
    ``run.interruptible`` go through.
    """

    callbacks_: Any
    initialized_: bool
    run: Any
    max_epochs: int

    def partial_fit(
        self: Any, X: Any, y: Any = None, classes: Any = None, **fit_params: Any
    ) -> Any:
        if not self.initialized_:
            self.initialize()
        fit_params.setdefault("_routing_method", "partial_fit")
        self.n_steps_ = self.epochs_done_ = 0
        self.interrupted_ = False
        self.out_of_time_ = False
        self._began = time.monotonic()
        with SigintFlag() as flag:
            self.sigint_ = flag
            try:
                self.notify("on_train_begin", X=X, y=y)
                self.fit_loop(X, y, **fit_params)
            except TrainingStopped:
                pass
            except KeyboardInterrupt as stop:
                asked_by_callback = stop.args == (_BY_CALLBACK,)
                interruptible = self.run.interruptible and self.run.processes.n == 1
                asked = asked_by_callback or self.out_of_time_
                passes = flag.count > 1 or not (interruptible or asked)
                if passes or self.n_steps_ == 0:
                    raise KeyboardInterrupt from stop
                self.interrupted_ = self.n_steps_ < self.n_steps_due(X)
            finally:
                del self.sigint_
        close_history(self)
        self.notify("on_train_end", X=X, y=y)
        return self

    def n_steps_due(self: Any, X: Any) -> int:
        """Steps of the whole training."""
        return self.max_epochs * -(-len(X) // self.batch_size)

    def fit_loop(self: Any, X: Any, y: Any = None, epochs: int | None = None, **kwargs: Any) -> Any:
        epochs = self.max_epochs if epochs is None else epochs
        epochs = epochs - self.epochs_done_ if self.active_ else 0
        return super().fit_loop(X, y, epochs=epochs, **kwargs)  # type: ignore[misc]

    def notify(self: Any, method_name: str, **kwargs: Any) -> None:
        getattr(self, method_name)(self, **kwargs)
        if method_name == "on_batch_end" and kwargs.get("training"):
            self.n_steps_ += 1
        for _, callback in self.callbacks_:
            try:
                getattr(callback, method_name)(self, **kwargs)
            except KeyboardInterrupt as stop:
                if sigints(self) > 1 or isinstance(stop, TrainingStopped):
                    raise
                # skorch's callbacks end a training by this exception; so may a user's.
                of_skorch = type(callback).__module__.partition(".")[0] == "skorch"
                raise (
                    TrainingStopped() if of_skorch else KeyboardInterrupt(_BY_CALLBACK)
                ) from stop
        # After every callback has had this step, end the loop in skorch's own way.
        if method_name in ("on_batch_end", "on_epoch_end") and not self.active_:
            raise TrainingStopped
        between = method_name in _BETWEEN_STEPS and kwargs.get("training", True)
        if between and self.n_steps_ and self.run.max_time is not None:
            self.out_of_time_ = time.monotonic() - self._began >= self.run.max_time
        if between and (sigints(self) or self.out_of_time_):
            raise KeyboardInterrupt


_BY_CALLBACK = "a callback asked for the end"


def sigints(net: Any) -> int:
    """How often SIGINT has come since the net's training began."""
    return net.sigint_.count if "sigint_" in vars(net) else 0


def close_history(net: Any) -> None:
    """Complete the row of an epoch that was left in its middle: means over the steps it made."""
    if not net.history or "member_padding" in net.history[-1]:
        return
    row = net.history[-1]
    row["batches"] = [b for b in row["batches"] if "train_loss" in b]
    if not row["batches"]:
        net.history.pop()
        return
    dict(net.callbacks_)["member_log"].close(net)
    row["train_batch_count"] = len(row["batches"])
    if net.valid_dataset is not None:
        nan = np.full(net.module_.n_members, np.nan).tolist()
        row |= {"member_valid_loss": nan, "member_valid_accuracy": nan}


def interrupt_notes(net: Any) -> tuple[str, ...]:
    """What a user whose training was interrupted must know; nothing if it was not."""
    if not net.interrupted_:
        return ()
    how = "ended by max_time" if net.out_of_time_ else "interrupted"
    return (
        f"Training was {how} in epoch {len(net.history)} of {net.max_epochs}, after "
        f"{net.n_steps_} steps. The members are as they were then and can be used. With checkpoint_dir, "
        "the same call continues after the last whole epoch.",
    )
