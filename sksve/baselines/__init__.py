"""Rivals as baselines, with the methods and the training loop of ``SVEClassifier``."""

from sksve.baselines._linear_probe import LinearProbeClassifier

__all__ = ["LinearProbeClassifier"]
