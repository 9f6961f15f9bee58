"""Which defaults? One parameter at a time around a centre, judged on validation reviews.

    python -m benchmarks.studies.defaults sve       # SVEClassifier, last two blocks adapted
    python -m benchmarks.studies.defaults probe     # LinearProbeClassifier
    python -m benchmarks.studies.defaults lora      # a rival: fine_tuned, deep, lora, batch, dropout, laplace
    python -m benchmarks.studies.defaults sve --adapt-blocks 6 --only init_scale lr --name sve_all_blocks
    python -m benchmarks.studies.defaults shift     # a few settings of SVE, judged on shifted text as well

All methods get about the same number of trials. The rows used here are the first 8,000 of
``fetch_movie_reviews()`` (its default order): training from the front, validation rows 6,000 to 6,999. The
rows from 8,000 on are test rows and are not touched. Writes a row of results/defaults.jsonl after every
trial, so that an interrupted run keeps what it has.

`shift` judges on validation reviews (rows 6,000 to 6,599) and on rows 2,000 to 2,599 of the Amazon sentences
and the tweets: none of them is in the quick start's test sets. Score: the mean of the three negative
log-likelihoods. Its row is in results/shift.jsonl.
"""

import argparse
import itertools
import json
import time

import numpy as np
import torch

from benchmarks.common.estimators import make_estimator
from benchmarks.common.results import RESULTS, Table, write
from sksve.backbones import fetch_backbone
from sksve.datasets import fetch_amazon_reviews, fetch_movie_reviews, fetch_tweets
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
    "sve": ("SVEClassifier", True),
    "probe": ("LinearProbeClassifier", False),
    "fine_tuned": ("FineTunedClassifier", False),
    "deep": ("DeepEnsembleClassifier", True),
    "lora": ("LoRAEnsembleClassifier", True),
    "batch": ("BatchEnsembleClassifier", True),
    "dropout": ("MCDropoutClassifier", False),
    "laplace": ("LaplaceClassifier", False),
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


def finished_trials(name, args):
    """Trials of an earlier run with the same set-up: an interrupted search goes on where it was."""
    old = Table(RESULTS / "defaults.jsonl").get(name)
    same = old and all(
        old["arguments"][k] == vars(args)[k] for k in ("rows", "members", "adapt_blocks")
    )
    return list(old["trials"]) if same else []


def search(args):
    reviews = fetch_movie_reviews()
    X, y = reviews.data, reviews.target
    name_of_result = args.name or args.method
    trials = finished_trials(name_of_result, args)
    chosen = {name: values[0] for name, values in SEARCH[args.method]}

    def save():
        content = {"question": f"defaults of {args.method}", "arguments": vars(args)}
        write("defaults", {**content, "chosen": chosen, "trials": trials}, name_of_result)

    def trial(settings):
        known = [t for t in trials if t["settings"] == settings]
        if known:
            return known[0]["validation"]["nll"]
        cls, has_members = METHODS[args.method]
        fixed = {"n_members": args.members} if has_members else {}
        if args.method != "probe":
            fixed["adapt_blocks"] = args.adapt_blocks
        clf = make_estimator(cls, random_state=0, **fixed, **settings)
        start = time.perf_counter()
        clf.fit(X[: args.rows], y[: args.rows])
        seconds = time.perf_counter() - start
        scores = judge(clf, X[VALIDATION], y[VALIDATION])
        trials.append({"settings": dict(settings), "fit_seconds": seconds, "validation": scores})
        print(settings, {k: round(v, 4) for k, v in scores.items()}, f"{seconds:.0f} s", flush=True)
        save()
        return scores["nll"]

    for name, values in SEARCH[args.method]:
        if not args.only or name in args.only:
            chosen[name] = min(values, key=lambda value: trial({**chosen, name: value}))
    save()


SHIFTED = {"lr": [1e-2, 3e-3], "head_init_scale": [0.01, 0.2], "max_epochs": [4]}


def shift(args):
    """A grid of settings, each judged at home and on two kinds of shifted text; recorded trials are kept."""
    movies, amazon, tweets = fetch_movie_reviews(), fetch_amazon_reviews(), fetch_tweets()
    at_home, abroad = slice(6000, 6600), slice(2000, 2600)
    judged = {
        "reviews": (movies.data[at_home], movies.target[at_home]),
        "amazon": (amazon.data[abroad], amazon.target[abroad]),
        "tweets": (tweets.data[abroad], tweets.target[abroad]),
    }
    contenders = {"probe": make_estimator("LinearProbeClassifier", random_state=0)}
    for values in itertools.product(*SHIFTED.values()):
        settings = dict(zip(SHIFTED, values))
        fixed = {"adapt_blocks": 2, "init_scale": 0.3, "weight_decay": 0.0, "random_state": 0}
        contenders[json.dumps(settings)] = make_estimator(
            "SVEClassifier", n_members=3, **fixed, **settings
        )
    trials = dict((Table(RESULTS / "shift.jsonl").get("shift") or {"trials": {}})["trials"])
    for name, clf in contenders.items():
        if name in trials:
            continue
        start = time.perf_counter()
        clf.fit(movies.data[: args.rows], movies.target[: args.rows])
        seconds = time.perf_counter() - start
        found = {domain: judge(clf, X, y) for domain, (X, y) in judged.items()}
        score = sum(f["nll"] for f in found.values()) / len(found)
        trials[name] = {"score": score, "fit_seconds": seconds, **found}
        write("shift", {"question": "Do the defaults hold on shifted text?", "trials": trials})
        print(f"{score:.4f} {name} {seconds:.0f} s", flush=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("method", choices=[*SEARCH, "shift"])
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--adapt-blocks", type=int, default=2)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument(
        "--only", nargs="+", help="parameters to search; the others stay at their centre"
    )
    parser.add_argument("--name", help="of the result")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    fetch_backbone("all-MiniLM-L6-v2")
    (shift if args.method == "shift" else search)(args)


if __name__ == "__main__":
    main()
