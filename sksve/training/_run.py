"""What of a training is no setting: processes, device, precision and the random streams."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sksve.training._data import MemberDataset
from sksve.training._settings import Settings


@dataclass(frozen=True)
class Processes:
    """One process among those of a fit; plain numbers, so that a fitted net can be pickled."""

    rank: int = 0
    n: int = 1
    device: str | None = None

    @classmethod
    def join(cls, data_parallel: bool, device: str, n_jobs: int | None = None) -> "Processes":
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
        return cls(state.process_index, state.num_processes, str(state.device))

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
        mine = {
            "rows of X": [(len(d), d.content_key()) for d in data],
            "targets": [_hash(d.y) for d in data],
            "sample weights": [_hash(d.weight) for d in data],
            "parameters": (
                settings.of_scope("member", "training"),
                settings.random_state,
                run.part,
            ),
        }
        everyone = self.gather(mine)
        for rank, theirs in enumerate(everyone):
            if "error" in theirs:
                raise ValueError(
                    f"With data_parallel=True all processes begin together. Process {rank} of {self.n} "
                    f"could not: {theirs['error']}"
                )
        for what in mine:
            others = [
                rank for rank, theirs in enumerate(everyone) if theirs[what] != everyone[0][what]
            ]
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


def choose_device(device: Any) -> str:
    """Turn "auto" into "cuda" or "cpu"; ValueError if torch cannot reach another."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"The 'device' parameter must be 'auto' or a device that torch can reach here. Got "
            f"{device!r} instead ({str(error).splitlines()[0]})"
        ) from error
    return str(chosen)


@dataclass(frozen=True)
class Precision:
    """Dtype of weights and results, and of the autocast forward pass in training and prediction."""

    dtype: torch.dtype
    training: torch.dtype | None
    prediction: torch.dtype | None

    @classmethod
    def choose(cls, precision: str, device: str) -> "Precision":
        """Resolve ``"auto"``: float32, and bfloat16 autocast for training on CUDA."""
        if precision == "float64":
            return cls(torch.float64, None, None)
        if precision == "bfloat16":
            return cls(torch.float32, torch.bfloat16, torch.bfloat16)
        fast = precision == "auto" and device.startswith("cuda")
        return cls(torch.float32, torch.bfloat16 if fast else None, None)


@dataclass(frozen=True)
class Run:
    """What a training needs beside its settings."""

    n_classes: int
    device: str = "cpu"
    dtype: torch.dtype = torch.float32
    autocast: torch.dtype | None = None
    n_side: int = 0  # side features of a row
    reads: bool = True  # whether rows have a text or an image, and not side features alone
    part: int = 0  # 0: fit, or the first call of partial_fit; k: the k-th training after it
    checkpoint_dir: Path | None = None
    fit_hash: str = ""  # set by `train`, with `checkpoint_dir`
    interruptible: bool = True  # by Ctrl-C, with the members as they are; else it goes through
    max_time: float | None = None  # seconds of this training: its part of ``settings.max_time``
    processes: Processes = ALONE

    @classmethod
    def on(cls, device: str, precision: Precision, n_classes: int) -> "Run":
        """A run on a device with a resolved precision."""
        return cls(n_classes, device, precision.dtype, precision.training)


# -- random streams: member k draws from its own, whatever the others do -------------------------

# Purposes of a member's streams, by position; append only, or saved seeds change their meaning.
_ADAPTER, _HEAD, _BATCHES, _SIDE = range(4)
# Spawn key of the stream that no member owns. A key, not a longer entropy list: SeedSequence pads
# entropy with zeros, so [seed] and [seed, 0] are the same sequence.
_SHARED = (0x53,)
_SAMPLES = (0x4D,)


def base_seed(random_state: Any) -> int:
    """Draw the seed from which every member's streams derive; None means fresh entropy."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    if isinstance(random_state, Integral):
        return int(random_state)
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**32))
    return int(random_state.randint(2**31 - 1))


@dataclass(frozen=True)
class MemberStreams:
    """Generators of one member: of initial values of layers and head, order of rows, and their weights."""

    adapter: torch.Generator
    head: torch.Generator
    batches: np.random.Generator
    side: np.random.Generator


def member_streams(seed: int, member: int, part: int = 0) -> MemberStreams:
    """Streams of one member, a function of `seed` and `member` alone; `part` counts partial_fit."""
    children = np.random.SeedSequence([seed, member]).spawn(4)
    return MemberStreams(
        adapter=_torch_generator(children[_ADAPTER]),
        head=_torch_generator(children[_HEAD]),
        batches=np.random.default_rng(_of_part(children[_BATCHES], part)),
        side=np.random.default_rng(children[_SIDE]),
    )


def shared_streams(seed: int, part: int = 0) -> tuple[np.random.Generator, np.random.Generator]:
    """Streams of the fit: the order of batches, and the rows where all members share them."""
    order, rows = np.random.SeedSequence(seed, spawn_key=_SHARED).spawn(2)
    return (
        np.random.default_rng(_of_part(order, part)),
        np.random.default_rng(_of_part(rows, part)),
    )


def _of_part(sequence: np.random.SeedSequence, part: int) -> np.random.SeedSequence:
    return sequence if part == 0 else sequence.spawn(part)[-1]


def sample_seeds(seed: int, sample: int, n: int) -> list[int]:
    """Seeds of one draw from a posterior (a mask a layer, a head): of `seed` and `sample` alone."""
    state = np.random.SeedSequence([seed, sample], spawn_key=_SAMPLES).generate_state(n, np.uint64)
    return [int(s) & (2**63 - 1) for s in state]


def _torch_generator(sequence: np.random.SeedSequence) -> torch.Generator:
    state = int(sequence.generate_state(1, np.uint64)[0])
    return torch.Generator().manual_seed(state & (2**63 - 1))
