"""The skorch net that trains all members jointly, in one process or on shares of the rows in several."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from sklearn.base import ClassifierMixin
from skorch import NeuralNet
from skorch.callbacks import Callback, EpochTimer, PassthroughScoring, PrintLog
from torch import Tensor

from sksve._exceptions import NonFiniteLossError
from sksve.adapters import SVDLinear
from sksve.training._callbacks import (
    MEMBER_KEYS,
    InterruptMixin,
    MemberEarlyStopping,
    MemberLog,
    WarmupSchedule,
)
from sksve.training._data import MemberBatch, MemberBatches, MemberDataset, SharedBatches
from sksve.training._frozen import low_precision
from sksve.training._inference import predict_logits, softmax64
from sksve.training._module import (
    EnsembleModule,
    adapted_blocks,
    clip_member_gradients,
    decay_to_start,
    member_cross_entropy,
    member_gradient_norms,
    members_at_once,
)
from sksve.training._muon import CoreMuon
from sksve.training._run import Run, member_streams, shared_streams
from sksve.training._settings import Settings


class MemberNet(InterruptMixin, ClassifierMixin, NeuralNet):
    """Train an :class:`EnsembleModule`: one loss, clip and stop per member, one backward pass for all.

    Everything a skorch user knows is there: callbacks, ``history``, verbosity, ``partial_fit``'s
    loop, Ctrl-C. What differs is that a batch holds rows of all active members.

    Parameters
    ----------
    module : EnsembleModule
        Already built; used as it is.
    settings : Settings
    run : Run
    member_ids : tuple of int
        The members' numbers, in the order of the module's member axis.
    valid_dataset : MemberDataset or None
        Judged after each epoch.
    **kwargs
        skorch's.
    """

    def __init__(
        self,
        module: EnsembleModule,
        settings: Settings,
        run: Run,
        *,
        member_ids: tuple[int, ...] = (),
        valid_dataset: MemberDataset | None = None,
        **kwargs: Any,
    ) -> None:
        self.settings = settings
        self.run = run
        self.member_ids = member_ids
        self.valid_dataset = valid_dataset
        options = {
            "lr": settings.lr or 0.0,  # nothing adapted, no rate
            "max_epochs": settings.max_epochs,
            "batch_size": settings.batch_size,
            "device": run.device,
            "verbose": settings.verbose,
            "criterion": torch.nn.CrossEntropyLoss,
            "train_split": None,
        }
        super().__init__(module, **(options | kwargs))

    @property
    def _default_callbacks(self) -> list[tuple[str, Callback]]:
        callbacks: list[tuple[str, Callback]] = [
            ("epoch_timer", EpochTimer()),
            ("member_log", MemberLog()),
            ("schedule", WarmupSchedule(self.settings.warmup)),
        ]
        if self.settings.patience is not None:
            callbacks.append(("member_early_stopping", MemberEarlyStopping(self.settings.patience)))
        return [
            *callbacks,
            ("train_loss", PassthroughScoring("train_loss", on_train=True)),
            ("valid_loss", PassthroughScoring("valid_loss")),
            ("print_log", PrintLog(keys_ignored=list(MEMBER_KEYS))),
        ]

    # -- set-up ----------------------------------------------------------------------------------

    def initialize(self) -> "MemberNet":
        super().initialize()
        #: Positions of the members in training.
        self.active_ = list(range(self.module_.n_members))
        seed, part = self.settings.random_state, self.run.part
        #: Draws the order of the batches, which all members share.
        self.shared_stream_, rows = shared_streams(seed, part)
        #: Per member, or one if all share their batches.
        self.batch_streams_ = [member_streams(seed, k, part).batches for k in self.member_ids]
        if self.settings.shared_batches:
            self.batch_streams_ = [rows]
        self.n_frozen_ = 0  # adapted blocks, the first, that have stopped learning
        self.module_.eval()  # each step of training sets its mode; between, threads may predict
        return self

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        super().on_train_end(net, X, y, **kwargs)
        self.module_.eval()

    def initialize_optimizer(self, triggered_directly: bool | None = None) -> "MemberNet":
        cores = self._cores()
        core_ids = {id(p) for p in cores}
        adapter = [p for p in self.module_.adapter_parameters() if id(p) not in core_ids]
        stage_of = self._stages()
        groups = [
            {"params": members, "lr": self.lr, "stage": stage}
            for stage in range(self.n_stages_)
            if (members := [p for p in adapter if stage_of.get(id(p), 0) == stage])
        ]
        # Not weight decay on the biases of the heads: the class frequencies are data, not noise.
        heads = self.module_.heads
        groups.append({"params": [heads.weight], "lr": self.settings.head_lr})
        groups.append({"params": [heads.bias], "lr": self.settings.head_lr, "weight_decay": 0.0})
        if heads.side is not None:
            groups.append({"params": [heads.side], "lr": self.settings.side_lr or 0.0})
        decay = self.settings.weight_decay
        if cores:
            stages = [stage_of.get(id(p), 0) for p in cores]
            self.optimizer_ = CoreMuon(cores, groups, lr=self.lr, weight_decay=decay, stages=stages)
        else:  # fused: one pass over many small tensors, in place of a dozen calls for each
            self.optimizer_ = torch.optim.AdamW(groups, weight_decay=decay, fused=True)
        if self.settings.decay_to == "start":
            decay_to_start(self.optimizer_)
        return self

    def _stages(self) -> dict[int, int]:
        """By parameter, when it stops learning: 0 with the last block, k with the k-th before that."""
        blocks = (
            [] if self.settings.freeze_out is None else adapted_blocks(self.module_.split)[::-1]
        )
        self.n_stages_ = max(1, len(blocks))
        return {id(p): k for k, block in enumerate(blocks) for p in block.parameters()}

    def _cores(self) -> list[torch.nn.Parameter]:
        """Cores of the adapted layers, unless AdamW moves them."""
        layers = self.module_.split.modules() if self.settings.optimizer == "muon" else ()
        return [layer.values for layer in layers if isinstance(layer, SVDLinear)]

    def get_dataset(self, X: Any, y: Any = None) -> MemberDataset:
        return X

    def get_split_datasets(self, X: Any, y: Any = None, **kwargs: Any) -> tuple[Any, Any]:
        return X, self.valid_dataset

    def get_iterator(self, dataset: MemberDataset, training: bool = False) -> Any:
        if not training:
            return SharedBatches(dataset, 4 * self.batch_size, self.active_, self.module_.n_members)
        return MemberBatches(
            dataset,
            self.batch_size,
            self.batch_streams_,
            self.shared_stream_,
            self.active_,
            self.module_.n_members,
        )

    def check_data(self, X: Any, y: Any = None) -> None:
        """Nothing to check: the estimator has done it before anything slow began."""

    # -- one step --------------------------------------------------------------------------------

    def infer(self, x: MemberBatch, **fit_params: Any) -> Tensor:
        x = x.to(torch.device(self.device))
        with low_precision(torch.device(self.device), self.run.autocast):
            return self.module_(
                x.input_ids, x.attention_mask, x.features, x.members, self.n_frozen_, x.side
            )

    def member_losses(self, logits: Tensor, y: Tensor, batch: MemberBatch) -> Tensor:
        """Loss of each active member, shape (m,)."""
        return member_cross_entropy(logits, y.to(logits.device), batch.weight.to(logits.device))

    def check_finite(self, values: Tensor, members: Sequence[int] | None, what: str) -> None:
        """Raise NonFiniteLossError if values of shape (m,) are not all finite."""
        bad = ~torch.isfinite(values)
        if not bool(bad.any()):
            return
        i = int(bad.nonzero()[0, 0])
        member = self.member_ids[i if members is None else members[i]]
        epoch, step = len(self.history), len(self.history[-1].get("batches", ()))
        raise NonFiniteLossError(
            f"The {what} of member {member} is {values[i].item()} in epoch {epoch}, batch {step}: "
            f"training diverged. Lower lr (now {self.lr:g}), head_lr (now {self.settings.head_lr:g}) or "
            "init_scale, or use precision='float32'."
        )

    def train_step(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        # A stopped member has no gradient, but momentum and weight decay would still move it.
        stopped = [k for k in range(self.module_.n_members) if k not in self.active_]
        parameters = self.module_.member_parameters() if stopped else []
        frozen = [p.detach()[stopped] for p in parameters]  # an index makes a copy
        step = super().train_step(batch, **fit_params)
        with torch.no_grad():
            for p, value in zip(parameters, frozen):
                p[stopped] = value
        return step

    def train_step_single(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        self._set_training(True)
        Xi, yi = batch
        losses, logits = self.backward(Xi, yi, **fit_params)
        self.check_finite(losses, Xi.members, "loss")
        parameters = self.module_.member_parameters()
        if self.settings.max_grad_norm is None:
            norms = member_gradient_norms(parameters)
        else:
            norms = clip_member_gradients(parameters, self.settings.max_grad_norm)
        self.check_finite(norms[self.active_], self.active_, "gradient norm")
        return self._step(losses, logits)

    def backward(self, Xi: MemberBatch, yi: Tensor, **fit_params: Any) -> tuple[Tensor, Tensor]:
        """Give every member its gradient; losses (m,) and logits (m, b, c)."""
        n = len(yi)
        size = members_at_once(n, len(Xi) * Xi.tokens_per_row, torch.device(self.device))
        parts = []
        for start in range(0, n, size):
            part = Xi if size == n else Xi.of_members(slice(start, start + size), n)
            logits = self.infer(part, **fit_params)
            losses = self.member_losses(logits, yi[start : start + size], part)
            # Members share no parameter, so one backward pass of the sum gives each its own gradient.
            losses.sum().backward()
            parts.append((losses.detach(), logits.detach()))
        losses, logits = (torch.cat(each) for each in zip(*parts))
        return losses, logits

    def validation_step(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        self._set_training(False)
        Xi, yi = batch
        with torch.no_grad():
            logits = self.validation_logits(Xi)
            losses = self.member_losses(logits, yi, Xi)
            self.check_finite(losses, Xi.members, "loss")
            step = self._step(losses, logits)
        return step

    def validation_logits(self, Xi: MemberBatch) -> Tensor:
        return self.infer(Xi)

    def _step(self, losses: Tensor, logits: Tensor) -> dict[str, Any]:
        return {
            "loss": losses.detach().mean(),
            "y_pred": logits.detach(),
            "member_losses": losses.detach(),
        }

    # -- prediction, for scoring callbacks -------------------------------------------------------

    @property
    def classes_(self) -> np.ndarray:
        """Encoded classes."""
        return np.arange(self.module_.heads.weight.shape[1])

    def predict_proba(self, X: MemberDataset) -> np.ndarray:
        """Mean of the members' probabilities, shape (n_samples, n_classes)."""
        return softmax64(predict_logits(self.module_, X, device=self.device)).mean(axis=0)

    def predict(self, X: MemberDataset) -> np.ndarray:
        """Encoded class of each row, shape (n_samples,)."""
        return self.predict_proba(X).argmax(axis=1)

    def __getstate__(self) -> dict[str, Any]:
        # Optimizer state and data are of no use to a fitted model, and large. They go before skorch
        # packs what may live on a GPU (the optimizer, too) into bytes.
        bare = object.__new__(type(self))
        bare.__dict__.update(self.__dict__, valid_dataset=None, optimizer_=None)
        if getattr(self, "module_", None) is self.module:
            bare.__dict__["module"] = None  # skorch would pack the same weights a second time
        return super(MemberNet, bare).__getstate__()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if vars(self)["module"] is None:
            self.module = self.module_


