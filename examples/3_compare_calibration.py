"""Which classifier to trust with movie reviews, and how to calibrate it: three models, five calibrators.

    python examples/3_compare_calibration.py

Gradient boosting and logistic regression on TF-IDF, and a singular value ensemble of a pretrained
transformer, learn from the same reviews. Each is calibrated five ways on reviews it has not seen and judged
on others. The answer is one web page, `outputs/calibration.html`.
"""

import argparse
import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # draw into a file: no screen needed
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sksve import SVEClassifier, compare_calibration
from sksve.backbones import fetch_backbone
from sksve.datasets import fetch_movie_reviews

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--backbone", default="all-MiniLM-L6-v2", help="name or folder")
parser.add_argument("--train-rows", type=int, default=1000)
parser.add_argument("--rows", type=int, default=1000, help="calibration rows, and test rows")
parser.add_argument("--resamples", type=int, default=1000, help="of the bootstrap")
parser.add_argument("--output", type=Path, default=Path("outputs"), help="folder of the page")
args = parser.parse_args()
start = time.perf_counter()

# %%
# Three sets of rows: to learn from, to calibrate on, to judge by. Labels in words, as the page shows them.
if args.backbone == "all-MiniLM-L6-v2":
    fetch_backbone(args.backbone)
movies = fetch_movie_reviews()
names = [movies.target_names[label] for label in movies.target]
train = slice(0, args.train_rows)
calibration = slice(4000, 4000 + args.rows)
test = slice(8000, 8000 + args.rows)
X_train, y_train = movies.data[train], names[train]

# %%
# Three models. None of them sees the calibration rows or the test rows.
models = {
    "gradient boosting": make_pipeline(
        TfidfVectorizer(sublinear_tf=True),
        TruncatedSVD(30, random_state=0),
        HistGradientBoostingClassifier(random_state=0),
    ),
    "logistic regression": make_pipeline(
        TfidfVectorizer(sublinear_tf=True), LogisticRegression(C=10, max_iter=1000)
    ),
    "SVE": SVEClassifier(args.backbone, random_state=0),
}
for name, model in models.items():
    print(f"Fitting {name} on {len(X_train)} reviews ...", flush=True)
    model.fit(X_train, y_train)

# %%
# The comparison. Simple calibrators first: of those the calibration rows do not tell apart, the first wins.
found = compare_calibration(
    models,
    movies.data[calibration],
    names[calibration],
    movies.data[test],
    names[test],
    methods=["temperature", "vector", "beta", "dirichlet", "isotonic"],
    n_resamples=args.resamples,
    random_state=0,
)
print(f"\n{found}\n\n{found.advice()}")

# %%
# A table for further work, and a page for people.
table = found.to_frame()
print("\nCalibration error and its interval:")
print(
    table.xs("expected_calibration_error", level="metric")[["value", "low", "high", "p_value"]]
    .round(3)
    .to_string()
)
args.output.mkdir(parents=True, exist_ok=True)
page = found.to_html(args.output / "calibration.html")
print(f"\nThe page: {page}\nTook {time.perf_counter() - start:.0f} s.")
