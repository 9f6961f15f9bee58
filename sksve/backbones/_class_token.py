"""The last block of a vision model for its class token alone, which is all that pooling reads.

Every token is still a key and a value; one goes on to the output projection and the feed-forward part, which
are three quarters of a block's work. As in ``_shell.py`` the block's own ``forward`` runs, on shallow copies.
"""

from typing import Any

from torch import Tensor, nn

from sksve.backbones._twin import with_parts

__all__ = ["ClassTokenBlock", "reads_class_token"]

# What normalises a block's input, in families whose blocks are `x + f(norm(x))` and whose masks are None.
_NORM_BEFORE = {
    "dinov2": "norm1",
    "dinov2_with_registers": "norm1",
    "vit": "layernorm_before",
}
# What of a self-attention looks at each token by itself, now and in early versions of transformers.
_AFTER_ATTENTION = {"o_proj", "output"}


def reads_class_token(model: Any, pooling: str) -> bool:
    """Whether no more than the class token of the last block is needed, and the block can do with it."""
    return pooling == "cls" and getattr(model.config, "model_type", None) in _NORM_BEFORE


class ClassTokenBlock(nn.Module):
    """Stands for the last block for one call.

    Parameters
    ----------
    block : nn.Module
        Used, not changed.
    family : str
        The model's ``model_type``.
    """

    def __init__(self, block: nn.Module, family: str) -> None:
        super().__init__()
        self.__dict__["block"] = block
        self.norm = _NORM_BEFORE[family]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["block"], name)

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Give the class token's hidden state (b, 1, d) behind the block; before it are those of all."""
        parts = self.block._modules
        attention = _Attention(parts["attention"], parts[self.norm](hidden_states))
        # What the norm would give is in the attention's hands.
        own = with_parts(self.block, {"attention": attention, self.norm: nn.Identity()})
        return own(hidden_states[:, :1], *args, **kwargs)


class _Attention(nn.Module):
    """Self-attention of all tokens, of which the first one's is given back."""

    def __init__(self, attention: Any, tokens: Tensor) -> None:
        super().__init__()
        after = _AFTER_ATTENTION & attention._modules.keys()
        own = with_parts(attention, {name: _First(attention._modules[name]) for name in after})
        self.__dict__.update(attention=own, tokens=tokens)

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        out = self.attention(self.tokens, *args, **kwargs)
        return out[:, :1] if isinstance(out, Tensor) else (out[0][:, :1], *out[1:])


class _First(nn.Module):
    """Stands for a module and shows it first tokens only."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.__dict__["module"] = module

    def forward(self, *hidden_states: Tensor) -> Any:
        return self.module(*(tokens[:, :1] for tokens in hidden_states))
