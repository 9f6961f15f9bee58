"""Between noisy and clear labels: how far should "auto" of SVEClassifier go, by rows and classes?

    python -m benchmarks.studies.rule

Settings between those of the two ends of the rules (``sksve/estimators/_auto.py``), typed: 0 is noisy, 1 is
clear. Three members, 48 tokens, 300 rows that no trial trains on; rows of a class that was not among the
training rows are left out. One row of results/rule.jsonl per fit.
"""

import numpy as np

from benchmarks.common.datasets import (
    fetch_amazon_reviews,
    fetch_fine_foods,
    fetch_movie_reviews,
    fetch_newsgroups,
    fetch_reuters_r8,
    fetch_tweets,
)
from benchmarks.common.results import write
from sksve import SVEClassifier, Training
from sksve.calibration import TemperatureScaling
from sksve.metrics import expected_calibration_error, negative_log_likelihood

TWO = {
    "movies": fetch_movie_reviews, "amazon": fetch_amazon_reviews, "foods": fetch_fine_foods,
    "tweets": fetch_tweets,
}  # fmt: skip
TRIALS = {
    50: (["movies", "amazon", "foods", "tweets", "ng2", "movies3", "movies5", "ng4", "ng8", "ng20", "r8"],
         (0.0, 0.5, 1.0)),
    200: (["ng4", "r8", "ng8", "ng20"], (0.5, 1.0)),
    16: (["ng8", "r8", "movies", "tweets", "ng20"], (0.0, 0.5)),
}  # fmt: skip


def load(name):
    """Texts and labels; "ng8": eight topics of newsgroups, "movies3": ratings in three grades."""
    if name in TWO:
        data = TWO[name]()
        return data.data, data.target
    if name == "r8":
        data = fetch_reuters_r8()
        return data.data, data.target
    k = int(name.lstrip("moviesng"))
    if name.startswith("movies"):
        data = fetch_movie_reviews()
        cuts = np.quantile(data.ratings_mean, np.arange(1, k) / k)
        return data.data, np.digitize(data.ratings_mean, cuts)
    data = fetch_newsgroups(subset="train")
    topics = np.random.default_rng(k).permutation(20)[:k]
    rows = np.isin(data.target, topics)
    return data.data[rows], data.target[rows]


def between(clear, n):
    """A classifier whose settings lie between those of noisy and of clear labels."""
    passes = max(2.0, 3 * (200 / n) ** (0.4 + 0.2 * clear))
    training = Training(
        head_lr=3e-3 + 4e-3 * clear,
        head_init_scale=0.04 - 0.03 * clear,
        freeze_out=None if clear == 1 else 0.5 + 0.5 * clear,
    )
    return SVEClassifier(
        n_members=3, max_length=48, random_state=0, training=training, max_epochs=round(passes),
        batch_size=round((16 - 4 * clear) * round(passes) / passes), weight_decay=10 * (1 - clear),
    )  # fmt: skip


def main():
    for n, (names, shares) in TRIALS.items():
        for name in names:
            X, y = load(name)
            order = np.random.default_rng([0, 77]).permutation(len(X))
            train, test = order[:n], order[n : n + 300]
            test = test[np.isin(y[test], y[train])]
            for clear in shares:
                clf = between(clear, n).fit(X[train], y[train])
                proba = clf.predict_proba(X[test])
                codes = np.searchsorted(clf.classes_, y[test])
                row = {
                    "dataset": name, "rows": n, "classes": len(clf.classes_), "clear": clear,
                    "nll": negative_log_likelihood(codes, proba, labels=range(len(clf.classes_))),
                    "ece": expected_calibration_error(codes, proba, labels=range(len(clf.classes_))),
                    "accuracy": float(np.mean(proba.argmax(axis=1) == codes)),
                    "temperature": float(TemperatureScaling().fit(proba, codes).temperature_),
                }  # fmt: skip
                write("rule", row, f"{name}-{n}-{clear}")
                print(row, flush=True)


if __name__ == "__main__":
    main()
