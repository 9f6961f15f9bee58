"""What happens between the steps of a training: schedule, log, early stopping, Ctrl-C, a user's callbacks."""

import copy
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType
from typing import Any, Self

import numpy as np
import torch
from skorch.callbacks import (
    BatchScoring,
    Callback,
    EpochScoring,
    Freezer,
    GradientNormClipping,
    LRScheduler,
    Unfreezer,
)

from sksve.training._module import WarmupLinear, member_hits, stopping_steps

# Lists of length m in the history; PrintLog prints scalars only.
MEMBER_KEYS = (
    "member_train_loss", "member_valid_loss", "member_valid_accuracy", "member_padding",
)  # fmt: skip


class WarmupSchedule(Callback):
    """Learning rates up linearly for a share of all steps, then linearly to 0.

    skorch's LRScheduler must know the number of steps when it is made; this one asks the net. With
    `freeze_out` each of the optimizer's groups reaches 0 at another step, and the net freezes its block
    from there on.
    """

    def __init__(self, warmup: float) -> None:
        self.warmup = warmup

    def on_train_begin(self, net: Any, X: Any = None, **kwargs: Any) -> None:
        n_steps = net.max_epochs * -(-len(X) // net.batch_size)
        self.stops_ = stopping_steps(net.n_stages_, net.settings.freeze_out, n_steps)
        stages = [group.get("stage", 0) for group in net.optimizer_.param_groups]
        self.schedule_ = torch.optim.lr_scheduler.LambdaLR(
            net.optimizer_,
            [WarmupLinear(n_steps, self.warmup, self.stops_[-1 - k]) for k in stages],
        )

    def on_batch_begin(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        if training:
            net.n_frozen_ = sum(self.schedule_.last_epoch >= stop for stop in self.stops_[:-1])

    def on_batch_end(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        if training:
            net.history.record_batch("lr", self.schedule_.get_last_lr()[0])
            self.schedule_.step()

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        del self.schedule_  # it holds the optimizer, which a fitted net does not need
        net.n_frozen_ = 0


class MemberLog(Callback):
    """Record what each member did: losses and validation accuracy of shape (n_members,) per epoch.

    A member that has stopped has NaN.
    """

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        #: Sums of the epoch, and the rows of training (True) and of validation they are over.
        self.sums: dict[str, np.ndarray] = {}
        self.rows = {True: 0, False: 0}

    def on_batch_end(
        self, net: Any, batch: Any = None, training: bool = False, **kwargs: Any
    ) -> None:
        Xi, yi = batch
        b, m = len(Xi), net.module_.n_members
        members = list(range(m)) if Xi.members is None else list(Xi.members)
        self.rows[training] += b
        losses = kwargs["member_losses"].double().cpu().numpy()
        self._add("member_train_loss" if training else "member_valid_loss", members, m, losses * b)
        if training:
            self._add("member_tokens", members, m, Xi.token_counts())
        if not training:
            hits = member_hits(kwargs["y_pred"].cpu(), yi)
            self._add("member_valid_accuracy", members, m, hits.numpy())

    def _add(self, key: str, members: list[int], m: int, values: np.ndarray) -> None:
        total = self.sums.setdefault(key, np.zeros((*values.shape[:-1], m)))
        total[..., members] += values

    def close(self, net: Any) -> None:
        """Record an epoch that was left before its validation was done."""
        self.sums = {k: v for k, v in self.sums.items() if not k.startswith("member_valid")}
        self.on_epoch_end(net)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        stopped = [k for k in range(net.module_.n_members) if k not in net.active_]
        real, padded = self.sums.pop("member_tokens", np.ones((2, 1)))
        padding = 1.0 - real / np.maximum(padded, 1.0)
        padding[stopped] = np.nan
        net.history.record("member_padding", padding.tolist())
        for key, total in self.sums.items():
            mean = total / max(self.rows[key == "member_train_loss"], 1)
            mean[stopped] = np.nan
            net.history.record(key, mean.tolist())
        self.sums = {}


class MemberEarlyStopping(Callback):
    """Stop each member on its own validation loss, and give it back its best weights.

    `patience` is the epochs without improvement after which a member stops, `tol` the smallest improvement
    that counts, as ``MLPClassifier``'s.
    """

    def __init__(self, patience: int, tol: float = 1e-4) -> None:
        self.patience = patience
        self.tol = tol

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        m = net.module_.n_members
        self.best_ = np.full(m, np.inf)
        self.wait_ = np.zeros(m, dtype=int)
        self.weights_ = [p.detach().clone() for p in net.module_.member_parameters()]

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        losses = np.asarray(net.history[-1, "member_valid_loss"])
        for k in list(net.active_):
            self.wait_[k] += 1
            if losses[k] < self.best_[k] - self.tol:
                self.wait_[k] = 0
            if losses[k] < self.best_[k]:
                self.best_[k] = losses[k]
                for kept, p in zip(self.weights_, net.module_.member_parameters()):
                    kept[k] = p.detach()[k]
            if self.wait_[k] >= self.patience:
                net.active_.remove(k)

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        # A member that was never judged (its first epoch was interrupted) stays as it is.
        judged = torch.from_numpy(np.isfinite(self.best_)).nonzero()[:, 0]
        with torch.no_grad():
            for kept, p in zip(self.weights_, net.module_.member_parameters()):
                p[judged.to(p.device)] = kept[judged.to(p.device)]
        del self.weights_


# -- a user's ------------------------------------------------------------------------------------

_LEARNS = "target_modules, adapt_blocks and train_bias say what learns"
_REFUSED = {
    BatchScoring: "a batch holds rows of all members: use EpochScoring",
    Freezer: _LEARNS,
    Unfreezer: _LEARNS,
    GradientNormClipping: "it would clip all members together: set max_grad_norm",
    LRScheduler: "the rates have a schedule: set warmup and freeze_out",
}


def check_callbacks(callbacks: Sequence[Any] | None) -> None:
    """Refuse skorch callbacks that cannot work, or would couple the members."""
    for item in callbacks or ():
        callback = item[1] if isinstance(item, tuple | list) else item
        kind = callback if isinstance(callback, type) else type(callback)
        for refused, why in _REFUSED.items():
            if issubclass(kind, refused):
                raise ValueError(
                    f"The option 'callbacks' of Training holds a {kind.__name__}, which cannot be used "
                    f"here: {why}."
                )


def prepare_callbacks(callbacks: Sequence[Any] | None) -> list[Any]:
    """Copies, as skorch changes callbacks in place and the user's own objects are parameters."""
    check_callbacks(callbacks)
    prepared = []
    for item in callbacks or ():
        name, callback = item if isinstance(item, tuple | list) else (None, item)
        callback = _copied(callback)
        if type(callback) is EpochScoring:
            callback = _MemberScoring(**callback.get_params(deep=False))
        prepared.append(callback if name is None else (name, callback))
    return prepared


def _copied(callback: Any) -> Any:
    try:
        return copy.deepcopy(callback)
    except Exception:  # an open file, a lock: what cannot be copied is shared
        twin = copy.copy(callback)
        for name, value in vars(callback).items():
            with suppress(Exception):
                setattr(twin, name, copy.deepcopy(value))
        return twin


class _MemberScoring(EpochScoring):
    """Scores the members' mean on a whole data set; skorch's cache holds each member's own batches."""

    def on_batch_end(self, net: Any, batch: Any = None, **kwargs: Any) -> None:
        pass

    def get_test_data(self, dataset_train: Any, dataset_valid: Any, use_caching: bool) -> Any:
        data = dataset_train if self.on_train else dataset_valid
        return (None, None, []) if data is None else (data, self.target_extractor(data.y), [])


# -- how a training begins and ends ----------------------------------------------------------------

# Moments between two steps, when parameters, optimizer and history agree.
_BETWEEN_STEPS = {"on_epoch_begin", "on_batch_end", "on_epoch_end"}


class TrainingStopped(KeyboardInterrupt):
    """Nothing is left to train: skorch's way out of its loop, and no interrupt."""


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
        # After every callback has had this step, end the loop in skorch's way.
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
