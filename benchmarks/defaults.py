"""Which defaults? One parameter at a time around a centre, judged on validation reviews.

    python benchmarks/defaults.py sve       # SVEClassifier, last two blocks adapted
    python benchmarks/defaults.py probe     # LinearProbeClassifier
    python benchmarks/defaults.py lora      # a rival: fine_tuned, deep, lora, batch, dropout, laplace
    python benchmarks/defaults.py sve --adapt-blocks 6 --only init_scale lr --name sve_all_blocks

All methods get about the same number of trials. The rows used here are the first 8,000 of
``fetch_movie_reviews()`` (its default order): training from the front, validation rows 6,000 to
6,999. The rows from 8,000 on are test rows and are not touched. Writes results/defaults_<name>.json
after every trial, so that an interrupted run keeps what it has.
"""

import argparse
import json
import time

import numpy as np
import torch
from _record import RESULTS, write

from sksve import SVEClassifier
from sksve.backbones import fetch_backbone
from sksve.baselines import (
    BatchEnsembleClassifier,
    DeepEnsembleClassifier,
    FineTunedClassifier,
    LaplaceClassifier,
    LinearProbeClassifier,
    LoRAEnsembleClassifier,
    MCDropoutClassifier,
)
from sksve.datasets import fetch_movie_reviews
from sksve.metrics import (
    brier_score,
    expected_calibration_error,
    member_disagreement,
    member_diversity,
    negative_log_likelihood,
)

VALIDATION = slice(6000, 7000)
# name -> class, and whether it has members of its own to train.
METHODS = {
    "sve": (SVEClassifier, True),
    "probe": (LinearProbeClassifier, False),
    "fine_tuned": (FineTunedClassifier, False),
    "deep": (DeepEnsembleClassifier, True),
    "lora": (LoRAEnsembleClassifier, True),
    "batch": (BatchEnsembleClassifier, True),
    "dropout": (MCDropoutClassifier, False),
    "laplace": (LaplaceClassifier, False),
}
# Shared by the methods that fine-tune a whole model.
WHOLE = [
    ("lr", [1e-4, 3e-5, 3e-4, 1e-3]),
    ("head_lr", [1e-3, 1e-4, 1e-2]),
    ("weight_decay", [0.01, 0.0, 0.1]),
    ("max_epochs", [4, 2, 8]),
    ("head_init_scale", [0.01, 0.2]),
]
# Values tried in turn; the best of each (validation NLL) is kept for the next: coordinate descent.
SEARCH = {
    "sve": [
        ("lr", [1e-2, 3e-3, 3e-2]),
        ("head_lr", [1e-2, 1e-3, 3e-2]),
        ("init_scale", [0.3, 0.0, 0.1, 0.01, 0.5]),
        ("head_init_scale", [0.01, 0.2]),
        ("train_bias", [True, False]),
        ("weight_decay", [0.01, 0.0, 0.1]),
        ("max_epochs", [4, 2, 8]),
    ],
    "probe": [
        ("head_lr", [1e-2, 1e-3, 3e-3, 3e-2, 1e-1]),
        ("max_epochs", [20, 5, 10, 40]),
        ("weight_decay", [0.01, 0.0, 0.1, 1.0]),
        ("head_init_scale", [0.01, 0.2]),
        ("batch_size", [32, 16, 64]),
        ("max_grad_norm", [1.0, None]),
    ],
    "fine_tuned": [
        *WHOLE,
        ("batch_size", [32, 16]),
        ("warmup", [0.1, 0.0]),
        ("max_grad_norm", [1.0, None]),
    ],
    "deep": [
        *WHOLE,
        ("batch_size", [32, 16]),
        ("warmup", [0.1, 0.0]),
        ("max_grad_norm", [1.0, None]),
    ],
    "lora": [
        ("lr", [1e-4, 3e-5, 3e-4, 1e-3]),
        ("head_lr", [1e-3, 1e-2, 1e-4]),
        ("init_gain", [10.0, 1.0, 3.0]),
        ("rank", [8, 4, 16]),
        ("target_modules", ["attention", "all-linear"]),
        ("weight_decay", [0.0, 0.01]),
        ("head_init_scale", [0.01, 0.2]),
        ("max_epochs", [4, 2, 8]),
    ],
    "batch": [
        ("lr", [3e-3, 1e-3, 1e-2]),
        ("head_lr", [1e-2, 1e-3, 3e-2]),
        ("init_scale", [0.1, 0.0, 0.01, 0.03, 0.3]),
        ("head_init_scale", [0.01, 0.2]),
        ("train_bias", [True, False]),
        ("weight_decay", [0.0, 0.01, 0.1]),
        ("max_epochs", [4, 2, 8]),
    ],
    "dropout": [*WHOLE, ("dropout", [0.1, 0.02, 0.05, 0.2]), ("batch_size", [32, 16])],
    "laplace": [
        *WHOLE,
        ("hessian_structure", ["kron", "full"]),
        ("prior_precision", ["marglik", 1.0, 10.0]),
    ],
}


