"""What the first adapted block makes of its frozen input before anything learns: known beforehand.

Its queries, keys and values are linear in hidden states that are the same in every epoch and for all members.
What the pretrained matrices make of them can therefore be kept beside them; members add their own changes.
"""

from collections.abc import Iterable

from torch import Tensor, nn

from sksve.adapters import MemberLinear

__all__ = ["KnowsProduct", "Recorder", "entry_readers"]

# Last parts of the names of projections that read what enters their block, each once.
_READERS = frozenset(
    {"query", "key", "value", "q", "k", "v", "c_attn"}
    | {f"{which}_{what}" for which in "qkv" for what in ("lin", "proj")}
)


def entry_readers(targets: Iterable[str], blocks: str, first_block: int) -> tuple[str, ...]:
    """Names, inside the first adapted block, of adapted projections whose input no adapted layer reaches.

    >>> targets = [f"layer.{k}.self.{name}" for k in (2, 3) for name in ("query", "value", "dense")]
    >>> entry_readers(targets, "layer", 2)
    ('self.query', 'self.value')
    """
    start = f"{blocks}.{first_block}."
    inside = [name.removeprefix(start) for name in targets if name.startswith(start)]
    return tuple(
        name for name in inside if name.rpartition(".")[2] in _READERS and "cross" not in name
    )


class Recorder(nn.Module):
    """Stands for a projection and keeps what it gives; the last of `n` to be called ends the run.

    Raises
    ------
    StopIteration
        Once all are known.
    """

    def __init__(self, layer: nn.Module, name: str, found: dict[str, Tensor], n: int) -> None:
        super().__init__()
        self.__dict__.update(layer=layer, name=name, found=found, n=n)

    def forward(self, x: Tensor) -> Tensor:
        """What the projection gives."""
        y: Tensor = self.layer(x)
        self.found[self.name] = y
        if len(self.found) == self.n:
            raise StopIteration
        return y


class KnowsProduct(nn.Module):
    """Stands for a projection whose pretrained output is known."""

    def __init__(self, layer: nn.Module, product: Tensor) -> None:
        super().__init__()
        self.__dict__.update(layer=layer, product=product)

    def forward(self, x: Tensor) -> Tensor:
        """What the projection, or each member's, gives."""
        if isinstance(self.layer, MemberLinear):
            return self.layer(x, self.product)
        return self.product
