"""Does the model know what it does not know? Foreign texts and, with a vision backbone, foreign images.

    python examples/4_out_of_distribution.py
    python examples/4_out_of_distribution.py --vision-backbone facebook/dinov2-small  # of the hub

A singular value ensemble learns movie reviews and is then shown posts to newsgroups; another learns the
handwritten digits 0 to 4 and is shown 5 to 9. Neither has ever seen anything foreign. A score of uncertainty
should be larger for the foreign rows; the area under the ROC curve says how often it is: 0.5 is chance, 1 is
perfect. Three scores are compared: the novelty (how far a row is from the training rows in the frozen
backbone), the entropy of the ensemble's mean probability (total uncertainty), and the mutual information
between class and member (the members disagree: epistemic uncertainty).
"""

import argparse
import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # draw into a file: no screen needed
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_digits

from sksve import SVEClassifier
from sksve.backbones import Backbone, fetch_backbone
from sksve.datasets import fetch_movie_reviews, fetch_newsgroups
from sksve.metrics import ood_auroc

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--vision-backbone", help="name or folder; without one, texts only")
parser.add_argument("--text-backbone", default="all-MiniLM-L6-v2", help="name or folder")
parser.add_argument("--image-size", type=int, default=56, help="pixels, a multiple of the patch")
parser.add_argument("--train-rows", type=int, default=1000)
parser.add_argument("--test-rows", type=int, default=500, help="rows at home, and as many foreign")
parser.add_argument("--synthetic", action="store_true", help="made-up texts: nothing is downloaded")
parser.add_argument("--output", type=Path, default=Path("outputs"), help="folder of the picture")
args = parser.parse_args()
start = time.perf_counter()


# %%
# What is at home, and what is foreign? Each function gives training rows, test rows and foreign rows.
def images():
    digits = load_digits()
    X = np.kron(digits.images * 15.9, np.ones((4, 4))).astype(np.uint8)  # of 8 x 8 pixels 32 x 32
    order = np.random.default_rng(0).permutation(len(X))
    home, foreign = (order[kind] for kind in (digits.target[order] < 5, digits.target[order] >= 5))
    home = home[: args.train_rows + args.test_rows]
    return X[home], digits.target[home], X[foreign[: args.test_rows]], list("01234")


def texts():
    if args.synthetic:
        y = np.arange(args.train_rows + args.test_rows) % 2
        words = np.array(["bad dull film", "great good film"])
        return (
            words[y],
            y,
            ["a plot of that worst story"] * args.test_rows,
            ["negative", "positive"],
        )
    reviews = fetch_movie_reviews()
    n = args.train_rows
    rows = np.r_[:n, 8000 : 8000 + args.test_rows]  # rows from 8,000 on chose no default
    foreign = [post[:300] for post in fetch_newsgroups(subset="test").data[: args.test_rows]]
    return reviews.data[rows], reviews.target[rows], foreign, reviews.target_names


if args.text_backbone == "all-MiniLM-L6-v2":
    fetch_backbone(args.text_backbone)
problems = {"reviews, then newsgroups": (texts(), args.text_backbone)}
if args.vision_backbone:
    # A Vision Transformer is cheap on small images: 17 tokens at 56 pixels instead of 257 at 224.
    vision = Backbone(args.vision_backbone, image_size=args.image_size)
    problems["digits 0 to 4, then 5 to 9"] = (images(), vision)

# %%
# Train at home, look at both.
rows, scores = [], {}
for problem, ((X, y, foreign, names), backbone) in problems.items():
    n = len(X) - args.test_rows
    print(f"{problem}: training on {n} rows of {len(names)} classes ...")
    began = time.perf_counter()
    ensemble = SVEClassifier(backbone, random_state=0).fit(X[:n], y[:n])
    at_home, abroad = (ensemble.predict_uncertainty(rows) for rows in (X[n:], foreign))
    scores[problem] = {
        "novelty": (at_home.novelty, abroad.novelty),
        "entropy": (at_home.total, abroad.total),
        "mutual information": (at_home.epistemic, abroad.epistemic),
    }
    accuracy = (ensemble.predict(X[n:]) == y[n:]).mean()
    print(f"  accuracy at home: {accuracy:.3f}   ({time.perf_counter() - began:.0f} s)")
    called = [(u.novelty > 0.95).mean() for u in (at_home, abroad)]
    print(
        f"  novelty above 0.95: {called[0]:.1%} of the rows at home, {called[1]:.1%} of the foreign ones"
    )
    for name, (inside, outside) in scores[problem].items():
        auroc = ood_auroc(inside, outside)
        rows.append({"problem": problem, "score": name, "AUROC": auroc})

# %%
# How well does each score tell foreign rows from those at home?
table = pd.DataFrame(rows).pivot(index="score", columns="problem", values="AUROC")
table = table.loc[list(scores[problem]), list(scores)]
print("\nAUROC, foreign against home (0.5 is chance):")
print(table.to_string(float_format="{:.3f}".format))

# %%
# A picture: the scores of both kinds of rows, one panel for each problem and score.
size = {"figsize": (14, 3.5 * len(scores)), "squeeze": False, "layout": "constrained"}
figure, axes = plt.subplots(len(scores), 3, **size)
for line, (problem, found) in zip(axes, scores.items()):
    for ax, (name, (inside, outside)) in zip(line, found.items()):
        bins = np.linspace(0, max(inside.max(), outside.max()), 30)
        ax.hist(inside, bins, alpha=0.6, label="at home")
        ax.hist(outside, bins, alpha=0.6, label="foreign")
        ax.set(
            title=f"{name}, AUROC {table.loc[name, problem]:.2f}",
            xlabel="" if name == "novelty" else "nats",
        )
    line[0].set_ylabel(f"{problem}\nrows")
axes[0, 0].legend()
args.output.mkdir(parents=True, exist_ok=True)
picture = args.output / "out_of_distribution.png"
figure.savefig(picture, dpi=110)
print(f"\nHistograms: {picture}\nTook {time.perf_counter() - start:.0f} s.")
