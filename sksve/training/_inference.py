"""Logits of all members for many rows: the same numbers by the cheaper of two exact routes.

Threads may predict with one module at the same time: what a prediction switches concerns its own thread.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sksve.adapters import member_layers, merged_member, pretrained_layers
from sksve.backbones import eval_mode
from sksve.training._data import MemberBatch, MemberDataset
from sksve.training._frozen import (
    LayerVectors,
    low_precision,
    token_batches,
    token_budget,
    with_features,
)
from sksve.training._module import EnsembleModule, MemberHeads

# Members take turns, each with dense weights, if that saves a tenth of the multiply-adds: a turn costs
# a pass of its own. It saves 17 % of a prediction of 200 reviews with the README's settings (CPU time on
# one thread, medians of 5 in turns: 4.3 against 5.2 s; with random subspaces 6.5 against 7.7 s).
TURNS = 0.9
# Those kept at once while members take turns in a prediction.
TURN_BYTES = 2**28
# Seconds of work from which on a bar is worth its lines.
LONG = 5.0


def softmax64(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis in float64, rows renormalised to sum to 1."""
    z = np.asarray(logits, dtype=np.float64)
    p = np.exp(z - z.max(axis=-1, keepdims=True))
    return p / p.sum(axis=-1, keepdims=True)


def merging_pays(module: EnsembleModule, n_tokens: int) -> bool:
    """Whether dense weights, built once per member, take fewer multiply-adds for so many tokens of each."""
    costs = [layer.multiply_adds(n_tokens) for layer in member_layers(module)]
    # Layers whose dense weight does not pay stay as they are, whoever's turn it is.
    return sum(map(min, costs)) < TURNS * sum(thin for thin, _ in costs)


