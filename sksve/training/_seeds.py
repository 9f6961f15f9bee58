"""Random streams: member k draws from its own, whatever the other members do."""

from dataclasses import dataclass

import numpy as np
import torch

__all__ = ["MemberStreams", "member_streams", "sample_seeds", "shared_streams"]

# Purposes of a member's streams, by position; append only, or saved seeds change their meaning.
_ADAPTER, _HEAD, _BATCHES = range(3)
# Spawn key of the stream that no member owns. A key, not a longer entropy list: SeedSequence pads
# entropy with zeros, so [seed] and [seed, 0] are the same sequence.
_SHARED = (0x53,)
_SAMPLES = (0x4D,)


@dataclass(frozen=True)
class MemberStreams:
    """Generators of one member: of the initial values of layers and head, and of the order of rows."""

    adapter: torch.Generator
    head: torch.Generator
    batches: np.random.Generator


def member_streams(seed: int, member: int, part: int = 0) -> MemberStreams:
    """Streams of one member, a function of `seed` and `member` alone; `part` counts partial_fit."""
    children = np.random.SeedSequence([seed, member]).spawn(3)
    return MemberStreams(
        adapter=_torch_generator(children[_ADAPTER]),
        head=_torch_generator(children[_HEAD]),
        batches=np.random.default_rng(_of_part(children[_BATCHES], part)),
    )


def shared_streams(seed: int, part: int = 0) -> tuple[np.random.Generator, np.random.Generator]:
    """Streams of the fit: the order of batches, and the rows where all members share them."""
    order, rows = np.random.SeedSequence(seed, spawn_key=_SHARED).spawn(2)
    return (
        np.random.default_rng(_of_part(order, part)),
        np.random.default_rng(_of_part(rows, part)),
    )


def _of_part(sequence: np.random.SeedSequence, part: int) -> np.random.SeedSequence:
    return sequence if part == 0 else sequence.spawn(part)[-1]


def sample_seeds(seed: int, sample: int, n: int) -> list[int]:
    """Seeds of one draw from a posterior (a mask a layer, a head): of `seed` and `sample` alone."""
    state = np.random.SeedSequence([seed, sample], spawn_key=_SAMPLES).generate_state(n, np.uint64)
    return [int(s) & (2**63 - 1) for s in state]


def _torch_generator(sequence: np.random.SeedSequence) -> torch.Generator:
    state = int(sequence.generate_state(1, np.uint64)[0])
    return torch.Generator().manual_seed(state & (2**63 - 1))
