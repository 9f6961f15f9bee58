"""Train some members; put members together. One joint fit, n_jobs and warm_start are the same two."""

import functools
import os
import threading
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from joblib import Parallel, delayed, effective_n_jobs
from skorch.callbacks import ProgressBar
from skorch.history import History
from torch import nn

from sksve.backbones import (
    AdaptationPlan,
    LoadedBackbone,
    SplitBackbone,
    swap_modules,
)
from sksve.training._callbacks import prepare_callbacks
from sksve.training._checkpoint import Checkpoint, check_same_fit, checkpoint_path, fit_hash
from sksve.training._data import MemberDataset
from sksve.training._data_parallel import ALONE, DataParallelNet, Processes
from sksve.training._inference import compute_features
from sksve.training._module import EnsembleModule, MemberHeads, WholeBackbone
from sksve.training._net import MemberNet
from sksve.training._progress import TrainingForecast
from sksve.training._seeds import member_streams, shared_streams
from sksve.training._trained import (
    TrainedMembers,
    join,
    set_member_history,
    trained_members,
    warn_of,
)

__all__ = [
    "LayerFactory",
    "MemberFactory",
    "TrainingConfig",
    "assemble",
    "build_module",
    "train",
]


class LayerFactory(Protocol):
    """Makes the member-batched layer that replaces a linear one."""

    def __call__(
        self, linear: nn.Module, generators: Sequence[torch.Generator], /
    ) -> nn.Module: ...


#: What members are made by: layer by layer, or as whole models.
MemberFactory = LayerFactory | WholeBackbone


@dataclass(frozen=True)
class TrainingConfig:
    """Everything about training that is not data, backbone or layer; see ``SVEClassifier``."""

    n_classes: int
    seed: int
    max_epochs: int
    batch_size: int
    lr: float
    head_lr: float
    weight_decay: float
    warmup: float
    max_grad_norm: float | None
    head_init_std: float
    anchored: bool = False
    freeze_out: float | None = None
    core_optimizer: str = "adamw"
    part: int = 0  # 0: fit, or the first call of partial_fit; k: the k-th training after it
    shared_batches: bool = False
    patience: int | None = None
    device: str = "cpu"
    dtype: torch.dtype = torch.float32
    autocast: torch.dtype | None = None
    callbacks: Any = None
    verbose: int = 0
    max_length: int | None = None
    checkpoint_dir: Path | None = None
    fit_hash: str = ""  # set by `train`, with `checkpoint_dir`
    interruptible: bool = True
    processes: Processes = ALONE


def build_module(
    backbone: LoadedBackbone,
    plan: AdaptationPlan,
    factory: MemberFactory,
    ids: Sequence[int],
    config: TrainingConfig,
) -> EnsembleModule:
    """Adapt a backbone for the members `ids` at their initial values.

    Parameters
    ----------
    backbone : LoadedBackbone
        Not modified; the module shares its weights.
    plan : AdaptationPlan
    factory : callable
    ids : sequence of int
    config : TrainingConfig

    Returns
    -------
    EnsembleModule
        On the CPU.
    """
    own = backbone.twin()
    streams = [member_streams(config.seed, k) for k in ids]
    adapters = [s.adapter for s in streams]
    if isinstance(factory, WholeBackbone):
        split: nn.Module = factory(SplitBackbone(own, plan), adapters)
    else:
        layers = {name: factory(own.model.get_submodule(name), adapters) for name in plan.targets}
        swap_modules(own.model, layers)  # all else is frozen since it was loaded
        split = SplitBackbone(own, plan)
    heads = MemberHeads(
        own.hidden_size,
        config.n_classes,
        [s.head for s in streams],
        init_std=config.head_init_std,
        dtype=config.dtype,
    )
    return EnsembleModule(split, heads)


