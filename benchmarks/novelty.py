"""Does the model know what it has never seen? Foreign rows, false alarms, streams, a target accuracy.

    python -m benchmarks.novelty            # all parts; --parts pairs alarms stream target images cost
    python -m benchmarks.novelty --picture  # docs/pictures/novelty.png

Home is one data set, 200 training rows of a seed; foreign rows are those of another. Vectors of the frozen
all-MiniLM-L6-v2 are computed once for 900 rows of each set, so that every part costs seconds. In "stream"
and "target" the classifier is scikit-learn's logistic regression on the last layer's vectors: the rule that
answers is judged, and fifty fits of an ensemble would take hours. "cost" fits `SVEClassifier()`. Writes
results/novelty.jsonl, one row per part. Rows of these sets chose the rules (number of neighbours, layers), so
other sets may do a little worse.
"""

import argparse
import tempfile
import time
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import torch
from scipy.stats import ks_2samp
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

from benchmarks.common import datasets
from benchmarks.common.backbones import DINOV2, fetch
from benchmarks.common.results import ROOT, read, write
from sksve import NoveltyDetector, SVEClassifier
from sksve.backbones import Backbone
from sksve.calibration import SelectiveClassifier
from sksve.metrics import ood_auroc, predictive_entropy
from sksve.novelty import NoveltyReference

N, TRAIN, SEEDS = 900, 200, 5
HOME = ("movies", "foods", "newsgroups", "r8")
PAIRS = [
    (h, f)
    for h in HOME
    for f in (*HOME, "r52 rest")
    if h != f and (h, f) != ("newsgroups", "r52 rest")
]
LAYERS = {"after 2 of 6": [0], "last": [1], "both": [0, 1]}


@cache
def texts(name):
    """900 rows of a set, and labels."""
    if name == "r52 rest":
        known = set(datasets.fetch_reuters_r8().target_names)
        bunch = datasets.fetch_reuters_r52()
        kept = ~np.isin(np.asarray(bunch.target_names)[bunch.target], list(known))
        X, y = np.asarray(bunch.data, dtype=object)[kept], bunch.target[kept]
    else:
        load = {
            "movies": datasets.fetch_movie_reviews, "foods": datasets.fetch_fine_foods,
            "newsgroups": datasets.fetch_newsgroups, "r8": datasets.fetch_reuters_r8,
        }  # fmt: skip
        bunch = load[name]()
        X, y = np.asarray(bunch.data, dtype=object), bunch.target
    rows = np.random.default_rng(0).permutation(len(X))[:N]
    return [str(x) for x in X[rows]], np.asarray(y)[rows]


def vectors(name, backbone="all-MiniLM-L6-v2"):
    """Pooled vectors of both layers of these rows."""
    path = Path(tempfile.gettempdir()) / f"sksve-novelty-{name.replace(' ', '-')}.npz"
    if not path.exists():
        rows = images(name) if name in ("fashion", "mnist") else texts(name)[0]
        detector = NoveltyDetector(backbone).fit(rows[:2])
        read_rows = detector._reader.write(detector._reader.read(rows, estimator=detector))
        np.savez(path, *detector._vectors(read_rows))
    with np.load(path) as file:
        return [file[key] for key in file.files]


def images(name):
    load = {"fashion": datasets.fetch_fashion_mnist, "mnist": datasets.fetch_mnist_sample}[name]
    return load().data[:N]


def learn(layers, k=3):
    return NoveltyReference.learn(layers, cosine=True, n_neighbors=k, max_rows=5000, seed=0)


def split(name, seed, which=(0, 1), n_test=400):
    """Training and test rows of a set: places, and their vectors."""
    order = np.random.default_rng(seed).permutation(N)
    train, test = order[:TRAIN], order[TRAIN : TRAIN + n_test]
    layers = [vectors(name)[i] for i in which]
    return train, test, [v[train] for v in layers], [v[test] for v in layers]


