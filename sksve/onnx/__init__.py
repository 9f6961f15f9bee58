"""Saved models without torch: what ``export_onnx`` wrote, by onnxruntime, numpy and tokenizers alone."""

from sksve.onnx._runtime import OnnxClassifier, OnnxUncertainty, load

__all__ = ["OnnxClassifier", "OnnxUncertainty", "load"]