def train(
    backbone: LoadedBackbone,
    plan: AdaptationPlan,
    factory: MemberFactory,
    ids: Sequence[int],
    train_data: MemberDataset,
    valid_data: MemberDataset | None,
    config: TrainingConfig,
    *,
    n_jobs: int | None = None,
) -> TrainedMembers:
    """Train the members `ids`, in one joint loop or split over joblib tasks.

    Parameters
    ----------
    backbone, plan, factory, ids, config
        As :func:`build_module`.
    train_data, valid_data : MemberDataset
        The output of the frozen part of the backbone is stored in them.
    n_jobs : int, optional
        Number of tasks; the result is the same.

    Returns
    -------
    TrainedMembers
    """
    ids = tuple(ids)
    n_tasks = _count_tasks(n_jobs, len(ids))
    n_groups = len(ids) if isinstance(factory, WholeBackbone) else n_tasks
    groups = [tuple(int(k) for k in group) for group in np.array_split(ids, n_groups)]
    config = replace(config, interruptible=n_groups == 1)
    datasets = [data for data in (train_data, valid_data) if data is not None]
    if config.checkpoint_dir is not None:
        key = fit_hash(backbone, plan, factory, groups, datasets, config)
        check_same_fit(config.checkpoint_dir, key)
        config = replace(config, fit_hash=key)
    if plan.first_block > 0:
        split = SplitBackbone(backbone.twin(), plan).to(config.device)
        for data in datasets:
            compute_features(split, data, device=config.device, autocast=config.autocast)
        del split
    # Built here, one after the other as tasks begin: all groups have this process's singular vectors.
    modules = (build_module(backbone, plan, factory, group, config) for group in groups)
    data = train_data, valid_data
    if n_groups == 1:
        members = _train_group(next(modules), ids, *data, config)
        warn_of(members)
        return members
    run = delayed(_train_in_task)
    tasks = (run(os.getpid(), m, group, *data, config) for m, group in zip(modules, groups))
    replies = Parallel(n_jobs=n_tasks, pre_dispatch="n_jobs")(tasks)
    shown: dict[Any, Any] = {}
    for message, category, filename, line in (each for _, told in replies for each in told):
        warnings.warn_explicit(message, category, filename, line, registry=shown)
    members = functools.reduce(join, (members for members, _ in replies))
    warn_of(members)
    return assemble(backbone, plan, factory, members, config)


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
    told = [(str(w.message), w.category, w.filename, w.lineno) for w in caught or ()]
    return replace(members, net=None), told


def _train_group(
    module: EnsembleModule,
    ids: tuple[int, ...],
    train_data: MemberDataset,
    valid_data: MemberDataset | None,
    config: TrainingConfig,
) -> TrainedMembers:
    net = make_net(module, ids, config, valid_data)
    if config.checkpoint_dir is not None:
        path = checkpoint_path(config.checkpoint_dir, ids)
        own = Checkpoint(path, config.fit_hash, config.seed, config.processes)
        net.callbacks.append(("checkpoint", own))
    net.fit(train_data, None)
    if config.checkpoint_dir is not None:  # whoever trains the net further does so on their own
        net.callbacks.pop()
        net.callbacks_ = [c for c in net.callbacks_ if c[0] != "checkpoint"]
    return trained_members(net)


def make_net(
    module: EnsembleModule,
    ids: tuple[int, ...],
    config: TrainingConfig,
    valid_data: MemberDataset | None,
) -> MemberNet:
    """Put a module into the net that trains it; not initialised."""
    order, rows = shared_streams(config.seed, config.part)
    streams = [member_streams(config.seed, k, config.part).batches for k in ids]
    streams = [rows] if config.shared_batches else streams
    callbacks = prepare_callbacks(config.callbacks)
    if config.verbose:
        callbacks.append(("forecast", TrainingForecast(config.max_length)))
        callbacks.append(ProgressBar())
    together = {} if config.processes.n == 1 else {"processes": config.processes}
    net_class = DataParallelNet if together else MemberNet
    return net_class(
        module,
        **together,
        member_ids=ids,
        batch_streams=streams,
        shared_stream=order,
        lr=config.lr,
        head_lr=config.head_lr,
        weight_decay=config.weight_decay,
        anchored=config.anchored,
        freeze_out=config.freeze_out,
        core_optimizer=config.core_optimizer,
        warmup=config.warmup,
        max_grad_norm=config.max_grad_norm,
        autocast=config.autocast,
        valid_dataset=valid_data,
        patience=config.patience,
        interruptible=config.interruptible and config.processes.n == 1,
        max_epochs=config.max_epochs,
        batch_size=config.batch_size,
        device=config.device,
        callbacks=callbacks,
        verbose=config.verbose,
    )


def assemble(
    backbone: LoadedBackbone,
    plan: AdaptationPlan,
    factory: MemberFactory,
    members: TrainedMembers,
    config: TrainingConfig,
) -> TrainedMembers:
    """Build one module that holds all `members` with their trained parameters.

    Returns
    -------
    TrainedMembers
        With a net whose module predicts as the members' own modules do.
    """
    module = build_module(backbone, plan, factory, members.ids, config)
    with torch.no_grad():
        for tensor, value in zip(module.member_tensors(), members.state, strict=True):
            tensor.copy_(value)
    net = make_net(module, members.ids, replace(config, verbose=0), None)
    net.initialize()
    net.history = History(dict(row) for row in members.log)  # whose own it is, may be kept
    set_member_history(net, members.history)
    return replace(members, net=net)
