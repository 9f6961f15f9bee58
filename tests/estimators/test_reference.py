"""The method, written a second time the slow and plain way, must give the same members.

One member at a time, one text at a time (so nothing is padded), a dense weight ``U diag(S (1 + delta)) Vh``
rebuilt at every step, a gradient clip and a schedule of its own. Only the random streams and the rows of
the batches are taken from sksve.
"""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sksve.backbones import make_tiny_backbone
from tests.making import slow_but
from tests.private import bucketed_epoch, member_streams, shared_streams


def rows_of_steps(settings, lengths, rng):
    """The rows of each step's batch, one step after the other."""
    order, _ = shared_streams(settings.random_state)
    n_batches = -(-len(lengths) // settings.batch_size)
    for _ in range(settings.max_epochs):
        batches = bucketed_epoch(lengths, settings.batch_size, rng)
        for slot in order.permutation(n_batches):
            yield batches[slot]


class ReferenceMember:
    """One member: a private model, its cores as plain leaf tensors, a head."""

    def __init__(self, clf, k, n_classes):
        model, self.tokenizer = clf.backbone
        self.model = copy.deepcopy(model).double().eval().requires_grad_(False)
        self.settings = clf.settings_
        self.cores = {}
        streams = member_streams(self.settings.random_state, k)
        for name in clf.adapter_report_.adapted:
            self.cores[name] = self._core(name, streams.adapter)
        d = self.model.config.hidden_size
        noise = torch.randn(n_classes, d, generator=streams.head, dtype=torch.float64)
        self.head = (self.settings.head_init_scale * noise).requires_grad_()
        self.head_bias = torch.zeros(n_classes, dtype=torch.float64, requires_grad=True)
        self.rng = streams.batches

    def _is_conv1d(self, name):
        return type(self.model.get_submodule(name)).__name__ == "Conv1D"

    def _core(self, name, generator):
        weight = self.model.get_submodule(name).weight
        weight = weight.T if self._is_conv1d(name) else weight
        U, S, Vh = torch.linalg.svd(weight, full_matrices=False)
        for k in range(len(S)):  # the largest entry of each left vector is positive
            if U[U[:, k].abs().argmax(), k] < 0:
                U[:, k], Vh[k] = -U[:, k], -Vh[k]
        r = len(S) if self.settings.rank is None else min(self.settings.rank, len(S))
        own = torch.arange(r)
        if self.settings.direction_pool:
            pool = min(self.settings.direction_pool, len(S))
            own = torch.randperm(pool, generator=generator)[:r].sort().values

        def noise(n):
            drawn = torch.randn(n, generator=generator, dtype=torch.float64)
            return (self.settings.init_scale * drawn).requires_grad_()

        core = {"U": U, "S": S, "Vh": Vh, "own": own, "delta": noise(r), "band": [], "bias": None}
        if self.settings.train_bias:
            core["bias"] = noise(len(weight))
        n_sides = r - 1 if self.settings.core == "full" else self.settings.off_diagonals
        sides = [side for d in range(1, n_sides + 1) for side in (d, -d)]
        lengths = [r - abs(side) for side in sides]
        start = torch.zeros(sum(lengths), dtype=torch.float64)
        for side, entries in zip(sides, start.split(lengths) if sides else ()):
            core["band"].append((side, entries.clone().requires_grad_()))
        return core

    def block_of(self, name):
        """Which of the adapted blocks a layer is in."""
        number = int(next(part for part in name.split(".") if part.isdigit()))
        return number - min(self.numbers())

    def numbers(self):
        return {int(next(p for p in name.split(".") if p.isdigit())) for name in self.cores}

    def stop_of(self, block, n_steps):
        """Step from which a block no longer learns; None: the heads, which learn to the end."""
        n_blocks = len(self.numbers())
        if block is None or self.settings.freeze_out is None or n_blocks == 1:
            return n_steps
        first = self.settings.freeze_out
        return max(1, round(n_steps * (first + (1 - first) * block / (n_blocks - 1))))

    def weights(self):
        """Dense weights and biases of all adapted layers, by name."""
        dense = {}
        for name, core in self.cores.items():
            own = core["own"]
            S, r = core["S"][own], len(own)
            change = torch.diag(S * core["delta"])
            for side, entries in core["band"]:
                # Units of sqrt(S_a S_b) for the entry in row a, column b.
                near, far = S[: r - abs(side)].sqrt(), S[abs(side) :].sqrt()
                change = change + torch.diag(entries * near * far, side)
            place = torch.eye(len(core["S"]), dtype=S.dtype)[:, own]  # where the change stands
            middle = torch.diag(core["S"]) + place @ change @ place.T
            weight = core["U"] @ middle @ core["Vh"]
            dense[f"{name}.weight"] = weight.T if self._is_conv1d(name) else weight
            if core["bias"] is not None:
                dense[f"{name}.bias"] = self.model.get_submodule(name).bias + core["bias"]
        return dense

    def logits(self, texts):
        dense = self.weights()
        pooled = []
        for text in texts:
            ids = torch.tensor([self.tokenizer(text)["input_ids"]])
            out = torch.func.functional_call(self.model, dense, (ids,))
            tokens = out.last_hidden_state[0]
            pooled.append(tokens[-1] if self.model.config.model_type == "gpt2" else tokens.mean(0))
        return torch.stack(pooled) @ self.head.T + self.head_bias

    def fit(self, texts, y, weight):
        how, n = self.settings, len(texts)
        adapter, blocks = [], []
        for name, core in self.cores.items():
            own = [core["delta"], *([] if core["bias"] is None else [core["bias"]])]
            own += [entries for _, entries in core["band"]]
            adapter += own
            blocks += [self.block_of(name)] * len(own)
        blocks += [None, None]
        leaves = [*adapter, self.head, self.head_bias]
        # (leaf, learning rate, weight decay)
        rules = [(p, how.lr, how.weight_decay) for p in adapter]
        rules += [(self.head, how.head_lr, how.weight_decay), (self.head_bias, how.head_lr, 0.0)]
        to_start = how.decay_to == "start"
        starts = [to_start * p.detach() for p in leaves]
        in_cores = {id(core["delta"]) for core in self.cores.values()}
        in_cores |= {id(entries) for core in self.cores.values() for _, entries in core["band"]}
        first = [torch.zeros_like(p) for p in leaves]
        second = [torch.zeros_like(p) for p in leaves]

        lengths = np.array([len(self.tokenizer(text)["input_ids"]) for text in texts])
        n_steps = how.max_epochs * -(-n // how.batch_size)
        stops = [self.stop_of(block, n_steps) for block in blocks]
        for t, rows in enumerate(rows_of_steps(how, lengths, self.rng)):
            logits = self.logits([texts[i] for i in rows])
            losses = F.cross_entropy(logits, torch.tensor(y[rows]), reduction="none")
            loss = (losses * torch.tensor(weight[rows])).sum() / len(rows)
            grads = torch.autograd.grad(loss, leaves)
            learn = [t < stop for stop in stops]
            norm = torch.stack([g.square().sum() for g, on in zip(grads, learn) if on])
            shrink = min(1.0, how.max_grad_norm / float(norm.sum().sqrt()))
            factors = [self.factor(t, stop, n_steps) for stop in stops]
            with torch.no_grad():  # AdamW, Loshchilov and Hutter (2019)
                for (p, lr, decay), start, g, m, v, factor, on in zip(
                    rules, starts, grads, first, second, factors, learn
                ):
                    if not on:
                        continue
                    g = g * shrink
                    p.sub_(lr * factor * decay * (p - start))
                    if how.optimizer == "muon" and id(p) in in_cores:
                        continue
                    m.mul_(0.9).add_(0.1 * g)
                    v.mul_(0.999).add_(0.001 * g**2)
                    p.sub_(
                        lr * factor * (m / (1 - 0.9 ** (t + 1)))
                        / ((v / (1 - 0.999 ** (t + 1))).sqrt() + 1e-8)
                    )  # fmt: skip
                if how.optimizer == "muon":
                    self.step_cores(
                        dict(zip(map(id, leaves), grads)), shrink,
                        dict(zip(map(id, leaves), factors)),
                    )  # fmt: skip
        return self

    def factor(self, t, stop, n_steps):
        """Warmup and linear decay of the rate, in `stop` steps and as much higher."""
        n_warmup = round(self.settings.warmup * stop)
        shape = (t + 1) / n_warmup if t < n_warmup else (stop - t) / (stop - n_warmup)
        return shape * n_steps / stop

    def step_cores(self, grads, shrink, factors):
        """Muon, Jordan et al. (2024), by singular value decompositions."""
        for core in self.cores.values():
            lr = self.settings.lr * factors[id(core["delta"])]
            if lr <= 0:
                continue
            r = len(core["delta"])
            g = torch.diag(grads[id(core["delta"])] * shrink)
            for side, entries in core["band"]:
                g = g + torch.diag(grads[id(entries)] * shrink, side)
            core["momentum"] = 0.9 * core.get("momentum", torch.zeros_like(g)) + g
            u, s, vh = torch.linalg.svd(g + 0.9 * core["momentum"])
            s = s / s.norm()
            for _ in range(5):
                s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
            step = lr * r**0.5 * u @ torch.diag(s) @ vh
            core["delta"].sub_(step.diagonal())
            for side, entries in core["band"]:
                entries.sub_(step.diagonal(side))


CASES = {
    "bert-full": ("bert", {}),
    "bert-rank-band": ("bert", {"rank": 5, "off_diagonals": 2, "train_bias": False}),
    "bert-dense-core": ("bert", {"rank": 5, "core": "full"}),
    "bert-own-values": ("bert", {"rank": 5, "direction_pool": 9}),
    "bert-own-core": ("bert", {"rank": 5, "core": "full", "direction_pool": 9}),
    "bert-tight-clip": ("bert", {"max_grad_norm": 0.05, "warmup": 0.5, "weight_decay": 0.3}),
    "bert-anchored": ("bert", {"decay_to": "start", "weight_decay": 3.0, "off_diagonals": 2}),
    "bert-muon": (
        "bert",
        {"optimizer": "muon", "rank": 5, "core": "full", "weight_decay": 3.0, "decay_to": "start"},
    ),
    "bert-muon-own-core": (
        "bert",
        {"optimizer": "muon", "rank": 5, "core": "full", "direction_pool": 9},
    ),
    "bert-freeze-out": (
        "bert",
        {"freeze_out": 0.4, "weight_decay": 0.3, "max_grad_norm": 0.05, "decay_to": "start"},
    ),
    "bert-muon-freeze-out": (
        "bert",
        {"optimizer": "muon", "rank": 5, "core": "full", "freeze_out": 0.5, "warmup": 0.3},
    ),
    "bert-last-block-weighted": (
        "bert",
        {"adapt_blocks": 1, "class_weight": {"neg": 3.0, "pos": 0.5}},
    ),
    "gpt2-full": ("gpt2", {"adapt_blocks": 1}),
}


@pytest.mark.parametrize(
    "case",
    slow_but(
        CASES,
        "bert-full",
        "bert-rank-band",
        "bert-muon-own-core",
        "bert-muon-freeze-out",
        "gpt2-full",
    ),
)
def test__members__equal_a_slow_reference(case, make, texts, labels):
    family, changes = CASES[case]
    clf = make(make_tiny_backbone(family), n_members=2, batch_size=5, **changes)
    clf.fit(texts, labels)

    y = np.searchsorted(clf.classes_, labels)
    weight = np.ones(len(y))
    if clf.class_weight is not None:
        weight = np.array([clf.class_weight[label] for label in labels])
        weight /= weight.mean()
    for k in range(clf.n_members):
        reference = ReferenceMember(clf, k, n_classes=2).fit(texts, y, weight)
        heads = clf.net_.module_.heads
        torch.testing.assert_close(heads.weight[k], reference.head, rtol=0, atol=1e-8)
        torch.testing.assert_close(heads.bias[k], reference.head_bias, rtol=0, atol=1e-8)
        for name, core in reference.cores.items():
            layer = clf.net_.module_.split.model.get_submodule(name)
            trained = layer.values[k][torch.eq(*layer.entries(k))]
            torch.testing.assert_close(trained, core["delta"], rtol=0, atol=1e-8)
            weight_k, _ = layer.dense(k)
            expected = reference.weights()[f"{name}.weight"]
            expected = expected.T if reference._is_conv1d(name) else expected
            torch.testing.assert_close(weight_k, expected, rtol=0, atol=1e-8)
            if core["bias"] is not None:
                torch.testing.assert_close(layer.bias_delta[k], core["bias"], rtol=0, atol=1e-8)
        with torch.no_grad():
            expected = reference.logits(texts).softmax(-1).numpy()
        np.testing.assert_allclose(clf.predict_proba_members(texts)[k], expected, rtol=0, atol=1e-8)


def test__reference__moves_away_from_the_start(make, texts, labels):
    # Equality above would say little if training did nothing.
    clf = make(n_members=1, batch_size=5).fit(texts, labels)
    start = ReferenceMember(clf, 0, n_classes=2)
    with torch.no_grad():
        before = start.logits(texts).softmax(-1).numpy()
    assert np.abs(clf.predict_proba_members(texts)[0] - before).max() > 0.01