# -- the parts -------------------------------------------------------------------------------------------


def pairs(sets=PAIRS):
    """AUROC of every pair, means over seeds, for layers and numbers of neighbours."""
    table = {}
    for k in (1, 3, 5, 10):
        for kind, which in LAYERS.items():
            found = {}
            for home, foreign in sets:
                scores = []
                for seed in range(SEEDS):
                    _, _, train, test = split(home, seed, which)
                    reference = learn(train, k)
                    out = [vectors(foreign)[i][:500] for i in which]
                    scores.append(ood_auroc(reference.score(test), reference.score(out)))
                found[f"{home} -> {foreign}"] = round(float(np.mean(scores)), 4)
            mean = round(float(np.mean(list(found.values()))), 4)
            table[f"{kind}, k={k}"] = {"mean": mean, "lowest": min(found.values()), "pairs": found}
    return {"layers": table, "per class": per_class()}


def per_class():
    """The score to the nearest class's own rows, in place of all rows: means over pairs and seeds."""
    found = []
    for home, foreign in PAIRS:
        for seed in range(SEEDS):
            train, _, layers, test = split(home, seed)
            labels = texts(home)[1][train]
            counts = np.unique(labels, return_counts=True)
            classes = [c for c, n in zip(*counts) if n > 4]
            parts = [learn([v[labels == c] for v in layers]) for c in classes]
            out = [v[:500] for v in vectors(foreign)]
            scores = [np.min([p.score(rows) for p in parts], axis=0) for rows in (test, out)]
            found.append(ood_auroc(*scores))
    return {"mean": round(float(np.mean(found)), 4)}


def alarms():
    """Rows of home called foreign at 0.95, and how often a two-sample test at 1 % rejects."""
    found = {}
    for home in HOME:
        shares, rejected, drift = [], 0, 0
        for seed in range(20):
            _, _, train, test = split(home, seed, n_test=200)
            reference = learn(train)
            score = reference.score(test)
            shares.append((reference.share_below(score) >= 0.95).mean())
            rejected += ks_2samp(score, reference.scores).pvalue < 0.01
            drift += reference.drift_test(score)[1] < 0.01
        found[home] = {
            "false alarms": round(float(np.mean(shares)), 4),
            "two-sided rejections of 20": int(rejected),
            "drift_test rejections of 20": int(drift),
        }
    return found


def regression():
    return make_pipeline(
        Normalizer(),
        LogisticRegressionCV(Cs=np.logspace(-1, 4, 6), cv=3, scoring="neg_log_loss", max_iter=500),
    )


def combined(novelty, entropy):
    """Larger of the two ranks' logs: sure of being wrong in either way is enough."""
    rank = np.argsort(np.argsort(entropy)) / len(entropy)
    return -np.log1p(-0.999 * novelty) - np.log1p(-0.999 * rank)


def stream():
    """80 % home, 20 % foreign: what is foreign among the answered, and how many answers are right."""
    curves, foreign_share = {}, []
    for home, foreign in PAIRS:
        for seed in range(SEEDS):
            train, test, layers, rows = split(home, seed)
            y = texts(home)[1]
            model = regression().fit(layers[1], y[train])
            out = [v[:100] for v in vectors(foreign)]
            mixed = [np.concatenate(pair) for pair in zip(rows, out)]
            proba = model.predict_proba(mixed[1])
            right = np.r_[model.classes_[proba.argmax(1)][:400] == y[test], np.zeros(100, bool)]
            reference = learn(layers)
            score = reference.score(mixed)
            novelty = reference.share_below(score)
            entropy = predictive_entropy(proba)
            rules = {
                "novelty": score, "entropy": entropy, "combination": combined(novelty, entropy),
            }  # fmt: skip
            for name, value in rules.items():
                order = np.argsort(value, kind="stable")
                curves.setdefault(name, []).append(np.cumsum(right[order]) / np.arange(1, 501))
            foreign_share.append((np.argsort(score, kind="stable")[:400] >= 400).mean())
    grid = np.arange(5, 101, 5)
    return {
        "foreign among answered at 80 %": round(float(np.mean(foreign_share)), 4),
        "accuracy": {
            name: dict(
                zip(map(str, grid.tolist()), np.mean(c, axis=0)[grid * 5 - 1].round(4).tolist())
            )
            for name, c in curves.items()
        },
    }


