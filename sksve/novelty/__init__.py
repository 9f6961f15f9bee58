"""How far rows are from the training rows, in vectors that no training has changed; numpy and scipy only."""

from sksve.novelty._reference import NEIGHBORS, ROWS, SAME, TIE, NoveltyReference

__all__ = ["NEIGHBORS", "ROWS", "SAME", "TIE", "NoveltyReference"]