def judge(clf, X, y):
    start = time.perf_counter()
    members = clf.predict_proba_members(X)
    proba = members.mean(axis=0)
    return {
        "nll": negative_log_likelihood(y, proba),
        "ece": expected_calibration_error(y, proba),
        "brier": brier_score(y, proba),
        "accuracy": float(np.mean(proba.argmax(axis=1) == y)),
        "member_disagreement": float(member_disagreement(members).mean()),
        "member_diversity": member_diversity(members) if len(members) > 1 else 0.0,
        "predict_seconds": time.perf_counter() - start,
    }


def finished_trials(args):
    """Trials of an earlier run with the same set-up: an interrupted search goes on where it was."""
    path = RESULTS / f"defaults_{args.name or args.method}.json"
    if not path.exists():
        return []
    old = json.loads(path.read_text())
    same = all(old["arguments"][k] == vars(args)[k] for k in ("rows", "members", "adapt_blocks"))
    return old["trials"] if same else []


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("method", choices=SEARCH)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--adapt-blocks", type=int, default=2)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument(
        "--only", nargs="+", help="parameters to search; the others stay at their centre"
    )
    parser.add_argument("--name", help="of the result file")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    fetch_backbone("all-MiniLM-L6-v2")
    reviews = fetch_movie_reviews()
    X, y = reviews.data, reviews.target
    trials = finished_trials(args)
    chosen = {name: values[0] for name, values in SEARCH[args.method]}
    name_of_result = f"defaults_{args.name or args.method}"

    def save():
        content = {"question": f"defaults of {args.method}", "arguments": vars(args)}
        write(name_of_result, {**content, "chosen": chosen, "trials": trials})

    def trial(settings):
        known = [t for t in trials if t["settings"] == settings]
        if known:
            return known[0]["validation"]["nll"]
        cls, has_members = METHODS[args.method]
        fixed = {"n_members": args.members} if has_members else {}
        if args.method != "probe":
            fixed["adapt_blocks"] = args.adapt_blocks
        clf = cls(random_state=0, **fixed, **settings)
        start = time.perf_counter()
        clf.fit(X[: args.rows], y[: args.rows])
        seconds = time.perf_counter() - start
        scores = judge(clf, X[VALIDATION], y[VALIDATION])
        trials.append({"settings": dict(settings), "fit_seconds": seconds, "validation": scores})
        print(settings, {k: round(v, 4) for k, v in scores.items()}, f"{seconds:.0f} s", flush=True)
        save()
        return scores["nll"]

    for name, values in SEARCH[args.method]:
        if args.only and name not in args.only:
            continue
        best = min(values, key=lambda value: trial({**chosen, name: value}))
        chosen[name] = best
    save()


if __name__ == "__main__":
    main()
