"""Checkpoints of a training: everything the next step depends on, written between two steps."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from skorch.callbacks import Callback
from torch import Tensor

from sksve._exceptions import PersistenceError
from sksve.adapters import dropout_layers
from sksve.persistence import decode, encode
from sksve.training._checkpoint_files import CheckpointFiles, Snapshot
from sksve.training._interrupt import sigints
from sksve.training._processes import ALONE, Processes

__all__ = ["Checkpoint", "restore", "take"]


class Checkpoint(Callback):
    """Write a checkpoint every so many steps and after each epoch; begin where the last one was.

    Must come after every callback whose work it saves. What it saves is the members' parameters,
    the optimizer, the schedule, all random streams, the members' books and early stopping, so that
    the steps that follow are, bit for bit, those of a training that was never interrupted. Of other
    callbacks nothing is saved but what they wrote into the history.

    Parameters
    ----------
    files : CheckpointFiles
    every : int or None
        Steps; None: after each epoch only.
    about : dict
        Plain values that say which training this is.
    processes : Processes
        Of a data-parallel training: all read, the main one writes.
    """

    def __init__(
        self,
        files: CheckpointFiles,
        every: int | None,
        about: dict[str, Any],
        processes: Processes = ALONE,
    ) -> None:
        self.files = files
        self.every = every
        self.about = about
        self.processes = processes

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        self.resumed_ = self.files.load()
        self.processes.agree(
            "no checkpoint" if self.resumed_ is None else f"checkpoint {self.resumed_.position}",
            "Put checkpoint_dir on a disk that all of them see.",
        )
        self.failed_ = False
        self.rows_: list[Any] = []  # encoded history of the epochs that are over
        self.n_before_ = len(net.history)
        if self.resumed_ is not None:
            restore(net, self.resumed_)
            if net.verbose:
                epoch, step = self.resumed_.position
                sink = dict(net.callbacks_)["print_log"].sink
                sink(f"going on from a checkpoint: epoch {epoch + 1}, after step {step}")

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        self.epoch_ = len(net.history) - self.n_before_ - 1
        self.step_ = 0
        self.streams_ = _streams(net)
        if self.resumed_ is not None:
            self.step_ = self.resumed_.position[1]
            if self.step_:
                _restore_epoch(net, self.resumed_)
            self.resumed_ = None

    def on_batch_end(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        if training:
            self.step_ += 1
            due = self.every and self.step_ % self.every == 0
            if net.active_ and (due or sigints(net)):
                self._write(net)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        batches = net.history[-1]["batches"]
        net.history.record("train_batch_count", sum("train_loss" in batch for batch in batches))
        self.epoch_, self.step_, self.streams_ = self.epoch_ + 1, 0, _streams(net)
        self._write(net)

    def _write(self, net: Any) -> None:
        if not self.processes.is_main:
            return
        done = net.history[self.n_before_ :][: self.epoch_]
        self.rows_ += [_encoded_row(row) for row in done[len(self.rows_) :]]
        rows = [*self.rows_, *([_encoded_row(net.history[-1])] if self.step_ else [])]
        place = {"epoch": self.epoch_, "step": self.step_, "streams": self.streams_}
        snapshot = take(net, {**self.about, **place, "history": rows})
        try:
            self.files.save(snapshot)
        except OSError as error:
            # A full disk at night is no reason to throw the night's training away.
            if not self.failed_:
                warnings.warn(
                    f"A checkpoint could not be written to {str(self.files.folder)!r}: {error}. "
                    "Training goes on; the last checkpoint written stays valid.",
                    UserWarning,
                    stacklevel=2,
                )
            self.failed_ = True


def take(net: Any, state: Mapping[str, Any]) -> Snapshot:
    """Copy what the next step depends on.

    Parameters
    ----------
    net : MemberNet
        Between two steps.
    state : mapping
        Plain values to be kept as well: at least ``epoch``, ``step``, ``streams`` and ``history``.

    Returns
    -------
    Snapshot
    """
    callbacks = dict(net.callbacks_)
    tensors = {f"member.{i}": p for i, p in enumerate(net.module_.member_parameters())}
    optimizer = net.optimizer_.state_dict()
    for i, moments in optimizer["state"].items():
        tensors |= {f"optimizer.{i}.{name}": value for name, value in moments.items()}
    for i, layer in enumerate(dropout_layers(net.module_)):
        if (masks := layer.random_state()) is not None:
            tensors[f"dropout.{i}"] = masks
    schedule, log = callbacks["schedule"].schedule_, callbacks["member_log"]
    tensors |= {f"log.{key}": torch.from_numpy(value) for key, value in log.sums.items()}
    if (stopping := callbacks.get("member_early_stopping")) is not None:
        tensors |= {f"best.{i}": kept for i, kept in enumerate(stopping.weights_)}
        tensors["stopping.best"] = torch.from_numpy(stopping.best_)
        tensors["stopping.wait"] = torch.from_numpy(stopping.wait_)
    own = {
        "n_steps": net.n_steps_,
        "active": list(net.active_),
        "diverged": {str(k): why for k, why in net.diverged_.items()},
        "schedule": schedule.last_epoch,
        "rates": [group["lr"] for group in optimizer["param_groups"]],
        "log_rows": [log.rows[True], log.rows[False]],
    }
    return Snapshot({**state, **own}, tensors)


@torch.no_grad()
def restore(net: Any, snapshot: Snapshot) -> None:
    """Bring a net that has begun to train to where a snapshot was taken.

    What belongs to the epoch itself is restored when the epoch begins.

    Parameters
    ----------
    net : MemberNet
        Initialised, its other callbacks' ``on_train_begin`` done.
    snapshot : Snapshot
        Of a net for the same members.
    """
    callbacks, state, tensors = dict(net.callbacks_), snapshot.state, snapshot.tensors
    for i, p in enumerate(net.module_.member_parameters()):
        p.copy_(tensors[f"member.{i}"])
    _restore_optimizer(net.optimizer_, state["rates"], tensors)
    for i, layer in enumerate(dropout_layers(net.module_)):
        if f"dropout.{i}" in tensors:
            layer.set_random_state(tensors[f"dropout.{i}"])
    schedule = callbacks["schedule"].schedule_
    schedule.last_epoch, schedule._last_lr = state["schedule"], list(state["rates"])
    if (stopping := callbacks.get("member_early_stopping")) is not None:
        for i, kept in enumerate(stopping.weights_):
            kept.copy_(tensors[f"best.{i}"])
        stopping.best_ = tensors["stopping.best"].numpy()
        stopping.wait_ = tensors["stopping.wait"].numpy()
    net.active_[:] = state["active"]
    net.diverged_ = {int(k): why for k, why in state["diverged"].items()}
    net.n_steps_ = state["n_steps"]
    net.epochs_done_, net.steps_skipped_ = snapshot.position
    for generator, told in zip(_generators(net), state["streams"], strict=True):
        generator.bit_generator.state = told
    net.history.extend(decode(row) for row in state["history"][: net.epochs_done_])
    for name in ("train_loss", "valid_loss"):
        known = [row[name] for row in net.history if name in row]
        callbacks[name].best_score_ = min(known, default=callbacks[name].best_score_)


def _restore_epoch(net: Any, snapshot: Snapshot) -> None:
    """Bring an epoch that has just begun to the step a snapshot was taken after."""
    net.history[-1].update(decode(snapshot.state["history"][-1]))
    log = dict(net.callbacks_)["member_log"]
    log.sums = {
        name.removeprefix("log."): value.numpy()
        for name, value in snapshot.tensors.items()
        if name.startswith("log.")
    }
    training, judged = snapshot.state["log_rows"]
    log.rows = {True: training, False: judged}


def _restore_optimizer(
    optimizer: torch.optim.Optimizer, rates: list[float], tensors: Mapping[str, Tensor]
) -> None:
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, i, key = name.split(".")
            moments.setdefault(int(i), {})[key] = value
    optimizer.load_state_dict(optimizer.state_dict() | {"state": moments})
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate


def _generators(net: Any) -> list[np.random.Generator]:
    return [*net.batch_streams, net.shared_stream]


def _streams(net: Any) -> list[Any]:
    return [encode(g.bit_generator.state, name="a stream") for g in _generators(net)]


def _encoded_row(row: Mapping[str, Any]) -> Any:
    """An epoch of the history as plain values; what a user's callback wrote and JSON cannot hold goes."""
    kept = {}
    for key, value in row.items():
        try:
            kept[key] = encode(value, name=key)
        except PersistenceError:
            continue
    return kept
