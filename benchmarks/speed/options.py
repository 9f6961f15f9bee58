"""Is torch.compile, int8 or bfloat16 worth a parameter of prediction on a CPU, and what does it cost?

    python -m benchmarks.speed.options               # about 4 minutes on two quiet cores
    python -m benchmarks.speed.options --train 48 --test 32 --rounds 1   # to see that it works

Five members on MiniLM, all six blocks, trained on movie reviews; each member as a plain model
(`to_torch`), which predicts held-out reviews in turns with the others, from the same batches. Writes
results/speed_options.jsonl: seconds with quartiles of the ratio to prediction as it is, what had to be done
once, and what happened to probabilities, NLL and accuracy. The fits compared are those with precision
"float32" and "bfloat16".
"""

import argparse
import copy
import json
import time
import warnings

import numpy as np
import torch
from torch import nn
from transformers import AutoTokenizer

from benchmarks.common.estimators import make_estimator
from benchmarks.common.results import write
from benchmarks.common.timing import alternate, machine, ratios
from sksve.backbones import fetch_backbone
from sksve.datasets import fetch_movie_reviews

NAME, MAX_LENGTH, BATCH = "all-MiniLM-L6-v2", 128, 32


def int8(module):
    return torch.ao.quantization.quantize_dynamic(module, {nn.Linear}, dtype=torch.qint8)


def batches_of(X):
    """(rows, token ids, mask) of rows in batches of like lengths."""
    tokenizer = AutoTokenizer.from_pretrained(str(fetch_backbone(NAME)))
    ids = tokenizer(list(X), truncation=True, max_length=MAX_LENGTH)["input_ids"]
    order = np.argsort([len(i) for i in ids], kind="stable")
    for rows in np.array_split(order, -(-len(order) // BATCH)):
        padded = tokenizer.pad({"input_ids": [ids[r] for r in rows]}, return_tensors="pt")
        yield rows, padded["input_ids"], padded["attention_mask"]


@torch.no_grad()
def sweep(models, batches, autocast=False):
    """Members' probabilities (m, n, c) of plain models."""
    found = []
    for model in models:
        parts = {}
        for rows, ids, mask in batches:
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                parts.update(zip(rows, model(ids, mask).double().softmax(-1).numpy()))
        found.append(np.array([parts[r] for r in range(len(parts))]))
    return np.stack(found)


def timed(run):
    start = time.perf_counter()
    return run(), time.perf_counter() - start


def quality(members, y, reference=None):
    p = members.mean(axis=0)
    change = {}
    if reference is not None:
        gap = abs(p - reference.mean(axis=0))
        change = {"largest_change": float(gap.max()), "mean_change": float(gap.mean())}
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
    fetch_backbone(NAME)
    reviews = fetch_movie_reviews()
    rows = np.random.default_rng(0).permutation(len(reviews.data))[: args.train + args.test]
    X = [reviews.data[r] for r in rows]
    y = np.asarray(reviews.target)[rows]
    test = slice(args.train, None)

    def fitted(precision, n=args.train, epochs=args.epochs):
        clf = make_estimator(
            "SVEClassifier", backbone=NAME, n_members=args.members, max_epochs=epochs,
            max_length=MAX_LENGTH, precision=precision, random_state=0,
        )  # fmt: skip
        return clf.fit(X[:n], y[:n])

    fitted("float32", 32, 1)  # decompositions, once
    fits, models = {}, {}
    for precision in ("float32", "bfloat16"):
        models[precision], seconds = timed(lambda p=precision: fitted(p))
        members = models[precision].predict_proba_members(X[test])
        fits[precision] = {"seconds": seconds, **quality(members, y[test])}
    clf = models["float32"]
    plain = [clf.to_torch(k) for k in range(args.members)]
    once, batches = {}, list(batches_of(X[test]))

    def build(name, make):
        made, once[name] = timed(make)
        return made

    eight = build("int8, merged", lambda: [int8(copy.deepcopy(m)) for m in plain])
    half = build("bfloat16 weights, merged", lambda: [copy.deepcopy(m).bfloat16() for m in plain])
    contenders = {
        "as it is": lambda: clf.predict_proba_members(X[test]),
        "merged beforehand": lambda: sweep(plain, batches),
        "bfloat16 autocast": lambda: sweep(plain, batches, autocast=True),
        "bfloat16 weights, merged": lambda: sweep(half, batches),
        "int8, merged": lambda: sweep(eight, batches),
    }
    if not args.no_compile:
        compiled = [torch.compile(m, dynamic=True) for m in plain]
        _, once["compiled, merged"] = timed(lambda: sweep(compiled, batches))
        contenders["compiled, merged"] = lambda: sweep(compiled, batches)
    reference = contenders["as it is"]()
    found = ratios(alternate(contenders, args.rounds), "as it is")
    cases = {
        name: {**found[name], **quality(run(), y[test], reference), "once_seconds": once.get(name)}
        for name, run in contenders.items()
    }
    for name, case in cases.items():
        shown = {k: case[k] for k in ("seconds", "ratio_to_as it is", "largest_change", "nll")}
        print(f"{name:26s}", {k: np.round(v, 4).tolist() for k, v in shown.items()}, once.get(name))
    print("fits", json.dumps(fits))
    question = "what torch.compile, int8 and bfloat16 gain and cost in prediction on a CPU"
    content = {"question": question, "arguments": vars(args), **machine("cpu")}
    write("speed_options", {**content, "fits": fits, "cases": cases, "once_seconds": once})


if __name__ == "__main__":
    main()
