"""How should each rival's "auto" depend on rows and classes? Few trials each, the same number for all.

    python -m benchmarks.studies.rivals search    # 50 rows, two classes and eight: six trials a rival
    python -m benchmarks.studies.rivals judge     # bare calls, on data that chose nothing

At 200 and 1,000 rows the trials of the evidence (results/evidence*.jsonl, "tuning") are enough: their rates
are the same for all sizes, and what changes is the number of epochs. So the search is at 50 rows: two rates
(those of the evidence for two classes and for more) times three numbers of epochs; of Laplace, whose model is
the fine-tuned one, six prior precisions at 50 and 200 rows. A row of results/rivals.jsonl is written after
every trial, so that an interrupted run keeps what it has.

Development rows: Amazon sentences and Reuters R8, one member, judged on 200 rows that no trial trains on.
`judge` takes tweets and four topics of newsgroups. A row whose label is not among the training rows is left
out.
"""

import argparse
import itertools
import time
import warnings

import numpy as np
import torch

from benchmarks.common.datasets import (
    fetch_amazon_reviews,
    fetch_newsgroups,
    fetch_reuters_r8,
    fetch_tweets,
)
from benchmarks.common.estimators import make_estimator
from benchmarks.common.results import RESULTS, Table, write
from sksve.backbones import fetch_backbone
from sksve.metrics import expected_calibration_error, negative_log_likelihood

EPOCHS = (5, 10, 20)
# name -> class, what is fixed, and rates (lr, head_lr) for two classes and for more, as the evidence chose.
METHODS = {
    "deep": ("DeepEnsembleClassifier", {"n_members": 1}, [(3e-5, 3e-3), (1.2e-4, 1e-2)]),
    "lora": ("LoRAEnsembleClassifier", {"n_members": 1}, [(3e-4, 3e-3), (6e-4, 1e-2)]),
    "batch": ("BatchEnsembleClassifier", {"n_members": 1}, [(5e-3, 3e-3), (1e-2, 1e-2)]),
    "dropout": ("MCDropoutClassifier", {"n_samples": 5}, [(3e-5, 3e-3), (1e-4, 1e-2)]),
}
COMMON = {"batch_size": 16, "max_length": 32, "random_state": 0}
PRIORS = ["marglik", 1.0, 10.0, 100.0, 1000.0, 10000.0]
BARE = [
    "LinearProbeClassifier", "FineTunedClassifier", "DeepEnsembleClassifier", "LoRAEnsembleClassifier",
    "BatchEnsembleClassifier", "MCDropoutClassifier", "LaplaceClassifier",
]  # fmt: skip
TOPICS = ("sci.space", "rec.autos", "comp.graphics", "talk.politics.mideast")


def newsgroups():
    posts = fetch_newsgroups()
    names = np.array(posts.target_names)[posts.target]
    chosen = np.flatnonzero(np.isin(names, TOPICS))
    return posts.data[chosen], posts.target[chosen]


DATA = {
    "amazon": lambda: fetch_amazon_reviews(return_X_y=True),
    "r8": lambda: fetch_reuters_r8(return_X_y=True),
    "tweets": lambda: fetch_tweets(return_X_y=True),
    "newsgroups_4": newsgroups,
}


def drawing(name, rows):
    """Training rows of one drawing, and the 200 rows that all are judged on."""
    X, y = DATA[name]()
    train = slice(200, 200 + rows)
    known = np.isin(y[:200], y[train])
    return X[train], y[train], X[:200][known], y[:200][known]


def fitted(clf, data):
    """The fitted classifier and what it cost."""
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        clf.fit(*data[:2])
    return clf, round(time.process_time() - start, 2)


def judge(clf, seconds, data):
    X, y = data[2:]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        proba = clf.predict_proba(X)
    return {
        "nll": negative_log_likelihood(y, proba, labels=clf.classes_),
        "accuracy": float(np.mean(clf.classes_[proba.argmax(1)] == y)),
        "ece": expected_calibration_error(y, proba, labels=clf.classes_),
        "cpu_seconds": seconds,
    }


def record(name, cls, settings, dataset, rows):
    """Judge one classifier on one drawing, unless it has been done."""
    if not Table(RESULTS / "rivals.jsonl").get(name):
        data = drawing(dataset, rows)
        keep(name, cls, settings, judge(*fitted(make_estimator(cls, **settings), data), data))


def keep(name, cls, settings, found):
    write("rivals", {"class": cls, "settings": settings, "found": found}, name)
    print(name, round(found["nll"], 3), round(found["ece"], 3), found["cpu_seconds"], flush=True)


def search(methods):
    for method in methods:
        cls, fixed, rates = METHODS[method]
        for (lr, head_lr), epochs, dataset in itertools.product(rates, EPOCHS, ("amazon", "r8")):
            settings = {**COMMON, **fixed, "lr": lr, "head_lr": head_lr, "max_epochs": epochs}
            record(f"{method}-{lr:g}-{epochs}-{dataset}", cls, settings, dataset, 50)


def search_laplace():
    """One fine-tuned model for each drawing, and its posterior with each prior precision."""
    for rows, epochs in ((50, 10), (200, 4)):
        for dataset, (lr, head_lr) in zip(("amazon", "r8"), METHODS["deep"][2]):
            settings = {**COMMON, "lr": lr, "head_lr": head_lr, "max_epochs": epochs}
            data = drawing(dataset, rows)
            clf, seconds = fitted(make_estimator("LaplaceClassifier", **settings), data)
            trained_on = clf._read(data[0])[0]
            trained_on.y = torch.from_numpy(np.searchsorted(clf.classes_, data[1]))
            for prior in PRIORS:
                clf.set_params(prior_precision=prior)
                vars(clf).update(clf._after_training(clf.net_, clf.settings_, trained_on))
                name = f"laplace-{prior}-{dataset}-{rows}"
                found = judge(clf, seconds, data) | {"prior_precision": clf.prior_precision_}
                keep(name, "LaplaceClassifier", {**settings, "prior_precision": prior}, found)


def judge_bare(methods, label):
    for method in methods or BARE:
        settings = {"max_length": 32, "random_state": 0}
        settings |= {"n_members": 3} if "Ensemble" in method else {}
        for dataset, rows in itertools.product(("tweets", "newsgroups_4"), (50, 200)):
            record(f"{label}-{method}-{dataset}-{rows}", method, settings, dataset, rows)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["search", "judge"])
    parser.add_argument("methods", nargs="*")
    parser.add_argument("--label", default="bare", help="of the bare calls' rows")
    args = parser.parse_args()
    fetch_backbone("all-MiniLM-L6-v2")
    if args.what == "search":
        search(args.methods or METHODS)
        search_laplace()
    else:
        judge_bare(args.methods, args.label)


if __name__ == "__main__":
    main()
