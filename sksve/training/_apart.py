"""Tasks that each train some of the members: in threads, in other processes or on other machines.

What travels to a task is small: token ids, and of the backbone where it lies and its hash. The weights
are read there from its folder, singular vectors from the disk cache, the frozen part's output from a
file beside it; whatever of this is not in reach is made anew. What comes back is what was learned.
"""

import hashlib
import os
import platform
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import torch
from joblib import Parallel, delayed, effective_n_jobs
from joblib.parallel import get_active_backend
from torch import Tensor, nn

from sksve._exceptions import BackboneNotFoundError
from sksve._registry import cache_folder
from sksve.backbones import AdaptationPlan, LoadedBackbone, PackedBackbone, pack_backbone
from sksve.training._data import TokenDataset
from sksve.training._feature_cache import FeatureFile
from sksve.training._net import MemberNet
from sksve.training._worker_warnings import ToldWarning, keep_warnings, warn_again

if TYPE_CHECKING:
    from sksve.training._fit import MemberFactory, TrainingConfig
    from sksve.training._trained import TrainedMembers

__all__ = ["Job", "NetRecord", "basis_of", "count_tasks", "pack_job", "take_basis", "train_apart"]

# Features up to this size travel with the tokens; joblib maps arrays from the same size on.
INLINE_BYTES = 2**20

#: Per layer a hash of its singular vectors, and what it needs to find them again.
Basis = dict[str, tuple[str, dict[str, Tensor]]]


@dataclass(frozen=True)
class NetRecord:
    """What a task leaves of its net: the module, and the backbone in it, stay where they are."""

    history: Any


@dataclass(frozen=True, eq=False)
class Job:
    """What all tasks of a fit are told alike. Dask's workers get it once, not once a task.

    Attributes
    ----------
    backbone : LoadedBackbone or PackedBackbone
        Packed, if tasks run in other processes.
    plan, factory, config
        As :func:`sksve.training.train`.
    train_data, valid_data : TokenDataset
    basis : dict
        What :func:`basis_of` gave; empty in this process.
    """

    backbone: LoadedBackbone | PackedBackbone
    plan: AdaptationPlan
    factory: "MemberFactory"
    train_data: TokenDataset
    valid_data: TokenDataset | None
    config: "TrainingConfig"
    basis: Basis

    @property
    def datasets(self) -> list[TokenDataset]:
        """The data sets there are."""
        return [d for d in (self.train_data, self.valid_data) if d is not None]

    def __sizeof__(self) -> int:
        # Dask asks, to decide what is worth sending once and how full a worker is.
        size = self.backbone.nbytes if isinstance(self.backbone, PackedBackbone) else 0
        size += sum(t.nbytes for _, saved in self.basis.values() for t in saved.values())
        return object.__sizeof__(self) + size + sum(data.nbytes for data in self.datasets)


@dataclass(frozen=True)
class Reply:
    """What comes back of a task; `members` is None where the backbone was not in reach."""

    members: "TrainedMembers | None"
    warnings: list[ToldWarning]
    reason: str = ""


def count_tasks(n_jobs: int | None, n_members: int) -> int:
    """Tasks for so many members: not more than members, than `n_jobs`, or than the backend can run."""
    if n_jobs is None:
        return 1
    # Dask's backend counts the cluster's cores, whatever it is asked for.
    most = effective_n_jobs(n_jobs)
    return min(n_members, most if n_jobs < 0 else min(n_jobs, most))


def train_apart(
    learn: Callable[..., "TrainedMembers"],
    job: Job,
    make_module: Callable[[], nn.Module] | None,
    keep_features: Callable[..., None],
    parts: Sequence[tuple[int, ...]],
    n_tasks: int,
) -> list["TrainedMembers"]:
    """Train each part of the members in a task of its own, by joblib's active backend.

    Parameters
    ----------
    learn : callable
        ``learn(backbone, plan, factory, ids, train_data, valid_data, config, basis) -> TrainedMembers``
    job : Job
        Not packed.
    make_module : callable or None
        Adapts the backbone as the tasks will: the decompositions are then in the cache, made once, and
        not by every task at the same time; and their basis is that of the tasks.
    keep_features : callable
        ``keep_features(backbone, plan, config, datasets)``, for tasks that cannot read the features.
    parts : sequence of tuple of int
        Numbers of the members of each task.
    n_tasks : int
        How many run at a time.

    Returns
    -------
    list of TrainedMembers
        As `parts`. Each with a :class:`NetRecord` in place of its net.
    """
    parallel = Parallel(n_jobs=n_tasks)
    module = None if make_module is None else make_module()
    if n_tasks == 1 or getattr(get_active_backend()[0], "supports_sharedmem", False):
        del module
        return list(parallel(delayed(_train_here)(learn, job, ids) for ids in parts))
    packed = pack_job(job, module)
    del module
    run = delayed(_train_away)
    replies = parallel(run(learn, keep_features, packed, ids) for ids in parts)
    missed = [i for i, reply in enumerate(replies) if reply.members is None]
    if missed:
        warnings.warn(
            f"{len(missed)} of {len(parts)} tasks could not read the backbone where they ran, and got "
            f"its weights sent: {replies[missed[0]].reason} To save that, put its folder where every "
            "worker can read it under the same path, or fetch it on each machine.",
            UserWarning,
            stacklevel=5,
        )
        carrying = replace(packed, backbone=pack_backbone(_bare(job), with_weights=True))
        again = parallel(run(learn, keep_features, carrying, parts[i]) for i in missed)
        for i, reply in zip(missed, again):
            replies[i] = reply
    warn_again(told for reply in replies for told in reply.warnings)
    return [reply.members for reply in replies]


