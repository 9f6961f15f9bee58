"""Train some members; put members together. One joint fit, n_jobs and warm_start are the same two."""

import functools
import os
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any, Protocol

import numpy as np
import torch
from joblib import Parallel, delayed, effective_n_jobs
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import ProgressBar
from skorch.history import History
from torch import Tensor, nn

from sksve.backbones import (
    AdaptationPlan,
    LoadedBackbone,
    SplitBackbone,
    swap_modules,
)
from sksve.training._callbacks import interrupt_notes, prepare_callbacks
from sksve.training._checkpoint import Checkpoint, check_same_fit, checkpoint_path, fit_hash
from sksve.training._data import MemberDataset
from sksve.training._forecast import TrainingForecast
from sksve.training._frozen import compute_features
from sksve.training._module import EnsembleModule, MemberHeads, WholeBackbone
from sksve.training._net import DataParallelNet, MemberNet
from sksve.training._regression import RegressionRows, bootstrap_weights, choose_strength
from sksve.training._run import Run, member_streams
from sksve.training._settings import Settings

_NAMES = {
    "member_train_loss": "train_loss",
    "member_valid_loss": "valid_loss",
    "member_valid_accuracy": "valid_accuracy",
    "member_padding": "padding",
}


class LayerFactory(Protocol):
    """Makes the layer with members that replaces a linear one."""

    def __call__(
        self, linear: nn.Module, generators: Sequence[torch.Generator], /
    ) -> nn.Module: ...


# What members are made by: layer by layer, or as whole models.
MemberFactory = LayerFactory | WholeBackbone


@dataclass(frozen=True)
class TrainedMembers:
    """What training leaves behind, on the CPU."""

    ids: tuple[int, ...]
    state: tuple[Tensor, ...]  # as ``EnsembleModule.member_tensors``; axis 0 is the member
    history: list[dict[str, np.ndarray]]  # one per epoch, arrays of shape (len(ids),)
    log: Any  # skorch's history, of the net that trained them
    net: Any = None  # the MemberNet that holds them; of other processes, or of several nets: None
    notes: tuple[str, ...] = ()  # warnings for the user
    interrupted: bool = False

    def joined(self, other: "TrainedMembers") -> "TrainedMembers":
        """Members of both; an epoch that one did not run is NaN. The log is of those that trained longer."""
        history, no_epoch = [], dict[str, np.ndarray]()
        for one, two in zip_longest(self.history, other.history, fillvalue=no_epoch):
            row = {}
            for key in one | two:
                first = one.get(key, np.full(len(self.ids), np.nan))
                row[key] = np.append(first, two.get(key, np.full(len(other.ids), np.nan)))
            history.append(row)
        return TrainedMembers(
            self.ids + other.ids,
            tuple(torch.cat(pair) for pair in zip(self.state, other.state, strict=True)),
            history,
            max(other.log, self.log, key=len),
            notes=self.notes + other.notes,
            interrupted=self.interrupted or other.interrupted,
        )


def build_module(
    backbone: LoadedBackbone,
    plan: AdaptationPlan,
    factory: MemberFactory,
    ids: Sequence[int],
    settings: Settings,
    run: Run,
) -> EnsembleModule:
    """Adapt a twin of the backbone for the members `ids` at their initial values; on the CPU."""
    twin = backbone.twin()
    streams = [member_streams(settings.random_state, k) for k in ids]
    adapters = [s.adapter for s in streams]
    if isinstance(factory, WholeBackbone) and run.reads:
        split: nn.Module = factory(SplitBackbone(twin, plan), adapters)
    else:
        layers = {name: factory(twin.model.get_submodule(name), adapters) for name in plan.targets}
        for name in plan.written:
            layers[name].is_written = True
        swap_modules(twin.model, layers)  # all else is frozen since it was loaded
        split = SplitBackbone(twin, plan)
    heads = MemberHeads(
        twin.hidden_size if run.reads else run.n_side,
        run.n_classes,
        [s.head for s in streams],
        init_std=settings.head_init_scale,
        dtype=run.dtype,
        normalize=run.reads and getattr(settings, "normalize", False),
        n_side=run.n_side if run.reads else 0,
    )
    return EnsembleModule(split, heads)


