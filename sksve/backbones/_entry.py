"""What the first adapted block makes of its frozen input before anything learns: known beforehand.

Its queries, keys and values come, by linear maps, from hidden states that are the same in every epoch and for
all members. What the pretrained maps make of them can be kept beside them; members add changes of their own.
"""

from collections.abc import Iterable

from torch import Tensor, nn

from sksve.adapters import MemberLinear
from sksve.backbones._plan import is_attention

__all__ = ["AllKnown", "KnowsProduct", "Recorder", "entry_readers"]

# Last parts of the names of projections that read what enters their block, each once.
_READERS = frozenset(
    {"query", "key", "value", "q", "k", "v", "c_attn"}
    | {f"{which}_{what}" for which in "qkv" for what in ("lin", "proj")}
)


def entry_readers(targets: Iterable[str], blocks: str, first_block: int) -> tuple[str, ...]:
    """Names, inside the first adapted block, of adapted projections whose input no adapted layer reaches.

    >>> names = ["attention.query", "attention.value", "attention.dense", "crossattention.query", "mlp.v"]
    >>> entry_readers([f"layer.{k}.{name}" for k in (2, 3) for name in names], "layer", 2)
    ('attention.query', 'attention.value')
    """
    start = f"{blocks}.{first_block}."
    inside = [name.removeprefix(start) for name in targets if name.startswith(start)]
    return tuple(name for name in inside if _reads_entry(name))


def _reads_entry(name: str) -> bool:
    return is_attention(name) and name.rpartition(".")[2] in _READERS and "cross" not in name


class AllKnown(Exception):
    """Ends a run of a block of which no more is needed."""


class Recorder(nn.Module):
    """Stands for a projection and keeps what it gives; the last of `n` to be called ends the run.

    Raises
    ------
    AllKnown
        Once all have been called.
    """

    def __init__(self, layer: nn.Module, name: str, found: dict[str, Tensor], n: int) -> None:
        super().__init__()
        self.__dict__.update(layer=layer, name=name, found=found, n=n)

    def forward(self, x: Tensor) -> Tensor:
        """What the projection gives."""
        y: Tensor = self.layer(x)
        self.found[self.name] = y
        if len(self.found) == self.n:
            raise AllKnown
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
