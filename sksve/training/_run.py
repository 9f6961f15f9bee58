"""What of a training is no setting: the processes that do it, and the machine's part."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sksve.training._data import MemberDataset
from sksve.training._settings import Settings

__all__ = ["ALONE", "Processes", "Run", "join_processes"]


@dataclass(frozen=True)
class Processes:
    """One process among those of a fit; plain numbers, so that a fitted net can be pickled."""

    rank: int = 0
    n: int = 1
    device: str | None = None

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def sum(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Sum of each tensor over the processes, the same bits in every one."""
        from accelerate.utils import reduce

        flat = reduce(torch.cat([t.reshape(-1) for t in tensors]), reduction="sum")
        parts = flat.split([t.numel() for t in tensors])
        return [part.reshape(t.shape) for part, t in zip(parts, tensors)]

    def gather(self, value: Any) -> list[Any]:
        """The value of every process; returns when all have come here."""
        if self.n == 1:
            return [value]
        from accelerate.utils import gather_object

        return gather_object([value])

    @contextmanager
    def expected(self) -> Iterator[None]:
        """Tell the others if this process fails in the block: they wait in :meth:`share`."""
        try:
            yield
        except Exception as error:
            self.gather({"error": f"{type(error).__name__}: {error}"})
            raise

    def share(
        self, settings: Settings, run: "Run", datasets: Sequence[MemberDataset | None]
    ) -> tuple[Settings, "Run"]:
        """Settings and run of this process; ValueError in every one if their data or settings differ."""
        if self.n == 1:
            return settings, run
        data = [d for d in datasets if d is not None]
        own = {
            "rows of X": [(len(d), d.content_key()) for d in data],
            "targets": [_hash(d.y) for d in data],
            "sample weights": [_hash(d.weight) for d in data],
            "parameters": (
                settings.of_scope("member", "training"),
                settings.random_state,
                run.part,
            ),
        }
        everyone = self.gather(own)
        for rank, told in enumerate(everyone):
            if "error" in told:
                raise ValueError(
                    f"With data_parallel=True all processes begin together. Process {rank} of {self.n} "
                    f"could not: {told['error']}"
                )
        for what in own:
            others = [rank for rank, told in enumerate(everyone) if told[what] != everyone[0][what]]
            if others:
                raise ValueError(
                    "With data_parallel=True every process must be given the same data and parameters: "
                    f"each takes its share of every batch by itself. Process {others[0]} of {self.n} has "
                    f"other {what} than process 0: do not split X and y, and draw any subset with a "
                    "fixed seed."
                )
        settings = settings if self.is_main else settings.with_values(verbose=0)
        return settings, replace(run, processes=self)


#: One process, on whatever device.
ALONE = Processes()


def _hash(tensor: Tensor) -> str:
    return hashlib.sha256(tensor.numpy().tobytes()).hexdigest()


def join_processes(data_parallel: bool, device: str, n_jobs: int | None = None) -> Processes:
    """Find the processes that ``accelerate launch`` or ``torchrun`` has started."""
    if not data_parallel:
        return ALONE
    if n_jobs not in (None, 1):
        raise ValueError(
            f"data_parallel=True splits rows over processes, n_jobs={n_jobs} splits members over tasks: "
            "use one of the two. Set n_jobs=None."
        )
    try:
        from accelerate import PartialState
    except ImportError as error:
        raise ImportError(
            "data_parallel=True needs Accelerate: pip install 'sksve[accelerate]', or set it to False."
        ) from error
    wanted = torch.device(device)
    state = PartialState(cpu=wanted.type == "cpu")
    if state.num_processes == 1:
        return ALONE
    if state.device.type != wanted.type or wanted.index not in (None, state.device.index):
        raise ValueError(
            f"With data_parallel=True process {state.process_index} computes on '{state.device}'. Got "
            f"device='{device}' instead: use 'auto', 'cpu' (and Accelerator(cpu=True), if you "
            "make one) or 'cuda', without a number."
        )
    return Processes(state.process_index, state.num_processes, str(state.device))


@dataclass(frozen=True)
class Run:
    """What a training is told beside its settings.

    Attributes
    ----------
    n_classes : int
    device : str
    dtype : torch.dtype
        Of weights and results.
    autocast : torch.dtype or None
        Of the forward pass in training.
    part : int
        0: fit, or the first call of partial_fit; k: the k-th training after it.
    checkpoint_dir : Path or None
    fit_hash : str
        Set by `train`, with `checkpoint_dir`.
    interruptible : bool
        Whether Ctrl-C ends training with the members as they are, or goes through.
    max_time : float or None
        Seconds for this training: its part of ``settings.max_time``.
    processes : Processes
    """

    n_classes: int
    device: str = "cpu"
    dtype: torch.dtype = torch.float32
    autocast: torch.dtype | None = None
    part: int = 0
    checkpoint_dir: Path | None = None
    fit_hash: str = ""
    interruptible: bool = True
    max_time: float | None = None
    processes: Processes = ALONE