class DataParallelNet(MemberNet):
    """A :class:`MemberNet` in each of several processes, with the same members at every step.

    torch's DistributedDataParallel averages over equal shares after every backward pass. Here members take
    turns within a step, shares may be unequal or empty, and clip, loss and stop are each member's own, of
    the whole batch: so gradients are summed once, between the last backward pass and the clip. Losses,
    history and every decision follow from sums, so that no process can leave a step alone.
    """

    def backward(self, Xi: MemberBatch, yi: Tensor, **fit_params: Any) -> tuple[Tensor, Tensor]:
        logits = None
        if (share := self._share(Xi)) is not None:
            _, logits = super().backward(share, yi[:, self._rows], **fit_params)
        parameters = self.module_.member_parameters()
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        *grads, whole = self.run.processes.sum([*grads, self._spread(logits, Xi)])
        for p, grad in zip(parameters, grads):
            p.grad = grad
        return self.member_losses(whole, yi, Xi), whole

    def validation_logits(self, Xi: MemberBatch) -> Tensor:
        share = self._share(Xi)
        logits = None if share is None else super().validation_logits(share)
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
        names = ("input_ids", "attention_mask", "features", "side")
        held = {name: value for name in names if (value := getattr(Xi, name)) is not None}
        return replace(Xi, weight=weight, **{name: value[flat] for name, value in held.items()})

    def _spread(self, logits: Tensor | None, Xi: MemberBatch) -> Tensor:
        """Logits (m, b, c), zero where the rows are others'."""
        bias = self.module_.heads.bias
        whole = bias.new_zeros(*Xi.weight.shape, bias.shape[1])
        if logits is not None:
            whole[:, self._rows] = logits.detach().to(whole.dtype)
        return whole
