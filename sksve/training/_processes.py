"""The processes of one data-parallel fit: who they are, and the few things they say to each other."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from sksve.training._data import TokenDataset

__all__ = ["ALONE", "Processes", "join_processes"]

# Fields of TrainingConfig that may differ from process to process.
_OF_A_PROCESS = {"callbacks", "checkpoint_dir", "device", "interruptible", "processes", "verbose"}


@dataclass(frozen=True)
class Processes:
    """Processes that train the same members on shares of the rows.

    Only the numbers are kept, so that a fitted net can be pickled and used anywhere. What is said
    goes through Accelerate, which knows every kind of device.

    Attributes
    ----------
    rank, n : int
        This process, and how many there are.
    device : str or None
        Where this process computes; None: wherever the user says.
    """

    rank: int = 0
    n: int = 1
    device: str | None = None

    @property
    def is_main(self) -> bool:
        """Whether this is the process that speaks and writes."""
        return self.rank == 0

    def sum(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Sum over the processes of each tensor, the same bits in every process.

        Parameters
        ----------
        tensors : sequence of Tensor
            Of one dtype, on the device of this process.
        """
        from accelerate.utils import reduce

        flat = reduce(torch.cat([t.reshape(-1) for t in tensors]), reduction="sum")
        parts = flat.split([t.numel() for t in tensors])
        return [part.reshape(t.shape) for part, t in zip(parts, tensors)]

    def from_main(self, value: int) -> int:
        """Return the number that the main process has."""
        if self.n == 1:
            return value
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list([value])[0]

    def agree(self, value: str, cure: str) -> None:
        """Make sure that all processes have the same value.

        Raises
        ------
        ValueError
            In every process, if not.
        """
        if self.n == 1:
            return
        from accelerate.utils import gather_object

        everyone = gather_object([value])
        if len(set(everyone)) > 1:
            raise ValueError(
                f"With data_parallel=True all processes must go on from the same state. Got "
                f"{everyone} instead. {cure}"
            )

    def wait(self) -> None:
        """Return when all processes have come here."""
        self.from_main(0)

    def copy_from_main(self, tensors: Sequence[Tensor]) -> None:
        """Overwrite tensors by those of the main process."""
        from accelerate.utils import broadcast

        for tensor in tensors:
            with torch.no_grad():
                tensor.copy_(broadcast(tensor.detach().clone()))

    @contextmanager
    def expected(self) -> Iterator[None]:
        """Tell the others if this process fails in the block: they wait for it in :meth:`configured`."""
        try:
            yield
        except Exception as error:
            if self.n > 1:
                self._everyone({"error": f"{type(error).__name__}: {error}"})
            raise

    def configured(self, config: Any, datasets: Sequence[TokenDataset | None]) -> Any:
        """Return a ``TrainingConfig`` for this process, once all are known to want the same.

        Raises
        ------
        ValueError
            In every process, if one was given other rows, targets, weights or settings; in the others,
            if one has failed in :meth:`expected`.
        """
        if self.n == 1:
            return config
        self._check_same(config, [data for data in datasets if data is not None])
        return replace(config, processes=self, verbose=config.verbose if self.is_main else 0)

    @staticmethod
    def _everyone(own: dict[str, Any]) -> list[dict[str, Any]]:
        from accelerate.utils import gather_object

        return gather_object([own])

    def _check_same(self, config: Any, datasets: Sequence[TokenDataset]) -> None:
        own = {
            "rows of X": [(len(data), data.content_key()) for data in datasets],
            "targets": [_hash(data.y) for data in datasets],
            "sample weights": [_hash(data.weight) for data in datasets],
            "parameters": {
                name: value for name, value in vars(config).items() if name not in _OF_A_PROCESS
            },
        }
        everyone = self._everyone(own)
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
                    f"With data_parallel=True every process must be given the same data and parameters: "
                    f"each takes its share of every batch by itself. Process {others[0]} of "
                    f"{self.n} has other {what} than process 0: do not split X and y, and draw any "
                    "subset with a fixed seed."
                )


#: One process, on whatever device.
ALONE = Processes()


def _hash(tensor: Tensor) -> str:
    return hashlib.sha256(tensor.numpy().tobytes()).hexdigest()


def join_processes(data_parallel: bool, device: str, n_jobs: int | None = None) -> Processes:
    """Find the processes that ``accelerate launch`` or ``torchrun`` has started.

    Parameters
    ----------
    data_parallel : bool
        False: this process is on its own, whoever started it.
    device : str
        Where the user wants to compute; of several processes each has its own device of this type.
    n_jobs : int or None
        Tasks that members are split over.

    Raises
    ------
    ImportError
        If Accelerate is not installed.
    ValueError
        If members are split over tasks, too, or the processes were joined on devices of another type.
    """
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