def _bare(job: Job) -> LoadedBackbone:
    assert isinstance(job.backbone, LoadedBackbone)
    return job.backbone


def _train_here(
    learn: Callable[..., "TrainedMembers"], job: Job, ids: tuple[int, ...]
) -> "TrainedMembers":
    members = learn(
        job.backbone, job.plan, job.factory, ids, job.train_data, job.valid_data, job.config, {}
    )
    return _without_net(members)


def _train_away(
    learn: Callable[..., "TrainedMembers"],
    keep_features: Callable[..., None],
    job: Job,
    ids: tuple[int, ...],
) -> Reply:
    """Train some members in a process that was told a packed job."""
    assert isinstance(job.backbone, PackedBackbone)
    with keep_warnings() as told:
        try:
            backbone = job.backbone.open()
        except BackboneNotFoundError as error:
            return Reply(None, [], f"{error} ({platform.node()})")
        try:
            missing = [data for data in job.datasets if not data.has_features]
            if missing and job.plan.first_block > 0:
                keep_features(backbone, job.plan, job.config, missing)
            members = learn(
                backbone, job.plan, job.factory, ids, job.train_data, job.valid_data, job.config,
                job.basis,
            )  # fmt: skip
        except Exception as error:
            named = ", ".join(map(str, ids))
            where = f"process {os.getpid()} of {platform.node()}"
            error.add_note(f"It happened in the task that trains members {named}, {where}.")
            raise
    return Reply(_without_net(members), told)


def _without_net(members: "TrainedMembers") -> "TrainedMembers":
    return replace(members, net=cast(MemberNet, NetRecord(members.net.history)))


# -- what travels --------------------------------------------------------------------------------


def pack_job(job: Job, module: nn.Module | None = None, *, with_weights: bool = False) -> Job:
    """Make a job ready to travel.

    Parameters
    ----------
    job : Job
    module : nn.Module, optional
        Adapted; its basis is that of the tasks.
    with_weights : bool, default=False
        As :func:`~sksve.backbones.pack_backbone`.

    Returns
    -------
    Job
        The file that its features may lie in goes when the job is forgotten.
    """
    return replace(
        job,
        backbone=pack_backbone(_bare(job), with_weights=with_weights),
        train_data=_light(job.train_data),
        valid_data=None if job.valid_data is None else _light(job.valid_data),
        basis={} if module is None else basis_of(module),
    )


def _light(data: TokenDataset) -> TokenDataset:
    """Put features in memory, if they are large, into a file of the shared cache."""
    features = data.features
    if features is None or data.features_in_file or features.nbytes <= INLINE_BYTES:
        return data
    try:
        return data.with_features_in(FeatureFile.holding(features, cache_folder() / "features"))
    except OSError:  # a full or read-only disk costs time, not correctness
        return data.with_features_in(None)


def basis_of(module: nn.Module) -> Basis:
    """Tell the singular vectors that members are to be trained on.

    A process with another LAPACK may give them other signs, and other rotations where singular values
    are equal; values learned there would then mean something else here.

    Returns
    -------
    dict
        Name of a layer -> hash of its buffers, and its ``saved_tensors()``.
    """
    return {name: (_digest(layer), layer.saved_tensors()) for name, layer in _basis_layers(module)}


def take_basis(module: nn.Module, basis: Basis) -> None:
    """Turn a module's singular vectors into those that :func:`basis_of` told of.

    Raises
    ------
    sksve.adapters.BasisMismatchError
        If that cannot be done.
    """
    for name, layer in _basis_layers(module):
        if name in basis and _digest(layer) != basis[name][0]:
            try:
                layer.align(basis[name][1])
            except ValueError as error:
                error.add_note(
                    f"This process decomposed {name} otherwise than the one that called fit. Let both "
                    "use one cache of decompositions: set SKSVE_CACHE to a folder that they share."
                )
                raise


def _basis_layers(module: nn.Module) -> list[tuple[str, Any]]:
    return [(name, m) for name, m in module.named_modules() if hasattr(m, "saved_tensors")]


def _digest(layer: Any) -> str:
    digest = hashlib.sha256()
    for name in layer.recomputed:
        if (value := getattr(layer, name)) is not None:
            digest.update(value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
