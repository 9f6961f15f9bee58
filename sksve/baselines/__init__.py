"""Rivals as baselines, with the methods and the training loop of ``SVEClassifier``."""

from sksve.baselines._laplace import LaplaceClassifier
from sksve.baselines._layer_ensembles import BatchEnsembleClassifier, LoRAEnsembleClassifier
from sksve.baselines._linear_probe import LinearProbeClassifier
from sksve.baselines._mc_dropout import MCDropoutClassifier
from sksve.baselines._whole import DeepEnsembleClassifier, FineTunedClassifier

__all__ = [
    "BatchEnsembleClassifier",
    "DeepEnsembleClassifier",
    "FineTunedClassifier",
    "LaplaceClassifier",
    "LinearProbeClassifier",
    "LoRAEnsembleClassifier",
    "MCDropoutClassifier",
]
