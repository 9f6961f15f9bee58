"""Whole copies of a backbone, one a member: what full fine-tuning trains."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sksve.adapters import FeatureDropout, MemberModule, dropout_layers
from sksve.backbones._plan import swap_modules
from sksve.backbones._split import SplitBackbone

_OF_SPLIT = ("model", "plan", "blocks", "pooling", "has_prefix", "has_suffix", "features")


class MemberCopies(MemberModule):
    """A backbone of which every member trains a copy: embeddings and normalisation included.

    It stands where a :class:`SplitBackbone` stands, and its parameters have a member axis like those
    of any layer with members. Members run one after the other. The pretrained weights are kept beside
    the copies: they are the frozen part, and what a copy can be compared with.

    Parameters
    ----------
    split : SplitBackbone
        Used, not copied. With ``first_block == 0`` all of the model is trained (a pooler, whose output
        is not used, excepted), else the blocks behind the cut.
    n_members : int
    dropout : float or None, default=None
        Rate of dropout in training, at the model's places and, as transformers' classifiers have
        it, on the pooled vectors; whatever the model's rates. None: no dropout.
    generator : torch.Generator or None, default=None
        Draws the seeds of dropout.
    """

    def __init__(
        self,
        split: SplitBackbone,
        n_members: int,
        *,
        dropout: float | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(n_members)
        self.runner = _Suffix(split)
        self.pooled_dropout = None if dropout is None else _add_dropout(split, dropout, generator)
        # "/" for "." in a parameter's name -> all copies, axis 0 the member
        self.copies = nn.ParameterDict(
            {
                name.replace(".", "/"): nn.Parameter(
                    value.detach().expand(n_members, *value.shape).clone()
                )
                for name, value in _trained_parameters(split).items()
            }
        )

    @property
    def split(self) -> SplitBackbone:
        """The backbone with its pretrained weights."""
        return self.runner.split

    def __getattr__(self, name: str) -> Any:
        """What the cut decides is as in :class:`SplitBackbone`."""
        if name in _OF_SPLIT:
            return getattr(self.split, name)
        return super().__getattr__(name)

    def member_values(self, position: int) -> dict[str, Tensor]:
        """Dotted name of each trained parameter of the model -> its value for one member."""
        one = self.n_members == 1
        # A single member's squeeze costs nothing in the backward pass, an index a tensor of zeros.
        return {
            name.replace("/", "."): p.squeeze(0) if one else p[position]
            for name, p in self.copies.items()
        }

    def suffix(
        self, hidden: Tensor | None, input_ids: Tensor, attention_mask: Tensor | None
    ) -> Tensor:
        """As :meth:`SplitBackbone.suffix`, each member's rows through its own copy."""
        active = self._members
        chosen = range(self.n_members) if active is None else active.tolist()
        m = len(chosen)
        # `functional_call` puts values into the modules it runs: each prediction has its own, for
        # threads may overlap. Training, which is alone with its module, need not.
        runner = self.runner if torch.is_grad_enabled() else _twin(self.runner)

        def parts(t: Tensor | None) -> Any:
            return [None] * m if t is None else t.chunk(m)

        def run(position: int, *rows: Tensor | None) -> Tensor:
            values = {f"split.model.{n}": v for n, v in self.member_values(position).items()}
            return torch.func.functional_call(runner, values, rows)

        inputs = zip(chosen, *map(parts, (hidden, input_ids, attention_mask)), strict=True)
        return torch.cat([run(k, *rows) for k, *rows in inputs])

    def pool(self, hidden: Tensor, attention_mask: Tensor | None) -> Tensor:
        """As :meth:`SplitBackbone.pool`; in training with dropout."""
        pooled = self.split.pool(hidden, attention_mask)
        return pooled if self.pooled_dropout is None else self.pooled_dropout(pooled)

    def train(self, mode: bool = True) -> "MemberCopies":
        """Let this module's own dropout draw masks, or not; the model stays in eval mode."""
        super().train(mode)
        for layer in dropout_layers(self):
            layer.active = mode
        return self


class _Suffix(nn.Module):
    """The suffix as a module: as ``functional_call`` wants it."""

    def __init__(self, split: SplitBackbone) -> None:
        super().__init__()
        self.split = split

    def forward(self, *inputs: Any) -> Tensor:
        return self.split.suffix(*inputs)


def _twin(runner: _Suffix) -> _Suffix:
    """Make a second tree of modules around the same tensors."""
    shared: list[Any] = [*runner.parameters(), *runner.buffers(), runner.split.model.config]
    shared += dropout_layers(runner)  # their masks are held still from outside
    return copy.deepcopy(runner, {id(thing): thing for thing in shared})


def _trained_parameters(split: SplitBackbone) -> Mapping[str, nn.Parameter]:
    """Dotted name in the model -> each parameter that full fine-tuning trains."""
    named = dict(split.model.named_parameters())
    if split.first_block == 0:
        return {n: p for n, p in named.items() if not n.startswith("pooler.")}
    behind = tuple(f"{split.blocks}.{i}." for i in range(split.first_block, split.n_blocks))
    return {n: p for n, p in named.items() if n.startswith(behind)}


def _add_dropout(
    split: SplitBackbone, rate: float, generator: torch.Generator | None
) -> FeatureDropout:
    """Put dropout where the model has its own, behind the cut; return one more, for pooled vectors."""

    def new() -> FeatureDropout:
        return FeatureDropout(rate, int(torch.randint(2**62, (), generator=generator)))

    model = split.model
    behind = tuple(f"{split.blocks}.{i}." for i in range(split.first_block, split.n_blocks))
    places = [n for n, m in model.named_modules() if isinstance(m, nn.Dropout)]
    if split.first_block > 0:
        places = [n for n in places if n.startswith(behind)]
    swap_modules(model, {name: new() for name in places})
    return new()
