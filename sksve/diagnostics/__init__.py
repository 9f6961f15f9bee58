"""What training did to the weights, and where members differ: layer by layer, of a fitted classifier."""

from sksve.diagnostics._diversity import LayerDiversity, layer_diversity
from sksve.diagnostics._spectrum import SpectrumShift, count_intruders, spectrum_shift

__all__ = [
    "LayerDiversity",
    "SpectrumShift",
    "count_intruders",
    "layer_diversity",
    "spectrum_shift",
]
