"""Rows apart: several processes train the same members, each on its share of every batch.

skorch's AccelerateMixin wraps the module in torch's DistributedDataParallel, which averages over equal
shares and talks after every backward pass. Here members take turns within a step, shares may be unequal
or empty, and the clip, the loss and the stop are each member's own, of the whole batch: so the gradients
are summed once, between the last backward pass and the clip.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sksve.training._data import MemberBatch, TokenDataset
from sksve.training._functional import member_cross_entropy
from sksve.training._net import MemberNet
from sksve.training._processes import Processes

__all__ = ["BatchShare", "DataParallelNet", "RowShare"]


@dataclass(frozen=True)
class BatchShare:
    """A batch as the books see it, of which this process holds some rows.

    Attributes
    ----------
    own : MemberBatch or None
        The rows of this process, their weights scaled so that the sum over processes of the losses
        is the loss of the whole batch. None: fewer rows than processes, none for this one.
    own_y : Tensor of shape (m, b') or (m, b', c)
        Their targets.
    weight : Tensor of shape (m, b)
        Sample weights of all rows.
    members : tuple of int or None
        As in :class:`MemberBatch`.
    lengths : ndarray of shape (m, b)
        Tokens of all rows.
    """

    own: MemberBatch | None
    own_y: Tensor
    weight: Tensor
    members: tuple[int, ...] | None
    lengths: np.ndarray

    def __len__(self) -> int:
        """Rows per member of the whole batch."""
        return self.weight.shape[1]

    def token_counts(self) -> np.ndarray:
        """Tokens of each member's rows, and as many with their padding: shape (2, m)."""
        longest = self.lengths.max(axis=1)
        return np.stack([self.lengths.sum(axis=1), len(self) * longest]).astype(float)


class RowShare:
    """A data set whose batches hold every n-th row for this process.

    Every n-th: rows of a training batch are sorted by length, so all processes get short and long ones.

    Parameters
    ----------
    data : TokenDataset
    processes : Processes
    """

    def __init__(self, data: TokenDataset, processes: Processes) -> None:
        self.data = data
        self.lengths = data.lengths
        self.processes = processes

    def __len__(self) -> int:
        """Return the number of rows of all processes."""
        return len(self.data)

    def collate(
        self, rows: np.ndarray, members: tuple[int, ...] | None
    ) -> tuple[BatchShare, Tensor]:
        """Pad this process's part of `rows` into a batch; see :meth:`TokenDataset.collate`."""
        index = torch.from_numpy(rows)
        y, weight = self.data.y[index], self.data.weight[index]
        own_rows = np.ascontiguousarray(rows[:, self.processes.rank :: self.processes.n])
        own, own_y = None, y[:, :0]
        if own_rows.size:
            own, own_y = self.data.collate(own_rows, members)
            own = replace(own, weight=own.weight * (own_rows.shape[1] / rows.shape[1]))
        return BatchShare(own, own_y, weight, members, self.lengths[rows]), y


class DataParallelNet(MemberNet):
    """A :class:`MemberNet` in each of several processes, with the same members at every step.

    Every process draws the same batches from the same streams and computes its share of the rows.
    One sum over the processes a step carries the members' gradients (about one percent of the
    model) and the logits. Losses, clip, history and every decision follow from the sums, so that no
    process can leave a step alone.

    Parameters
    ----------
    module : EnsembleModule
    processes : Processes
    **kwargs
        As :class:`MemberNet`.
    """

    def __init__(self, module: Any, *, processes: Processes, **kwargs: Any) -> None:
        self.processes = processes
        super().__init__(module, **kwargs)

    def get_iterator(self, dataset: Any, training: bool = False) -> Any:
        return super().get_iterator(RowShare(dataset, self.processes), training)  # type: ignore[arg-type]

    def notify(self, method_name: str, **kwargs: Any) -> None:
        super().notify(method_name, **kwargs)
        # The same bits already, unless the machines differ. At the end, after early stopping's say.
        if method_name in ("on_train_begin", "on_train_end"):
            self.processes.copy_from_main(self.module_.member_tensors())

    def backward(self, Xi: Any, yi: Tensor, **fit_params: Any) -> tuple[Tensor, Tensor]:
        own = None
        if Xi.own is not None:
            _, own = super().backward(Xi.own, Xi.own_y, **fit_params)
        parameters = self.module_.member_parameters()
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        *grads, logits = self.processes.sum([*grads, self._spread(own, Xi)])
        for p, grad in zip(parameters, grads):
            p.grad = grad
        return self.member_losses(logits, yi, Xi), logits

    def infer(self, x: Any, **fit_params: Any) -> Tensor:
        if not isinstance(x, BatchShare):
            return super().infer(x, **fit_params)
        own = None if x.own is None else super().infer(x.own, **fit_params)
        return self.processes.sum([self._spread(own, x)])[0]

    def member_losses(self, logits: Tensor, y: Tensor, batch: Any) -> Tensor:
        if isinstance(batch, BatchShare):  # the same numbers, and the same error, in all processes
            return super().member_losses(logits, y, batch)  # type: ignore[arg-type]
        return member_cross_entropy(logits, y.to(logits.device), batch.weight.to(logits.device))

    def _spread(self, own: Tensor | None, Xi: BatchShare) -> Tensor:
        """Logits (m, b, c), zero where the rows are others'."""
        bias = self.module_.heads.bias
        whole = bias.new_zeros(*Xi.weight.shape, bias.shape[1])
        if own is not None:
            whole[:, self.processes.rank :: self.processes.n] = own.detach().to(whole.dtype)
        return whole
