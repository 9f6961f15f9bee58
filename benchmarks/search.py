"""What does a search over the number of members cost, and what does reusing members save?

    python benchmarks/search.py             # results/search.json, which the README quotes

GridSearchCV and MemberSearchCV on the same grid and folds, alternating in one process, backbone and
decompositions at hand before the first of them. Their scores must be the same.
"""

import argparse
import time

import numpy as np
from _record import write
from sklearn.model_selection import GridSearchCV

from sksve import MemberSearchCV, SVEClassifier
from sksve.adapters import SVDCache, _cache
from sksve.backbones import fetch_backbone
from sksve.datasets import fetch_movie_reviews


def count_decompositions(run):
    """Run with an empty cache; how often was a matrix decomposed, and how many different ones?"""
    seen, real, old = [], _cache.decompose, _cache.svd_cache

    def counting(weight):
        seen.append(_cache.weight_key(weight))
        return real(weight)

    _cache.decompose, _cache.svd_cache = counting, SVDCache(use_disk=False)
    try:
        run()
    finally:
        _cache.decompose, _cache.svd_cache = real, old
    return {"decompositions": len(seen), "matrices": len(set(seen))}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="all-MiniLM-L6-v2", help="name or folder")
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--name", default="search", help="of the result")
    args = parser.parse_args()
    if args.backbone == "all-MiniLM-L6-v2":
        fetch_backbone(args.backbone)
    X, y = fetch_movie_reviews(return_X_y=True)
    X, y = X[: args.rows], y[: args.rows]
    clf = SVEClassifier(
        args.backbone, adapt_blocks=1, init_scale=0.3, max_epochs=args.epochs, random_state=0
    )
    grid = {"rank": [32, None], "n_members": [1, 2, 4, 8]}
    settings = {"cv": 2, "scoring": "neg_log_loss", "refit": False, "error_score": "raise"}
    small = {"rank": [32, None], "n_members": [1, 2]}
    counts = count_decompositions(lambda: GridSearchCV(clf, small, **settings).fit(X, y))
    names = ("GridSearchCV", "MemberSearchCV")
    seconds, cpu_seconds, scores = {n: [] for n in names}, {n: [] for n in names}, {}
    searches = {"GridSearchCV": GridSearchCV, "MemberSearchCV": MemberSearchCV}
    for _ in range(args.rounds):
        for name, search in searches.items():
            start, cpu = time.perf_counter(), time.process_time()
            found = search(clf, grid, **settings).fit(X, y)
            seconds[name].append(time.perf_counter() - start)
            cpu_seconds[name].append(time.process_time() - cpu)
            scores[name] = found.cv_results_["mean_test_score"]
            print(name, seconds[name][-1], cpu_seconds[name][-1], flush=True)
    write(
        args.name,
        {
            "question": "What does reusing members save in a search over their number?",
            "rows": args.rows,
            "grid": {key: [str(v) for v in values] for key, values in grid.items()},
            "folds": 2,
            "members_trained": {
                "GridSearchCV": found.n_members_scored_,
                "MemberSearchCV": found.n_members_trained_,
            },
            "seconds": seconds,
            "cpu_seconds": cpu_seconds,  # what a shared machine cannot disturb much
            "ratio_of_best_times": min(seconds["GridSearchCV"]) / min(seconds["MemberSearchCV"]),
            "ratio_of_best_cpu_times": min(cpu_seconds["GridSearchCV"])
            / min(cpu_seconds["MemberSearchCV"]),
            "largest_difference_of_scores": float(
                np.abs(scores["GridSearchCV"] - scores["MemberSearchCV"]).max()
            ),
            "decompositions_of_2_ranks_x_2_sizes_x_2_folds": counts,
        },
    )


if __name__ == "__main__":
    main()
