"""Data parallelism: several processes train the same members, each on its share of every batch.

torch's DistributedDataParallel averages over equal shares after every backward pass. Here members take
turns within a step, shares may be unequal or empty, and clip, loss and stop are each member's own, of the
whole batch: so the gradients are summed once, between the last backward pass and the clip.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sksve.training._data import MemberBatch
from sksve.training._net import MemberNet

__all__ = ["DataParallelNet"]


class DataParallelNet(MemberNet):
    """A :class:`MemberNet` in each of several processes, with the same members at every step.

    Losses, clip, history and every decision follow from sums over the processes, one sum a step, so that
    no process can leave a step alone.
    """

    def backward(self, Xi: MemberBatch, yi: Tensor, **fit_params: Any) -> tuple[Tensor, Tensor]:
        logits = None
        if (own := self._share(Xi)) is not None:
            _, logits = super().backward(own, yi[:, self._rows], **fit_params)
        parameters = self.module_.member_parameters()
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        *grads, whole = self.run.processes.sum([*grads, self._spread(logits, Xi)])
        for p, grad in zip(parameters, grads):
            p.grad = grad
        return self.member_losses(whole, yi, Xi), whole

    def validation_logits(self, Xi: MemberBatch) -> Tensor:
        own = self._share(Xi)
        logits = None if own is None else super().validation_logits(own)
        return self.run.processes.sum([self._spread(logits, Xi)])[0]

    @property
    def _rows(self) -> slice:
        """Every n-th row: they are sorted by length, so all processes get short and long ones."""
        return slice(self.run.processes.rank, None, self.run.processes.n)

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
