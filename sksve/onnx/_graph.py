"""A fitted classifier as one graph: inputs to probabilities, uncertainty, novelty and decision."""

import copy
import json
import logging
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.frozen import FrozenEstimator
from torch import Tensor, nn

from sksve.adapters import pretrained_layers
from sksve.novelty import SAME, TIE
from sksve.onnx._runtime import KEY, PARTS

FLOOR = float(np.finfo(np.float64).eps)  # as in sksve.calibration
# The calibrators that are graphs, and the numbers of each.
CALIBRATORS = {
    "TemperatureScaling": ("temperature_",),
    "EnsembleTemperatureScaling": ("temperature_", "weights_"),
    "VectorScaling": ("scale_", "intercept_"),
    "MatrixScaling": ("coef_", "intercept_"),
    "StructuredMatrixScaling": ("coef_", "intercept_", "temperature_", "uniform_share_"),
    "DirichletCalibration": ("coef_", "intercept_"),
    "BetaCalibration": ("coef_",),
}


def export(clf: Any, path: Any) -> Path:
    """Write a fitted classifier, or a wrapper of one, as a file; return its path."""
    if find_spec("onnxscript") is None:
        raise ImportError(
            'export_onnx needs onnxscript. Install it with: pip install "sksve[onnx]"'
        )
    path = Path(path)
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(
            f"There is no folder {path.absolute().parent} to write {path.name} in."
        )
    stages: list[Any] = []
    inner = clf
    while True:
        if isinstance(inner, FrozenEstimator):
            inner = inner.estimator
        elif hasattr(inner, "net_"):
            break
        else:
            stages.insert(0, _stage(inner))
            inner = inner.estimator_
    reader = inner._reader
    refused = {
        "whole models (export one member: to_torch)": hasattr(inner.net_.module_.split, "copies"),
        "pairs of texts": reader.kind == "text_pair",
        "windows of long texts": reader.long_texts == "windows",
        "tables without text": not reader.reads,
        "tokenizers written in Python": reader.kind != "image"
        and not getattr(reader.processor, "is_fast", False),
    }
    for what, is_so in refused.items():
        if is_so:
            raise ValueError(f"export_onnx cannot export classifiers of {what}.")
    module = copy.deepcopy(inner.net_.module_).cpu().float().eval()
    graph = _Graph(module, inner._novelty, stages).eval()
    inputs, shapes = _example(reader, module)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        quiet = logging.getLogger("torch.onnx")
        level = quiet.level
        quiet.setLevel(logging.ERROR)
        try:
            program: Any = torch.onnx.export(
                graph, tuple(inputs.values()), dynamic_shapes=tuple(shapes.values()), dynamo=True,
                verbose=False, input_names=list(inputs), output_names=graph.names,
            )  # fmt: skip
        finally:
            quiet.setLevel(level)
    tokenizer = None if reader.kind == "image" else reader.processor.backend_tokenizer.to_str()
    blank = [getattr(reader.processor, f"{role}_token_id", None) for role in ("eos", "bos", "pad")]
    about = {
        "classes": clf.classes_.tolist(), "n_members": module.n_members, "n_side": reader.n_side,
        "tokenizer": tokenizer, "max_length": int(reader.max_length),
        "pad": getattr(reader.processor, "pad_token_id", None) or 0,
        "blank": next((token for token in blank if token is not None), 0),
    }  # fmt: skip
    program.model.metadata_props[KEY] = json.dumps(about)
    beside = path.with_name(f".{path.name}.part")
    try:
        program.save(str(beside))
        _slim(beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def _slim(path: Path) -> None:
    """Leave out the exporter's notes, and keep equal tensors once: 4 % of a file of the default size."""
    import onnx

    model = onnx.load(str(path))
    graph, names = model.graph, {}
    kept: dict[Any, Any] = {}
    for tensor in graph.initializer:
        key = (tensor.data_type, tuple(tensor.dims), tensor.raw_data)
        names[tensor.name] = kept.setdefault(key if tensor.raw_data else tensor.name, tensor).name
    for node in graph.node:
        del node.metadata_props[:]
        node.input[:] = [names.get(name, name) for name in node.input]
    tensors = list(kept.values())
    del graph.value_info[:], graph.initializer[:]
    graph.initializer.extend(tensors)
    onnx.save(model, str(path))


def _example(reader: Any, module: Any) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Inputs of two rows to trace with, and which of their axes may change."""
    rows = torch.export.Dim("rows")
    if reader.kind == "image":
        channels = getattr(module.split.model.config, "num_channels", 3)
        made = reader.processor(
            [np.zeros((8, 8, channels), dtype=np.uint8)] * 2, return_tensors="pt"
        )
        inputs, shapes = {"pixel_values": made["pixel_values"].float()}, {"pixel_values": {0: rows}}
    else:
        ids = torch.tensor([[1, 2, 3, 2, 1, 2, 3], [3, 2, 1, 2, 3, 2, 1]])
        tokens = torch.export.Dim("tokens", max=max(8, int(reader.max_length)))
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        inputs["attention_mask"][1, 4:] = 0
        shapes = {name: {0: rows, 1: tokens} for name in inputs}
    if reader.n_side:
        inputs["side_features"] = torch.zeros(2, reader.n_side)
        shapes["side_features"] = {0: rows}
    return inputs, shapes


def _entropy(p: Tensor) -> Tensor:
    return -(p * p.clamp(min=1e-300).log()).sum(dim=-1)


class _Novelty(nn.Module):
    """As ``sksve.novelty.NoveltyReference``, in float64."""

    def __init__(self, reference: Any) -> None:
        super().__init__()
        self.cosine = reference.cosine
        self.k = min(reference.n_neighbors, max(len(reference.scores) - 1, 1))
        self.spread = [float(value) for value in reference.spread]
        self.register_buffer("scores", torch.from_numpy(np.array(reference.scores)))
        for number, layer in enumerate(reference.layers):
            self.register_buffer(f"layer{number}", torch.from_numpy(np.array(layer)))

    def forward(self, vectors: list[Tensor]) -> Tensor:
        pairs, same = [], None
        for number, rows in enumerate(vectors):
            u = rows.double()
            if self.cosine:
                length = u.square().sum(dim=1, keepdim=True).sqrt()
                u = u / torch.where(length > 0, length, torch.ones_like(length))
            u = u.clamp(-6e4, 6e4).half().double()
            v = getattr(self, f"layer{number}").double()
            u2, v2 = u.square().sum(dim=1)[:, None], v.square().sum(dim=1)
            squared = (u2 + v2 - 2 * (u @ v.T)).clamp(min=0)
            copy = squared <= SAME * torch.maximum(u2, v2.expand_as(squared))
            same = copy if same is None else same & copy
            pairs.append(squared)
        assert same is not None
        score = torch.zeros_like(pairs[0][:, 0])
        for spread, squared in zip(self.spread, pairs):
            near = torch.where(same, torch.full_like(squared, 1e300), squared)
            near = near.topk(self.k, dim=1, largest=False).values
            there = near < 1e299
            distance = torch.where(there, near / 2 if self.cosine else near.sqrt(), 0.0)
            score = score + distance.sum(dim=1) / there.double().sum(dim=1).clamp(min=1) / spread
        return (self.scores < (score * (1 - TIE))[:, None]).double().mean(dim=1)


class _Graph(nn.Module):
    """The ensemble, and what stands around it."""

    def __init__(self, module: Any, reference: Any, stages: list[Any]) -> None:
        super().__init__()
        self.module = module
        self.novelty = _Novelty(reference)
        self.stages = nn.ModuleList(stages)
        self.names = ["member_probabilities", "probabilities", *PARTS]
        self.names += [stage.name for stage in stages if stage.name]

    def forward(
        self, rows: Tensor, mask: Tensor | None = None, side: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        split, m = self.module.split, self.module.n_members

        def stacked(t: Tensor | None) -> Tensor | None:
            return None if t is None else t.repeat(m, *[1] * (t.ndim - 1))

        features = split.features(rows, mask)
        logits = self.module.logits(
            stacked(rows), stacked(mask), stacked(features), side=stacked(side)
        )
        members = logits.double().softmax(dim=-1)
        if not split.has_suffix:
            vectors = [features[:, 0]]
        else:
            vectors = []
            if features is not None and features.shape[-1]:
                vectors.append(split.pool(features, mask))
            inner = getattr(split, "split", split)
            with pretrained_layers(inner):
                vectors.append(inner.pool(inner.suffix(features, rows, mask), mask))
        found = {"novelty": self.novelty(vectors)}
        pooled = members.mean(dim=0)
        members, pooled, extra = self._through(
            members, pooled / pooled.sum(-1, keepdim=True), found
        )
        mean = members.mean(dim=0)
        found["total"], found["aleatoric"] = _entropy(mean), _entropy(members).mean(dim=0)
        found["epistemic"] = (found["total"] - found["aleatoric"]).clamp(min=0)
        other = members.argmax(dim=-1) != pooled.argmax(dim=-1)
        found["disagreement"] = other.double().mean(dim=0)
        found["variance"] = members.var(dim=0, correction=0).sum(dim=-1)
        found["confidence"] = pooled.amax(dim=-1)
        parts = [found[name] for name in PARTS]
        return tuple(
            t if t.dtype == torch.bool else t.float() for t in (members, pooled, *parts, *extra)
        )

    def _through(
        self, members: Tensor, pooled: Tensor, found: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """What each wrapper makes of the probabilities, from the inside out."""
        extra = []
        for stage in self.stages:
            if isinstance(stage, _Calibrated):
                members, pooled = stage(members, pooled)
            else:
                extra.append(stage(members, pooled, found["novelty"]))
        return members, pooled, extra


def _stage(wrapper: Any) -> nn.Module:
    kinds = {
        "CalibratedClassifier": _Calibrated, "SelectiveClassifier": _Selective,
        "ConformalClassifier": _Conformal,
    }  # fmt: skip
    name = type(wrapper).__name__
    if name not in kinds:
        raise ValueError(
            f"export_onnx cannot export a {name}: only {', '.join(kinds)} around a classifier with "
            "members. Export what is inside it."
        )
    return kinds[name](wrapper)


class _Map(nn.Module):
    """A fitted calibrator."""

    def __init__(self, calibrator: Any) -> None:
        super().__init__()
        self.kind = type(calibrator).__name__
        if self.kind not in CALIBRATORS:
            raise ValueError(
                f"export_onnx cannot export a {self.kind}: calibrate by one of {', '.join(CALIBRATORS)}."
            )
        if not getattr(calibrator, "has_rows_", np.array(True)).all():
            raise ValueError(
                f"export_onnx cannot export a {self.kind} fitted without rows of some class."
            )
        for name in CALIBRATORS[self.kind]:
            value = torch.as_tensor(np.asarray(getattr(calibrator, name), dtype=np.float64))
            self.register_buffer(name.rstrip("_"), value)

    def forward(self, p: Tensor) -> Tensor:
        z = p.clamp(min=FLOOR).log()
        if self.kind == "BetaCalibration":
            a, b, c = self.coef.unbind(dim=1)
            high = (1 - p).clamp(min=FLOOR).log()
            values = (a * z - b * high + c).sigmoid()
            sums = values.sum(dim=-1, keepdim=True)
            return torch.where(sums > 0, values / sums.clamp(min=1e-300), p)
        if self.kind == "TemperatureScaling":
            return (z / self.temperature).softmax(dim=-1)
        if self.kind == "EnsembleTemperatureScaling":
            tempered, original = (z / self.temperature).softmax(dim=-1), z.softmax(dim=-1)
            first, second, third = self.weights.unbind()
            return first * tempered + second * original + third / p.shape[-1]
        if self.kind == "VectorScaling":
            return (z * self.scale + self.intercept).softmax(dim=-1)
        if self.kind == "StructuredMatrixScaling":
            tempered = (z / self.temperature).softmax(dim=-1)
            share = self.uniform_share
            z = ((1 - share) * tempered + share / p.shape[-1]).log()
        return (z @ self.coef.T + self.intercept).softmax(dim=-1)


class _Calibrated(nn.Module):
    name = ""

    def __init__(self, wrapper: Any) -> None:
        super().__init__()
        self.first = wrapper._pools_by_mean
        self.maps = nn.ModuleList(map(_Map, wrapper.calibrators_))

    def forward(self, members: Tensor, pooled: Tensor) -> tuple[Tensor, Tensor]:
        if self.first:
            members = torch.stack([f(p) for f, p in zip(self.maps, members.unbind())])
            mean = members.mean(dim=0)
            return members, mean / mean.sum(dim=-1, keepdim=True)
        return self.maps[0](members), self.maps[0](pooled)


class _Selective(nn.Module):
    name = "accepts"

    def __init__(self, wrapper: Any) -> None:
        super().__init__()
        if not isinstance(wrapper.measure, str):
            raise ValueError("export_onnx cannot export a measure that is a function: name one.")
        self.measure, self.threshold = wrapper.measure, wrapper.threshold_
        self.max_novelty = wrapper.max_novelty

    def forward(self, members: Tensor, pooled: Tensor, novelty: Tensor) -> Tensor:
        if self.measure == "confidence":
            score = pooled.amax(dim=-1)
        elif self.measure == "margin":
            first, second = pooled.topk(2, dim=-1).values.unbind(dim=-1)
            score = first - second
        elif self.measure == "entropy":
            score = -_entropy(pooled)
        else:
            between = _entropy(members.mean(dim=0)) - _entropy(members).mean(dim=0)
            score = -between.clamp(min=0)
        if np.isinf(self.threshold):
            accepted = torch.full_like(score, self.threshold < 0).bool()
        else:
            accepted = score >= self.threshold - 1e-6  # the threshold is a row's own score
        if self.max_novelty is not None:
            accepted = accepted & (novelty <= self.max_novelty)
        return accepted


class _Conformal(nn.Module):
    name = "set"

    def __init__(self, wrapper: Any) -> None:
        super().__init__()
        if len(wrapper.estimators_) != 1:
            raise ValueError(
                "export_onnx cannot export a cross-conformal classifier, which has a model per fold: fit it "
                "with a FrozenEstimator, or with a share of the rows held out (cv=0.25)."
            )
        self.method = wrapper.method
        if self.method == "raps":
            self.penalty, self.free_ranks = wrapper.penalty, wrapper.free_ranks
        alpha = 1.0 - wrapper.confidence_level
        for group, (scores, tails) in enumerate(zip(wrapper.scores_[0], wrapper.tails_[0])):
            enough = np.asarray(tails) + 1.0 > alpha * (tails[0] + 1.0) * (1.0 + 1e-9)
            self.register_buffer(f"scores{group}", torch.from_numpy(np.array(scores)))
            self.register_buffer(f"inside{group}", torch.from_numpy(np.array(enough)))
        self.n_groups = len(wrapper.scores_[0])

    def forward(self, members: Tensor, pooled: Tensor, novelty: Tensor) -> Tensor:
        new = 1 - pooled
        if (
            self.method != "lac"
        ):  # of the classes from the most probable one to each, ties by their place
            place = torch.arange(pooled.shape[-1])
            one, other = pooled[:, :, None], pooled[:, None, :]
            before = (other > one) | ((other == one) & (place <= place[:, None]))
            new = (other * before).sum(dim=-1)
            if self.method == "raps":
                ranks = before.sum(dim=-1).double()
                new = new + self.penalty * (ranks - self.free_ranks).clamp(min=0)
        columns = []
        for k in range(pooled.shape[-1]):
            group = k if self.n_groups > 1 else 0
            place = (getattr(self, f"scores{group}") < new[:, k, None] - 1e-6).sum(dim=1)
            columns.append(getattr(self, f"inside{group}")[place])
        found = torch.stack(columns, dim=1)
        if self.method != "lac":
            top = pooled.argmax(dim=-1, keepdim=True)
            found = found | (torch.arange(pooled.shape[-1]) == top)
        return found