# Strengths of the regressions on side features that heads start at. Beside a text, columns that know nothing
# of the label must not cost: the strongest regularisation within one standard error of the best. Alone, the
# weakest within so many nats: the folds are flat there, and who sees all rows needs less of it.
_STRENGTHS, _SLACK = tuple(10 ** (k / 2) for k in range(-8, 3)), 0.001


@torch.no_grad()
def _start_on_side(
    modules: Iterable[EnsembleModule],
    groups: Sequence[Sequence[int]],
    data: MemberDataset,
    settings: Settings,
    run: Run,
) -> Iterator[EnsembleModule]:
    """Start each head at the logistic regression on side features, on row weights of its own.

    Its strength, the same for all, is cross-validated.
    """
    side = data.side if run.reads else data.features
    assert side is not None
    rows = RegressionRows.of(side.double().numpy(), data.y.numpy(), run.n_classes)
    weight = data.weight.double().numpy()
    how = {"strong": True} if run.reads else {"slack": _SLACK}
    C = choose_strength(rows, weight, _STRENGTHS, 5, tol=1e-3, **how)
    never = -np.log(2 * len(data))
    for module, group in zip(modules, groups):
        heads = module.heads
        for i, k in enumerate(group):
            rng = member_streams(settings.random_state, k).side
            drawn = bootstrap_weights(weight, rng)
            coefficients, bias = rows.solve(C, drawn, tol=1e-5, never=never)
            target = heads.weight if heads.side is None else heads.side
            target[i] = torch.from_numpy(coefficients)
            heads.bias[i] = torch.from_numpy(bias)
        yield module


def train(
    backbone: LoadedBackbone,
    plan: AdaptationPlan,
    factory: MemberFactory,
    ids: Sequence[int],
    train_data: MemberDataset,
    valid_data: MemberDataset | None,
    settings: Settings,
    run: Run,
    *,
    n_jobs: int | None = None,
) -> TrainedMembers:
    """Train the members `ids`, in one joint loop or split over `n_jobs` joblib tasks: the same result.

    The output of the frozen part of the backbone is stored in the data sets.
    """
    ids = tuple(ids)
    n_tasks = _count_tasks(n_jobs, len(ids))
    n_groups = len(ids) if isinstance(factory, WholeBackbone) else n_tasks
    groups = [tuple(int(k) for k in group) for group in np.array_split(ids, n_groups)]
    # Groups that are trained one after the other share the time.
    share = None if settings.max_time is None else settings.max_time * n_tasks / n_groups
    run = replace(run, interruptible=n_groups == 1, max_time=share)
    datasets = [data for data in (train_data, valid_data) if data is not None]
    if run.checkpoint_dir is not None:
        key = fit_hash(backbone, plan, factory, groups, datasets, settings, run)
        check_same_fit(run.checkpoint_dir, key)
        run = replace(run, fit_hash=key)
    if plan.first_block > 0:
        split = SplitBackbone(backbone.twin(), plan).to(run.device)
        for data in datasets:
            compute_features(split, data, device=run.device, autocast=run.autocast)
        del split
    # Built here, one after the other as tasks begin: all groups have this process's singular vectors.
    modules = (build_module(backbone, plan, factory, group, settings, run) for group in groups)
    if run.n_side:
        modules = _start_on_side(modules, groups, train_data, settings, run)
    if not run.reads:  # the regressions are the members: one epoch that only judges them
        still = {"max_epochs": 1, "lr": 0.0, "head_lr": 0.0, "weight_decay": 0.0}
        settings = settings.with_values(**still, optimizer="adamw", freeze_out=None)
    data = train_data, valid_data
    if n_groups == 1:
        members = _train_group(next(modules), ids, *data, settings, run)
        warn_of(members)
        return members
    task = delayed(_train_in_task)
    tasks = (task(os.getpid(), m, group, *data, settings, run) for m, group in zip(modules, groups))
    replies = Parallel(n_jobs=n_tasks, pre_dispatch="n_jobs")(tasks)
    shown: dict[Any, Any] = {}
    for message, category, filename, line in (each for _, caught in replies for each in caught):
        warnings.warn_explicit(message, category, filename, line, registry=shown)
    members = functools.reduce(TrainedMembers.joined, (members for members, _ in replies))
    warn_of(members)
    return assemble(backbone, plan, factory, members, settings, run)


