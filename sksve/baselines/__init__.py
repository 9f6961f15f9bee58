"""Rivals as baselines, with the methods and the training loop of ``SVEClassifier``."""

from sksve.baselines._batch_ensemble import BatchEnsembleClassifier
from sksve.baselines._deep_ensemble import DeepEnsembleClassifier
from sksve.baselines._fine_tuned import FineTunedClassifier
from sksve.baselines._laplace import LaplaceClassifier
from sksve.baselines._linear_probe import LinearProbeClassifier
from sksve.baselines._lora_ensemble import LoRAEnsembleClassifier
from sksve.baselines._mc_dropout import MCDropoutClassifier

__all__ = [
    "BatchEnsembleClassifier",
    "DeepEnsembleClassifier",
    "FineTunedClassifier",
    "LaplaceClassifier",
    "LinearProbeClassifier",
    "LoRAEnsembleClassifier",
    "MCDropoutClassifier",
]
