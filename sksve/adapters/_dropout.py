"""Dropout whose masks can be held still: a mask is then a member."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from sksve.adapters._members import ThreadLocal

__all__ = ["FeatureDropout", "dropout_layers", "fixed_masks"]


class FeatureDropout(nn.Module):
    r"""Drop whole features: one mask over the last axis, the same at every token of a row.

    In training each row of a batch draws a mask of its own at each step. For prediction a mask is held
    still (:func:`fixed_masks`) and all rows share it, so that what a row gets depends neither on its
    place in a batch nor on padding. Both are draws of the same distribution: a feature is kept with
    probability :math:`1 - p` and then divided by it. Otherwise the layer does nothing.

    Scores of attention, the only 4-D tensors, have no features and pass unchanged.

    Parameters
    ----------
    rate : float
        Share :math:`p` of the features that is dropped, in [0, 1).
    seed : int
        Of the masks in training.

    References
    ----------
    .. [1] Gal and Ghahramani (2016), "Dropout as a Bayesian Approximation",
       https://arxiv.org/abs/1506.02142
    .. [2] Gal and Ghahramani (2016), "A Theoretically Grounded Application of Dropout in Recurrent
       Neural Networks" (one mask for all time steps), https://arxiv.org/abs/1512.05287

    Examples
    --------
    >>> import torch
    >>> from sksve.adapters import FeatureDropout, fixed_masks
    >>> layer = FeatureDropout(0.5, seed=0)
    >>> x = torch.ones(2, 3, 4)
    >>> torch.equal(layer(x), x)
    True
    >>> with fixed_masks(layer, [7]):
    ...     sorted(set(layer(x).flatten().tolist()))
    [0.0, 2.0]
    """

    #: Seed of the mask that all rows share, in this thread.
    fixed = ThreadLocal[int]()

    def __init__(self, rate: float, seed: int) -> None:
        super().__init__()
        self.rate = rate
        self.seed = seed
        # Attention that drops scores by itself reads this attribute of the layer it finds.
        self.p = 0.0
        #: Whether rows draw masks; not `training`, which every call of ``train()`` sets.
        self.active = False
        self._generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Drop features of x (b, ..., d)."""
        if x.ndim == 4 or self.rate == 0.0:
            return x
        fixed = self.fixed
        if fixed is not None:
            return x * self._mask((x.shape[-1],), torch.Generator().manual_seed(fixed), x)
        if not self.active:
            return x
        if self._generator is None:
            self._generator = torch.Generator().manual_seed(self.seed)
        shape = (x.shape[0], *[1] * (x.ndim - 2), x.shape[-1])
        return x * self._mask(shape, self._generator, x)

    def _mask(self, shape: tuple[int, ...], generator: torch.Generator, like: Tensor) -> Tensor:
        # float64 on the CPU whatever x is: the same mask in every precision and on every device.
        kept = torch.rand(shape, generator=generator, dtype=torch.float64) >= self.rate
        return (kept.double() / (1.0 - self.rate)).to(like)

    def random_state(self) -> Tensor | None:
        """State of the stream of masks in training; None before the first."""
        return None if self._generator is None else self._generator.get_state()

    def set_random_state(self, state: Tensor) -> None:
        """Go on with the stream of masks where :meth:`random_state` was taken."""
        self._generator = torch.Generator()
        self._generator.set_state(state)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_generator": None}  # a generator cannot be pickled everywhere

    def extra_repr(self) -> str:
        return f"rate={self.rate}"


def dropout_layers(module: nn.Module) -> list[FeatureDropout]:
    """Return every :class:`FeatureDropout` inside `module`, in module order."""
    return [m for m in module.modules() if isinstance(m, FeatureDropout)]


@contextmanager
def fixed_masks(module: nn.Module, seeds: Sequence[int]) -> Iterator[None]:
    """Hold one mask a layer still for the time of a ``with`` block.

    Parameters
    ----------
    module : torch.nn.Module
    seeds : sequence of int
        One per :class:`FeatureDropout` inside `module`, in module order.
    """
    layers = dropout_layers(module)
    try:
        for layer, seed in zip(layers, seeds, strict=True):
            layer.fixed = seed
        yield
    finally:
        for layer in layers:
            layer.fixed = None
