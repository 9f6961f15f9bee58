"""How well does the ensemble do on images, and what does it cost? Fashion-MNIST, with MNIST as foreigners.

    python -m benchmarks.studies.images

A DINOv2-S backbone (out of a saliency model) at 56 pixels, beside a linear probe on the same backbone.
Tried on training rows 5,000 to 5,299 only: an init_scale of 0.3 is too much for DINOv2, whose blocks add to a
stream that is normalised at the end only. Writes results/images.jsonl.
"""

import argparse
import time

import numpy as np
import torch

from benchmarks.common.backbones import DINOV2, fetch
from benchmarks.common.datasets import fetch_fashion_mnist, fetch_mnist_sample
from benchmarks.common.estimators import make_estimator
from benchmarks.common.results import write
from sksve.backbones import Backbone
from sksve.metrics import (
    brier_score,
    expected_calibration_error,
    member_diversity,
    mutual_information,
    negative_log_likelihood,
    ood_auroc,
    predictive_entropy,
)


def judge(clf, X, y, foreign):
    start = time.perf_counter()
    members = clf.predict_proba_members(X)
    seconds = time.perf_counter() - start
    proba = members.mean(axis=0)
    abroad = clf.predict_proba_members(foreign)
    found = {
        "accuracy": float((proba.argmax(axis=1) == y).mean()),
        "nll": negative_log_likelihood(y, proba),
        "ece": expected_calibration_error(y, proba),
        "brier": brier_score(y, proba),
        "ood_auroc_entropy": ood_auroc(predictive_entropy(members), predictive_entropy(abroad)),
        "predict_seconds": seconds,
    }
    if len(members) > 1:
        found["ood_auroc_mutual_information"] = ood_auroc(
            mutual_information(members), mutual_information(abroad)
        )
        found["member_diversity"] = member_diversity(members)
        found["nll_of_single_members"] = [negative_log_likelihood(y, p) for p in members]
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train-rows", type=int, default=2000)
    parser.add_argument("--test-rows", type=int, default=1000)
    parser.add_argument("--image-size", type=int, default=56)
    parser.add_argument("--members", type=int, default=4)
    parser.add_argument("--init-scale", type=float, default=0.03)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--shared", action="store_true", help="other work ran on the machine")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    backbone = Backbone(fetch(DINOV2), image_size=args.image_size)
    train, test = fetch_fashion_mnist(), fetch_fashion_mnist(subset="test")
    foreign = fetch_mnist_sample().data[: args.test_rows]
    X, y = test.data[: args.test_rows], test.target[: args.test_rows]
    contenders = {
        "SVE": make_estimator(
            "SVEClassifier",
            backbone=backbone,
            n_members=args.members,
            adapt_blocks=2,
            random_state=0,
            init_scale=args.init_scale,
        ),
        "linear probe": make_estimator("LinearProbeClassifier", backbone=backbone, random_state=0),
    }
    results = {}
    for name, clf in contenders.items():
        start = time.perf_counter()
        clf.fit(train.data[: args.train_rows], train.target[: args.train_rows])
        results[name] = {"fit_seconds": time.perf_counter() - start, **judge(clf, X, y, foreign)}
        results[name]["trained_parameters"] = clf.adapter_report_.n_trainable
        print(name, {k: np.round(v, 4) for k, v in results[name].items()}, flush=True)
    write(
        "images",
        {
            "question": "How well does the ensemble do on images, and what does it cost?",
            "settings": vars(args) | {"threads": torch.get_num_threads()},
            "machine": "shared with other work while this ran: seconds are upper bounds"
            if args.shared
            else "otherwise idle",
            "data": "Fashion-MNIST; foreign: MNIST",
            "backbone": DINOV2,
            "results": results,
        },
    )


if __name__ == "__main__":
    main()
