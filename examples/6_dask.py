"""One ensemble on several workers: member parallelism, and a grid search, on a Dask cluster.

    pip install "sksve[dask]"
    python examples/6_dask.py                            # two workers of this machine
    python examples/6_dask.py --scheduler 10.0.0.5:8786  # a cluster that you have

Members do not depend on each other, so any joblib backend can train them in any process. A worker is
sent the model with the members it trains, and the token ids; their own values come back.
"""

import argparse
import time

import numpy as np
from dask.distributed import Client, LocalCluster
from joblib import parallel_config
from sklearn.model_selection import GridSearchCV

from sksve import SVEClassifier
from sksve.backbones import fetch_backbone
from sksve.datasets import fetch_movie_reviews


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--scheduler", help="address of a running one; without it, two local workers"
    )
    parser.add_argument("--backbone", default="all-MiniLM-L6-v2", help="name or folder")
    parser.add_argument("--synthetic", action="store_true", help="made-up texts: no download")
    parser.add_argument("--rows", type=int, default=200, help="rows to train on")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--members", type=int, default=4)
    return parser.parse_args()


def read_texts(synthetic, rows):
    if synthetic:
        texts = ["good film", "bad film", "a great story, very fun", "the worst plot: dull"]
        return np.resize(np.array(texts, dtype=object), rows), np.resize([1, 0], rows)
    reviews = fetch_movie_reviews()
    return reviews.data[:rows], reviews.target[:rows]


def timed(fit, *args):
    begin = time.perf_counter()
    return fit(*args), time.perf_counter() - begin


def main():
    args = read_arguments()
    if args.backbone == "all-MiniLM-L6-v2":
        fetch_backbone(args.backbone)  # into the cache on disk, which the workers read
    X, y = read_texts(args.synthetic, args.rows)
    settings = {"n_members": args.members, "max_epochs": args.epochs, "random_state": 0}

    # %%
    # One joint fit, in this process.
    joint, seconds = timed(SVEClassifier(args.backbone, **settings).fit, X, y)
    print(f"joint fit of {args.members} members: {seconds:.1f} s")

    # %%
    # The same members in two tasks. `parallel_config` says where joblib runs them; the rest is n_jobs.
    if args.scheduler:
        cluster = None
        client = Client(args.scheduler)
    else:
        cluster = LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        )
        client = Client(cluster)
    workers = client.scheduler_info()["workers"]
    print(f"Dask: {len(workers)} workers")
    with parallel_config(backend="dask"):
        apart, seconds = timed(SVEClassifier(args.backbone, n_jobs=2, **settings).fit, X, y)
    print(f"in two tasks, on Dask: {seconds:.1f} s, the workers' imports included")

    # %%
    # They are the same members, in the same order, up to the rounding of float32.
    one, other = (clf.predict_proba_members(X[:50]) for clf in (joint, apart))
    farthest = np.abs(one - other).max()
    print(f"largest difference of a member's probability: {farthest:.1e}")
    print(f"same members: {bool(farthest < 1e-4)}")

    # %%
    # scikit-learn's own searches run on the same workers, one candidate and fold a task.
    grid = {"rank": [4, None], "adapt_blocks": [1, 2]}
    small = SVEClassifier(args.backbone, **{**settings, "n_members": 2})
    search = GridSearchCV(small, grid, cv=2, scoring="neg_log_loss", n_jobs=-1)
    with parallel_config(backend="dask"):
        _, seconds = timed(search.fit, X, y)
    print(f"grid search, {2 * len(search.cv_results_['params'])} fits on Dask: {seconds:.1f} s")
    for params, score in zip(search.cv_results_["params"], search.cv_results_["mean_test_score"]):
        print(f"    NLL {-score:.4f}  {params}")
    print(f"best: {search.best_params_}")

    client.close()
    if cluster is not None:
        cluster.close()


if __name__ == "__main__":  # a worker imports this file, too: nothing may run twice
    main()