@torch.no_grad()
def predict_logits(
    module: EnsembleModule,
    dataset: MemberDataset,
    *,
    members: Sequence[int] | None = None,
    device: str | torch.device = "cpu",
    autocast: torch.dtype | None = None,
    merge: bool | None = None,
    progress: bool = False,
    vectors: LayerVectors | None = None,
) -> np.ndarray:
    """Logits (m, n_samples, n_classes), float64, of every member for every row, in the data set's order.

    Parameters
    ----------
    module : EnsembleModule
    dataset : MemberDataset
    members : sequence of int, optional
        Positions; all without it.
    device : str or torch.device
        Where the module is.
    autocast : torch.dtype, optional
        Dtype of the forward pass.
    merge : bool, optional
        The route: dense weights of one member at a time (True), or thin factors of all members at
        once (False). None: whichever takes fewer multiply-adds.
    progress : bool, default=False
        Show a bar on stderr if this takes long; it counts tokens, once for each member.
    vectors : LayerVectors, optional
        Collects the rows' vectors from the same pass through the frozen blocks.
    """
    device, split = torch.device(device), module.split
    chosen = list(range(module.n_members)) if members is None else list(members)
    n_classes = module.heads.weight.shape[1]
    logits = np.empty((len(chosen), len(dataset), n_classes))
    n_all = int(dataset.lengths.sum())
    n_tokens = None  # if all layers are to be merged
    if merge is None:
        n_tokens = n_all
        merge = merging_pays(module, n_tokens)
    merge = merge and split.has_suffix
    m = 1 if merge or not split.has_suffix else len(chosen)
    batches = token_batches(dataset, max(1, token_budget(device) // m))
    bar = Progress(len(chosen) * n_all, "token", show=progress)
    with eval_mode(module), bar:
        for group in _groups(module, dataset, batches):
            inputs = [with_features(split, dataset, rows, device, autocast) for rows in group]
            if vectors is not None:
                with pretrained_layers(split):
                    for rows, batch in zip(group, inputs):
                        vectors.take(batch, rows, autocast)
            # Members take turns with merged weights, or all have theirs at once.
            turns = [slice(k, k + 1) for k in range(len(chosen))] if merge else [slice(None)]
            for turn in turns:
                who = chosen[turn]
                merged: Any = nullcontext()
                if merge:
                    merged = merged_member(module, who[0], n_tokens, dtype=autocast)
                with merged, low_precision(device, autocast):
                    for rows, batch in zip(group, inputs):
                        logits[turn, rows] = _run(module, batch, who)
                        bar.advance(len(who) * int(dataset.lengths[rows].sum()))
    return logits


def _groups(
    module: EnsembleModule, dataset: MemberDataset, batches: list[np.ndarray]
) -> list[list[np.ndarray]]:
    """Batches whose inputs and frozen features fit in memory together; one group if both are small."""
    has_prefix = module.split.has_prefix
    if not has_prefix and not dataset.input_bytes:
        return [batches]
    # Features are about as wide as the heads' input.
    width = module.heads.weight.shape[-1] * 4 if has_prefix else 0
    groups: list[list[np.ndarray]] = [[]]
    held = 0
    for rows in batches:
        size = len(rows) * (int(dataset.lengths[rows].max()) * width + dataset.input_bytes)
        if groups[-1] and held + size > TURN_BYTES:
            groups.append([])
            held = 0
        groups[-1].append(rows)
        held += size
    return groups


def _run(module: EnsembleModule, batch: MemberBatch, members: list[int]) -> np.ndarray:
    """Logits (m, b, c) of one batch, which each member gets."""
    m = len(members)

    def stack(t: Tensor | None) -> Tensor | None:
        return None if t is None else t.repeat(m, *[1] * (t.ndim - 1))

    ids, mask = stack(batch.input_ids), stack(batch.attention_mask)
    assert ids is not None
    whole = m == module.n_members and members == list(range(m))
    out = module.logits(
        ids, mask, stack(batch.features), None if whole else members, side=stack(batch.side)
    )
    return out.double().cpu().numpy()


def pooled_vectors(
    module: EnsembleModule,
    dataset: MemberDataset,
    *,
    member: int = 0,
    device: str | torch.device = "cpu",
    autocast: torch.dtype | None = None,
    vectors: LayerVectors | None = None,
) -> np.ndarray:
    """Pooled vectors and side features (n_samples, d), float64, of one member: what enters its head."""
    d, like = module.heads.matrix.shape[-1], module.heads.weight
    heads = MemberHeads(
        d, d, [torch.Generator()] * module.n_members, init_std=0.0, dtype=like.dtype
    )
    with torch.no_grad():
        heads.weight.copy_(torch.eye(d))  # logits that are the vectors
    bare = EnsembleModule(module.split, heads.to(like.device))
    how: dict[str, Any] = {"device": device, "autocast": autocast, "vectors": vectors}
    return predict_logits(bare, dataset, members=[member], **how)[0]


# -- a bar on stderr ---------------------------------------------------------------------------------

# Of this thread: the bar of a stream stands for those of its pieces.
_silent: ContextVar[bool] = ContextVar("sksve_silent", default=False)


def is_long(seconds: float, done: float, total: float | None) -> bool:
    """Whether work is expected to take more than five seconds, judged from its beginning."""
    if total is None:
        return seconds > LONG
    return done > 0 and seconds * total > LONG * done


class Progress:
    """Counts work, and shows a bar (tqdm, on stderr) once :func:`is_long` says so; `total` None: unknown."""

    def __init__(self, total: int | None, unit: str, *, show: bool) -> None:
        self.total, self.unit = total, unit
        self.show = show and not _silent.get()
        self._done = 0
        self._start = time.perf_counter()
        self._bar: Any = None

    def advance(self, n: int) -> None:
        """Count n units more."""
        if not self.show:
            return
        self._done += n
        if self._bar is not None:
            self._bar.update(n)
        elif is_long(time.perf_counter() - self._start, self._done, self.total):
            from tqdm import tqdm

            self._bar = tqdm(
                desc="Predicting",
                total=self.total,
                initial=self._done,
                unit=self.unit,
                unit_scale=True,
            )

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let no other bar appear in this thread for the time of the block: this one stands for them."""
        token = _silent.set(True)
        try:
            yield
        finally:
            _silent.reset(token)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()