def target(splits=50):
    """Accuracy of the answered rows with ``target_accuracy=0.95``, over 50 splits."""
    found = {}
    for home in HOME:
        reached, shares = [], []
        for seed in range(splits):
            train, test, layers, rows = split(home, seed)
            y = texts(home)[1]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                simple = make_pipeline(Normalizer(), LogisticRegression(C=10, max_iter=500))
                clf = SelectiveClassifier(simple, target_accuracy=0.95)
                clf.fit(layers[1], y[train])
            answered = clf.accepts(rows[1])
            shares.append(answered.mean())
            if answered.any():
                reached.append((clf.predict(rows[1])[answered] == y[test][answered]).mean())
        found[home] = {
            "accuracy of the answered": round(float(np.mean(reached)), 4) if reached else None,
            "share answered": round(float(np.mean(shares)), 4),
            "splits that answered": len(reached),
        }
    return found


def picture_pairs():
    """Fashion-MNIST and MNIST with the DINOv2-S at 56 pixels."""
    backbone = Backbone(fetch(DINOV2), image_size=56)
    for name in ("fashion", "mnist"):
        vectors(name, backbone)
    found = pairs([("fashion", "mnist"), ("mnist", "fashion")])["layers"]
    return {name: row["pairs"] for name, row in found.items() if name.endswith("k=3")}


def cost():
    """Prediction with and without novelty, in turns, one thread; size on disk and in memory."""
    torch.set_num_threads(1)
    X, y = texts("movies")
    clf = SVEClassifier(random_state=0, max_epochs=1).fit(X[:TRAIN], y[:TRAIN])
    seconds = {"predict_proba": [], "predict_uncertainty": []}
    for _ in range(7):
        for name, times in seconds.items():
            start = time.process_time()
            getattr(clf, name)(X[300:500])
            times.append(time.process_time() - start)
    ratios = np.divide(seconds["predict_uncertainty"], seconds["predict_proba"])
    reference = clf._novelty
    arrays = [*reference.layers, reference.scores]
    with tempfile.TemporaryDirectory() as folder:
        path = clf.save_pretrained(Path(folder) / "model")
        saved = sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
    return {
        "median ratio of CPU seconds": round(float(np.median(ratios)), 3),
        "seconds": {name: np.round(times, 3).tolist() for name, times in seconds.items()},
        "bytes of the novelty": sum(a.nbytes for a in arrays),
        "bytes of the saved model": saved,
    }


PARTS = {
    "pairs": pairs, "alarms": alarms, "stream": stream, "target": target, "images": picture_pairs,
    "cost": cost,
}  # fmt: skip


def draw():
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    curves = read("novelty", "stream")["accuracy"]
    figure, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
    looks = {"combination": "-", "novelty": "--", "entropy": "-."}
    for name, dashes in looks.items():
        ax.plot([int(k) for k in curves[name]], list(curves[name].values()), dashes, label=name)
    ax.set(xlabel="rows answered (%)", ylabel="answers that are right")
    ax.set_title("A stream of 80 % home and 20 % foreign texts, 200 training rows")
    ax.legend(frameon=False)
    figure.savefig(ROOT / "docs" / "pictures" / "novelty.png", dpi=110)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--picture", action="store_true")
    args = parser.parse_args()
    for part in [] if args.picture else args.parts:
        began = time.perf_counter()
        row = PARTS[part]()
        write("novelty", {**row, "seconds taken": round(time.perf_counter() - began)}, part)
        print(part, row, flush=True)
    if args.picture:
        draw()
