"""DINOv2 out of an ONNX graph written as the exporter writes it."""

import json

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from transformers import AutoImageProcessor, AutoModel, Dinov2Config, Dinov2Model

from benchmarks.common.backbones import CONFIG, convert_dinov2

SMALL = CONFIG | {
    "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 28,
}  # fmt: skip
# transformers' own names of the linear layers -> those of published checkpoints, as in the graph
PUBLISHED = {
    "attention.q_proj": "attention.attention.query",
    "attention.k_proj": "attention.attention.key",
    "attention.v_proj": "attention.attention.value",
    "attention.o_proj": "attention.output.dense",
}


@pytest.fixture(scope="module")
def model():
    with torch.random.fork_rng(devices=[]):
        model = Dinov2Model(Dinov2Config(**SMALL)).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "mask_token" not in name:
                weight.copy_(torch.randn(weight.shape, generator=generator))
    return model


def write_graph(model, path, *, leave_out=""):
    constants, nodes = {"decoder.weight": np.ones(3, dtype=np.float32)}, []
    for name, tensor in model.state_dict().items():
        for ours, published in PUBLISHED.items():
            name = name.replace(ours, published)
        array = tensor.numpy()
        if name.endswith("position_embeddings"):
            constants["onnx::Concat_1"] = array[:, :1].copy()
            constants["onnx::Reshape_2"] = array[:, 1:].copy()
        elif name.endswith("mask_token"):
            continue
        elif array.ndim == 2 and "layer." in name:
            bias = name.removesuffix("weight") + "bias"
            if leave_out and leave_out in name:
                continue
            constants[f"onnx::MatMul_{len(nodes)}"] = array.T.copy()
            product = f"product_{len(nodes)}"
            nodes += [
                helper.make_node("MatMul", ["x", f"onnx::MatMul_{len(nodes)}"], [product]),
                helper.make_node("Add", [f"backbone.{bias}", product], [f"sum_{len(nodes)}"]),
            ]
        else:
            constants[f"backbone.{name}"] = array
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)],
        [],
        [numpy_helper.from_array(np.ascontiguousarray(a), n) for n, a in constants.items()],
    )
    onnx.save(helper.make_model(graph), path)


def test_convert__gives_back_the_model(model, tmp_path):
    write_graph(model, tmp_path / "m.onnx")
    convert_dinov2(tmp_path / "m.onnx", tmp_path / "out", SMALL)
    loaded, info = AutoModel.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name]) or "mask_token" in name
    pixels = torch.randn(2, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        got, expected = (m.eval()(pixels).last_hidden_state for m in (loaded, model))
    torch.testing.assert_close(got, expected)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["hidden_size"] == 8
    processor = AutoImageProcessor.from_pretrained(tmp_path / "out")
    image = np.zeros((40, 50, 3), dtype=np.uint8)
    [values] = processor([image])["pixel_values"]
    assert values.shape == (3, 224, 224)
    np.testing.assert_allclose(
        values[:, 0, 0], -np.divide([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]), rtol=1e-5
    )


@pytest.mark.parametrize("lost", ["layer.1.mlp.fc1", "layer.1.attention.attention.query"])
def test_convert__refuses_a_graph_without_a_weight(lost, model, tmp_path):
    write_graph(model, tmp_path / "m.onnx", leave_out=lost)
    with pytest.raises(ValueError, match="6 linear layers in each of 2 blocks, with weights"):
        convert_dinov2(tmp_path / "m.onnx", tmp_path / "out", SMALL)
    assert not (tmp_path / "out").exists()


def test_convert__refuses_another_architecture(model, tmp_path):
    write_graph(model, tmp_path / "m.onnx")
    with pytest.raises(ValueError, match=r"one nameless tensor of shape \(1, 1369, 8\): 0 found"):
        convert_dinov2(tmp_path / "m.onnx", tmp_path / "out", SMALL | {"image_size": 518})