def _count_tasks(n_jobs: int | None, n_members: int) -> int:
    """Not more than members, than `n_jobs`, or than joblib's backend can run."""
    if n_jobs is None:
        return 1
    # Dask's backend counts the cluster's cores, whatever it is asked for.
    most = effective_n_jobs(n_jobs)
    return min(n_members, most if n_jobs < 0 else min(n_jobs, most))


def _train_in_task(
    caller: int, module: EnsembleModule, *args: Any
) -> tuple[TrainedMembers, list[tuple[str, type[Warning], str, int]]]:
    """Train a group in a joblib task; warnings come back with it, as loky would only print them."""
    # `catch_warnings` is not for threads; theirs are shown here, or in the log of a Dask worker.
    alone = os.getpid() != caller and threading.current_thread() is threading.main_thread()
    with warnings.catch_warnings(record=True) if alone else nullcontext([]) as caught:
        members = _train_group(module, *args)
    messages = [(str(w.message), w.category, w.filename, w.lineno) for w in caught or ()]
    return replace(members, net=None), messages


def _train_group(
    module: EnsembleModule,
    ids: tuple[int, ...],
    train_data: MemberDataset,
    valid_data: MemberDataset | None,
    settings: Settings,
    run: Run,
) -> TrainedMembers:
    net = make_net(module, ids, settings, run, valid_data)
    if run.checkpoint_dir is not None:
        path = checkpoint_path(run.checkpoint_dir, ids)
        checkpoint = Checkpoint(path, run.fit_hash, settings.random_state, run.processes)
        net.callbacks.append(("checkpoint", checkpoint))
    net.fit(train_data, None)
    if run.checkpoint_dir is not None:  # not of a later training
        net.callbacks.pop()
        net.callbacks_ = [c for c in net.callbacks_ if c[0] != "checkpoint"]
    return trained_members(net)


def make_net(
    module: EnsembleModule,
    ids: tuple[int, ...],
    settings: Settings,
    run: Run,
    valid_data: MemberDataset | None,
) -> MemberNet:
    """Put a module into the net that trains it; not initialised."""
    callbacks = prepare_callbacks(settings.callbacks)
    if settings.verbose:
        callbacks.append(("forecast", TrainingForecast(settings.max_length)))
        callbacks.append(ProgressBar())
    net_class = MemberNet if run.processes.n == 1 else DataParallelNet
    return net_class(
        module, settings, run, member_ids=ids, valid_dataset=valid_data, callbacks=callbacks
    )


def assemble(
    backbone: LoadedBackbone,
    plan: AdaptationPlan,
    factory: MemberFactory,
    members: TrainedMembers,
    settings: Settings,
    run: Run,
) -> TrainedMembers:
    """Build one net that holds all `members` with their trained parameters."""
    module = build_module(backbone, plan, factory, members.ids, settings, run)
    with torch.no_grad():
        for tensor, value in zip(module.member_tensors(), members.state, strict=True):
            tensor.copy_(value)
    net = make_net(module, members.ids, settings.with_values(verbose=0), run, None)
    net.initialize()
    net.history = History(dict(row) for row in members.log)  # copies: a user may keep theirs
    set_member_history(net, members.history)
    return replace(members, net=net)


# -- members that have been trained -----------------------------------------------------------


def trained_members(net: MemberNet, since: int = 0) -> TrainedMembers:
    """Take the members out of a net that has been trained, with their history from `since` on."""
    state = tuple(t.detach().cpu().clone() for t in net.module_.member_tensors())
    return TrainedMembers(
        tuple(net.member_ids),
        state,
        member_history(net, since),
        net.history,
        net,
        notes=interrupt_notes(net),
        interrupted=net.interrupted_,
    )


def warn_of(members: TrainedMembers) -> None:
    """Say what happened to members on the way, as ConvergenceWarnings."""
    for note in members.notes:
        warnings.warn(note, ConvergenceWarning, stacklevel=2)


def member_history(net: Any, since: int = 0) -> list[dict[str, np.ndarray]]:
    """One dict per epoch of the net's history from `since` on, values of shape (n_members,)."""
    return [
        {short: np.asarray(row[long]) for long, short in _NAMES.items() if long in row}
        for row in net.history[since:]
    ]


def set_member_history(net: Any, members: list[dict[str, np.ndarray]]) -> None:
    """Give the net's history the values of `members`, what :func:`member_history` returns."""
    for row, values in zip(net.history, members):
        log = {long: values[short].tolist() for long, short in _NAMES.items() if short in values}
        row.update(log)
