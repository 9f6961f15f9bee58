"""Is torch.compile, int8 or bfloat16 worth a parameter of prediction on a CPU, and what does it cost?

    python benchmarks/speed_options.py               # about 4 minutes on two quiet cores
    python benchmarks/speed_options.py --train 48 --test 32 --rounds 1   # to see that it works

Five members on MiniLM, all six blocks, trained on movie reviews; contenders predict held-out reviews in
turns, from token ids, in the same batches. Writes results/speed_options.json: seconds with quartiles of
the ratio to prediction as it is, what had to be done once, and what happened to probabilities, NLL and
accuracy. The fits compared are those with precision "float32" and "bfloat16".
"""

import argparse
import copy
import json
import time
import warnings

import numpy as np
import torch
from _alternate import alternate, machine, ratios
from _record import write
from torch import nn

from sksve import SVEClassifier
from sksve.adapters import SVDLinear
from sksve.datasets import fetch_movie_reviews
from sksve.inputs import tokenize
from sksve.training import TokenDataset, merged_model, predict_logits, softmax64
from sksve.training._inference import TOKENS_CPU, token_batches

NAME, MAX_LENGTH = "all-MiniLM-L6-v2", 128


class Int8Factors(nn.Module):
    """A layer of all members whose frozen U and V are int8, and whose values stay float32."""

    def __init__(self, layer):
        super().__init__()
        o, k, i = layer.out_features, layer.S.shape[0], layer.in_features
        delta, _, bias = layer._core(None)
        self.s = (layer.S * (1.0 + nn.functional.pad(delta, (0, k - delta.shape[1])))).detach()
        self.bias = bias.detach()
        self.V, self.U = nn.Linear(i, k, bias=False), nn.Linear(k, o, bias=False)
        with torch.no_grad():
            self.V.weight.copy_(layer.Vh)
            self.U.weight.copy_(layer.U)

    def forward(self, x):
        """Map the stacked rows of all members."""
        m = len(self.s)
        rows = x.reshape(m, -1, x.shape[-1])
        y = self.U(self.V(rows) * self.s[:, None]) + self.bias[:, None]
        return y.reshape(*x.shape[:-1], -1)


def int8(module):
    return torch.ao.quantization.quantize_dynamic(module, {nn.Linear}, dtype=torch.qint8)


def int8_factors(module):
    module = copy.deepcopy(module)
    for name, layer in list(module.named_modules()):
        if isinstance(layer, SVDLinear):
            parent, _, last = name.rpartition(".")
            setattr(module.get_submodule(parent), last, int8(Int8Factors(layer)))
    return module


class Sweep:
    """One plain model after the other over the same batches."""

    def __init__(self, data):
        self.data = data
        self.batches = []
        for rows in token_batches(data, TOKENS_CPU):
            batch, _ = data.collate(rows[None, :], None)
            self.batches.append((rows, batch.input_ids, batch.attention_mask))

    @torch.no_grad()
    def __call__(self, models):
        """Logits (m, n, c) of the models, in the order of the rows."""
        found = []
        for model in models:
            logits = None
            for rows, ids, mask in self.batches:
                out = model(ids, mask).double().numpy()
                logits = np.empty((len(self.data), out.shape[1])) if logits is None else logits
                logits[rows] = out
            found.append(logits)
        return np.stack(found)


def timed(run):
    start = time.perf_counter()
    return run(), time.perf_counter() - start


