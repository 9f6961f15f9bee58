"""Long texts in windows: a row holds a text's windows end to end, and a mask that numbers them."""

import torch
from torch import Tensor

#: A mask of this type has the number of a token's window, from 1, where others have 1; 0 is padding.
NUMBERS = torch.int32


def in_windows(mask: Tensor | None) -> bool:
    """Whether a mask numbers windows."""
    return mask is not None and mask.dtype == NUMBERS


class Windows:
    """A row a window, and back; the rows of `n_groups` members, as many each, stay as many for each.

    `numbers` (b, t) is the mask of the rows. Attributes: `mask` (w, s), 1 for a token, of the w windows.
    """

    def __init__(self, numbers: Tensor, n_groups: int = 1) -> None:
        self.shape = numbers.shape
        self.row, self.column = numbers.nonzero(as_tuple=True)
        key = self.row * (int(numbers.max()) + 1) + numbers[self.row, self.column]
        _, window, count = key.unique_consecutive(return_inverse=True, return_counts=True)
        first = count.cumsum(0) - count
        everyone = torch.arange(len(count), device=numbers.device)
        self.owner = self.row[first]  # of each window
        # Members must have as many rows each: one with fewer windows repeats its first.
        group = self.owner // -(-len(numbers) // n_groups)
        of_group = torch.bincount(group, minlength=n_groups)
        before = of_group.cumsum(0) - of_group
        most = int(of_group.max())
        self._slot = everyone - before[group] + group * most
        source = before.clamp(max=len(count) - 1).repeat_interleave(most)
        source[self._slot] = everyone
        self._window, self._place = window, torch.arange(len(window)).to(first) - first[window]
        place = torch.arange(int(count.max()), device=numbers.device)
        self.mask = (place < count[source][:, None]).long()
        inside = torch.minimum(place, count[source][:, None] - 1)
        self._rows = self.owner[source][:, None]
        self._columns = self.column[first][source][:, None] + inside

    def take(self, values: Tensor) -> Tensor:
        """What stands at the tokens, (b, t, ...), of each window: (w, s, ...); beyond its end, its last."""
        return values[self._rows, self._columns]

    def give(self, values: Tensor) -> Tensor:
        """Undo :meth:`take`; zeros at padding."""
        whole = values.new_zeros(*self.shape, *values.shape[2:])
        at_tokens = values[self._slot[self._window], self._place]
        return whole.index_put((self.row, self.column), at_tokens)

    def mean(self, vectors: Tensor) -> Tensor:
        """Mean over the windows of each row, of a vector each: (w, d) -> (b, d)."""
        n = torch.bincount(self.owner, minlength=self.shape[0])[:, None]
        total = vectors.new_zeros(self.shape[0], vectors.shape[-1])
        return total.index_add(0, self.owner, vectors[self._slot]) / n.clamp(min=1)
