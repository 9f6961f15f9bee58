"""Data parallelism: several processes train the same members, each on its share of every batch.

torch's DistributedDataParallel averages over equal shares after every backward pass. Here members take
turns within a step, shares may be unequal or empty, and clip, loss and stop are each member's own, of the
whole batch: so the gradients are summed once, between the last backward pass and the clip.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from sksve.training._data import MemberBatch, MemberDataset
from sksve.training._net import MemberNet

__all__ = ["ALONE", "DataParallelNet", "Processes", "join_processes"]

# Settings that may differ from process to process.
_OF_A_PROCESS = {"callbacks", "checkpoint_dir", "device", "interruptible", "processes", "verbose"}


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
        """Tell the others if this process fails in the block: they wait in :meth:`configured`."""
        try:
            yield
        except Exception as error:
            self.gather({"error": f"{type(error).__name__}: {error}"})
            raise

    def configured(self, config: Any, datasets: Sequence[MemberDataset | None]) -> Any:
        """Settings for this process; ValueError in every one if their data or settings differ."""
        if self.n == 1:
            return config
        data = [d for d in datasets if d is not None]
        own = {
            "rows of X": [(len(d), d.content_key()) for d in data],
            "targets": [_hash(d.y) for d in data],
            "sample weights": [_hash(d.weight) for d in data],
            "parameters": {k: v for k, v in vars(config).items() if k not in _OF_A_PROCESS},
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
        return replace(config, processes=self, verbose=config.verbose if self.is_main else 0)


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


class DataParallelNet(MemberNet):
    """A :class:`MemberNet` in each of several processes, with the same members at every step.

    Losses, clip, history and every decision follow from sums over the processes, one sum a step, so that
    no process can leave a step alone.
    """

    def __init__(self, module: Any, *, processes: Processes, **kwargs: Any) -> None:
        self.processes = processes
        super().__init__(module, **kwargs)

    def backward(self, Xi: MemberBatch, yi: Tensor, **fit_params: Any) -> tuple[Tensor, Tensor]:
        logits = None
        if (own := self._share(Xi)) is not None:
            _, logits = super().backward(own, yi[:, self._rows], **fit_params)
        parameters = self.module_.member_parameters()
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        *grads, whole = self.processes.sum([*grads, self._spread(logits, Xi)])
        for p, grad in zip(parameters, grads):
            p.grad = grad
        return self.member_losses(whole, yi, Xi), whole

    def validation_logits(self, Xi: MemberBatch) -> Tensor:
        own = self._share(Xi)
        logits = None if own is None else super().validation_logits(own)
        return self.processes.sum([self._spread(logits, Xi)])[0]

    @property
    def _rows(self) -> slice:
        """Every n-th row: they are sorted by length, so all processes get short and long ones."""
        return slice(self.processes.rank, None, self.processes.n)

    def _share(self, Xi: MemberBatch) -> MemberBatch | None:
        """Rows of this process; their losses, summed over processes, are those of the whole batch."""
        m, b = Xi.weight.shape
        rows = torch.arange(m * b).reshape(m, b)[:, self._rows]
        if not rows.numel():
            return None
        flat, weight = rows.reshape(-1), Xi.weight[:, self._rows] * (rows.shape[1] / b)
        ids, mask, features = (
            None if t is None else t[flat] for t in (Xi.input_ids, Xi.attention_mask, Xi.features)
        )
        return replace(Xi, input_ids=ids, attention_mask=mask, features=features, weight=weight)

    def _spread(self, own: Tensor | None, Xi: MemberBatch) -> Tensor:
        """Logits (m, b, c), zero where the rows are others'."""
        bias = self.module_.heads.bias
        whole = bias.new_zeros(*Xi.weight.shape, bias.shape[1])
        if own is not None:
            whole[:, self._rows] = own.detach().to(whole.dtype)
        return whole