def quality(logits, y, reference):
    p = softmax64(logits).mean(axis=0)
    change = {}
    if reference is not None:
        q = softmax64(reference).mean(axis=0)
        change = {
            "largest_change": float(abs(p - q).max()),
            "mean_change": float(abs(p - q).mean()),
        }
    return {
        "nll": float(-np.log(p[np.arange(len(y)), y]).mean()),
        "accuracy": float((p.argmax(axis=1) == y).mean()),
        **change,
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train", type=int, default=320, help="reviews to fit on")
    parser.add_argument("--test", type=int, default=320, help="held-out reviews")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-compile", action="store_true")
    args = parser.parse_args()
    warnings.simplefilter("ignore")

    reviews = fetch_movie_reviews()
    rows = np.random.default_rng(0).permutation(len(reviews.data))[: args.train + args.test]
    X = [reviews.data[r] for r in rows]
    y = np.asarray(reviews.target)[rows]
    labels = np.unique(y, return_inverse=True)[1]
    train, test = slice(0, args.train), slice(args.train, None)

    def classifier(precision):
        return SVEClassifier(
            NAME, n_members=args.members, max_epochs=args.epochs, max_length=MAX_LENGTH,
            precision=precision, random_state=0,
        )  # fmt: skip

    classifier("float32").set_params(max_epochs=1).fit(X[:32], y[:32])  # decompositions, once
    fits = {}
    fitted = {}
    for precision in ("float32", "bfloat16"):
        fitted[precision], seconds = timed(
            lambda p=precision: classifier(p).fit(X[train], y[train])
        )
        fits[precision] = {"seconds": seconds}
    clf = fitted["float32"]
    module = clf.net_.module_
    ids = tokenize(clf._tokenizer, X[test], MAX_LENGTH, warn=False)
    data = TokenDataset(ids, pad_token_id=clf._tokenizer.pad_token_id or 0)
    for precision, one in fitted.items():
        low = torch.bfloat16 if precision == "bfloat16" else None
        logits = predict_logits(one.net_.module_, data, autocast=low)
        fits[precision] |= quality(logits, labels[test], None)

    sweep = Sweep(data)
    plain = [merged_model(module, k) for k in range(args.members)]
    once = {}

    def build(name, make):
        made, once[name] = timed(make)
        return made

    eight = build("int8, merged", lambda: [int8(copy.deepcopy(m)) for m in plain])
    factors = build("int8, U and V", lambda: int8_factors(module))
    half = build("bfloat16 weights, merged", lambda: [copy.deepcopy(m).bfloat16() for m in plain])
    contenders = {
        "as it is": lambda: predict_logits(module, data),
        "merged beforehand": lambda: sweep(plain),
        "bfloat16 autocast": lambda: predict_logits(module, data, autocast=torch.bfloat16),
        "bfloat16 weights, merged": lambda: sweep(half),
        "int8, merged": lambda: sweep(eight),
        "int8, U and V": lambda: predict_logits(factors, data, merge=False),
        "thin factors": lambda: predict_logits(module, data, merge=False),
    }
    if not args.no_compile:
        compiled = [torch.compile(m, dynamic=True) for m in plain]
        _, first = timed(lambda: sweep(compiled[:1]))
        _, others = timed(lambda: sweep(compiled[1:]))
        once["compiled, merged"] = first + others
        once["compiled, merged: first member"] = first
        contenders["compiled, merged"] = lambda: sweep(compiled)
    reference = contenders["as it is"]()
    changes = {name: quality(run(), labels[test], reference) for name, run in contenders.items()}
    found = ratios(alternate(contenders, args.rounds), "as it is")
    cases = {
        name: {**found[name], **changes[name], "once_seconds": once.get(name)}
        for name in contenders
    }
    for name, case in cases.items():
        shown = {k: case[k] for k in ("seconds", "ratio_to_as it is", "largest_change", "nll")}
        print(f"{name:26s}", {k: np.round(v, 4).tolist() for k, v in shown.items()}, once.get(name))
    print("fits", json.dumps(fits))
    write(
        "speed_options",
        {
            "question": "what torch.compile, int8 and bfloat16 gain and cost in prediction on a CPU",
            "arguments": vars(args),
            **machine("cpu"),
            "tokens": int(data.lengths.sum()),
            "fits": fits,
            "cases": cases,
            "once_seconds": once,
        },
    )


if __name__ == "__main__":
    main()
