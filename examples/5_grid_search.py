"""How many members, how many singular values? A search that trains every member once.

    python examples/5_grid_search.py

Members do not depend on each other, so the first k members of a large ensemble are the ensemble of k.
MemberSearchCV trains the largest number and scores all of them, by any of sksve's metrics.
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # draw into a file: no screen needed
import matplotlib.pyplot as plt
import pandas as pd

from sksve import MemberSearchCV, SVEClassifier
from sksve.backbones import fetch_backbone
from sksve.datasets import fetch_movie_reviews
from sksve.metrics import scorers

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--backbone", default="all-MiniLM-L6-v2", help="name or folder")
parser.add_argument("--rows", type=int, default=300, help="rows to search with")
parser.add_argument("--members", type=int, nargs="+", default=[1, 2, 3, 5, 8])
parser.add_argument("--ranks", type=int, nargs="+", default=[8, 24, 42])
parser.add_argument("--jobs", type=int, default=None, help="processes")
parser.add_argument("--output", type=Path, default=Path("outputs"), help="folder of the picture")
args = parser.parse_args()

# %%
# Movie reviews, and an ensemble whose other settings are chosen from the data. Matrices are decomposed once
# and kept on disk for other processes.
if args.backbone == "all-MiniLM-L6-v2":
    fetch_backbone(args.backbone)
reviews = fetch_movie_reviews()
X, y = reviews.data[: args.rows], reviews.target[: args.rows]
ensemble = SVEClassifier(args.backbone, random_state=0)

# %%
# The search is scikit-learn's GridSearchCV, with its parameters and results. scorers() has sksve's
# metrics by name, to which scikit-learn's can be added; refit says which of them decides.
search = MemberSearchCV(
    ensemble,
    {"rank": args.ranks, "n_members": args.members},
    scoring=scorers() | {"neg_log_loss": "neg_log_loss"},
    refit="neg_log_loss",
    cv=3,
    n_jobs=args.jobs,
)
search.fit(X, y)
results = pd.DataFrame(search.cv_results_)
table = pd.DataFrame(
    {
        "rank": results["param_rank"],
        "members": results["param_n_members"],
        "NLL": -results["mean_test_neg_log_loss"],
        "+-": results["std_test_neg_log_loss"],
        "ECE": -results["mean_test_neg_expected_calibration_error"],
    }
)
print(table.to_string(index=False, float_format="{:.3f}".format))
print(f"\nBest: {search.best_params_}")
print(
    f"{search.n_members_trained_} members were trained in the search; one fit for each cell of the grid "
    f"would have trained {search.n_members_scored_}."
)

# %%
# The same saving without a search: a smaller ensemble out of the fitted one, at no cost.
best = search.best_estimator_
alone = best.first_members(1)
print(
    f"\nOn the first review, {best.n_members} members say {best.predict_proba(X[:1])[0].round(3)}, the "
    f"first alone {alone.predict_proba(X[:1])[0].round(3)}."
)

# %%
# What does another member buy?
figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for ax, column, label in zip(axes, ("NLL", "ECE"), ("NLL (nats)", "ECE (15 bins)")):
    for rank, rows in table.groupby("rank"):
        ax.plot(rows["members"], rows[column], marker="o", label=f"rank {rank}")
    ax.set(xlabel="members", ylabel=f"{label}, mean of 3 folds", xticks=args.members)
axes[0].legend()
args.output.mkdir(parents=True, exist_ok=True)
picture = args.output / "grid_search.png"
figure.savefig(picture, dpi=120)
print(f"\nPicture: {picture}")
