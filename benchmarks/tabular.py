"""Tables, with and without a text column: the bare call against what a user would build for them.

    python -m benchmarks.tabular                                      # every cell that is missing; resumes
    python -m benchmarks.tabular --sets tweets --rows 200 --seeds 0
    python -m benchmarks.tabular --report --write                     # docs/tables.md

A cell is a data set, a number of training rows and a seed: all contenders are fitted on the same rows and
judged on the same 1,000 others. Nothing of sksve is tuned. The rivals are: logistic regression with
cross-validated C on the columns, on TF-IDF and columns, and on frozen vectors of the same backbone and
columns; HistGradientBoosting, searched over leaves and rate and calibrated (sigmoid), on columns and on
frozen vectors and columns. Of dates they get days, hours and weekdays. A row of results/tabular.jsonl
holds each contender's figures and the paired difference of its losses from SVEClassifier's.
"""

import argparse
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler

from benchmarks.common import datasets
from benchmarks.common.results import RESULTS, ROOT, Row, Table, provenance
from benchmarks.no_tuning import embed
from sksve import SVEClassifier
from sksve.datasets import fetch_loans
from sksve.metrics import expected_calibration_error

TABLE = Table(RESULTS / "tabular.jsonl")
N_TEST = 1000

# -- data ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Data:
    """A table, its labels, and the name of its text column, if it has one."""

    X: pd.DataFrame
    y: np.ndarray
    text: str | None = None


def _loans() -> Data:
    bunch = fetch_loans(shuffle=False)
    kept = bunch.target < 5  # of grades F and G there are 70 in 10,000
    return Data(bunch.data[kept], bunch.target[kept])


def _plain(fetch: Callable[..., Any]) -> Data:
    bunch = fetch(shuffle=False)
    return Data(bunch.data, bunch.target)


SETS: dict[str, Callable[[], Data]] = {
    "credit": lambda: _plain(datasets.fetch_credit),
    "churn": lambda: _plain(datasets.fetch_churn),
    "loans": _loans,
    "tweets": lambda: Data(*datasets.read_phone_tweets(), "text"),
    "movies": lambda: Data(*datasets.read_movie_titles(), "title"),
    "foods": lambda: Data(*datasets.read_food_reviews(), "review"),
    "titanic": lambda: Data(*datasets.read_titanic(), "Name"),
}
load = cache(lambda name: SETS[name]())


def draw(name: str, rows: int, seed: int) -> tuple[Any, ...]:
    """Rows to train on and to judge by; a class that no training row has can be predicted by nobody."""
    data = load(name)
    order = np.random.default_rng(seed).permutation(len(data.y))
    train, test = order[:rows], order[rows : rows + N_TEST]
    test = test[np.isin(data.y[test], data.y[train])]
    X = data.X.reset_index(drop=True)
    return X.iloc[train], data.y[train], X.iloc[test], data.y[test], data.text


# -- contenders ----------------------------------------------------------------------------------------


def with_date_parts(X: pd.DataFrame) -> pd.DataFrame:
    """Days, hour and weekday in the place of ISO dates; hour and weekday as categories."""
    X = X.copy()
    for name in [c for c in X.columns if c.endswith("_at")]:
        when = pd.to_datetime(X.pop(name))
        X[f"{name}_days"] = (when - when.min().normalize().replace(year=2015)).dt.days.astype(float)
        X[f"{name}_hour"] = when.dt.hour.astype(str)
        X[f"{name}_weekday"] = when.dt.day_of_week.astype(str)
    return X


NUMBERS = make_column_selector(dtype_include=["number", "bool"])
CATEGORIES = make_column_selector(dtype_exclude=["number", "bool"])


def _regression() -> LogisticRegressionCV:
    return LogisticRegressionCV(
        Cs=np.logspace(-4, 3, 8), cv=5, scoring="neg_log_loss", max_iter=1000, l1_ratios=(0,),
        use_legacy_attributes=False,
    )  # fmt: skip


def _columns() -> list[Any]:
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    one_hot = OneHotEncoder(
        handle_unknown="infrequent_if_exist", min_frequency=5, sparse_output=False
    )
    return [(numbers, NUMBERS), (one_hot, CATEGORIES)]


def _boosting(seed: int) -> Any:
    search = GridSearchCV(
        HistGradientBoostingClassifier(random_state=seed, max_iter=100),
        {"max_leaf_nodes": [4, 15], "learning_rate": [0.03, 0.1]},
        scoring="neg_log_loss",
        cv=3,
    )
    return search


class Boosting:
    """HistGradientBoosting with the best of four settings, calibrated on its out-of-fold scores."""

    def __init__(self, seed: int) -> None:
        self.search = _boosting(seed)

    def fit(self, X: Any, y: np.ndarray) -> Any:
        best = self.search.fit(X, y).best_estimator_
        return CalibratedClassifierCV(best, method="sigmoid", cv=5).fit(X, y)


def _vectors(texts: pd.Series) -> np.ndarray:
    return embed(texts.tolist())


def contenders(X: Any, y: np.ndarray, X_test: Any, text: str | None, seed: int) -> dict[str, Any]:
    """Name -> (function that fits and returns probabilities of the test rows)."""
    bare, bare_test = with_date_parts(X), with_date_parts(X_test)
    if text is not None:
        bare, bare_test = bare.drop(columns=text), bare_test.drop(columns=text)
    codes = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=np.nan, max_categories=200
    )
    tree = make_column_transformer((codes, CATEGORIES), remainder="passthrough")

    def regression(extra: list[Any], A: Any, B: Any) -> np.ndarray:
        model = make_pipeline(make_column_transformer(*_columns(), *extra), _regression())
        return np.asarray(model.fit(A, y).predict_proba(B))

    def boosting(vectors: Any = None, vectors_test: Any = None) -> np.ndarray:
        A, B = tree.fit_transform(bare), tree.transform(bare_test)
        if vectors is not None:
            A, B = np.hstack([A, vectors]), np.hstack([B, vectors_test])
        return np.asarray(Boosting(seed).fit(A, y).predict_proba(B))

    def sve(A: Any, B: Any) -> np.ndarray:
        return SVEClassifier(random_state=seed).fit(A, y).predict_proba(B)

    found: dict[str, Any] = {
        "sve": lambda: sve(X, X_test),
        "columns_lr": lambda: regression([], bare, bare_test),
        "columns_boosting": boosting,
    }
    if text is None:
        return found
    A, B = bare.assign(_text=X[text]), bare_test.assign(_text=X_test[text])
    no_text = make_column_selector(pattern="^(?!_text$)", dtype_exclude=["number", "bool"])

    def with_text(transformer: Any) -> np.ndarray:
        numbers, (one_hot, _) = _columns()
        parts = make_column_transformer(numbers, (one_hot, no_text), (transformer, "_text"))
        model = make_pipeline(parts, _regression())
        return np.asarray(model.fit(A, y).predict_proba(B))

    def frozen_boosting() -> np.ndarray:
        return boosting(_vectors(X[text]), _vectors(X_test[text]))

    return found | {
        "text_sve": lambda: sve(X[text].tolist(), X_test[text].tolist()),
        "tfidf_lr": lambda: with_text(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)),
        "frozen_lr": lambda: with_text(FunctionTransformer(_vectors)),
        "frozen_boosting": frozen_boosting,
    }


# -- one cell ------------------------------------------------------------------------------------------


def run(name: str, rows: int, seed: int) -> Row:
    """Fit every contender once; its figures, and the paired difference from SVEClassifier's losses."""
    X, y, X_test, y_test, text = draw(name, rows, seed)
    labels = np.unique(y)
    codes = np.searchsorted(labels, y_test)
    found, losses = {}, {}
    for contender, fit_and_predict in contenders(X, y, X_test, text, seed).items():
        start = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            proba = fit_and_predict()
        seconds = time.process_time() - start
        loss = -np.log(np.maximum(proba[np.arange(len(codes)), codes], 1e-15))
        losses[contender] = loss
        difference = losses["sve"] - loss
        found[contender] = {
            "nll": round(float(loss.mean()), 4),
            "accuracy": round(float((proba.argmax(axis=1) == codes).mean()), 4),
            "ece": round(expected_calibration_error(codes, proba), 4),
            "sve_minus_it": round(float(difference.mean()), 4),
            "standard_error": round(float(difference.std(ddof=1) / len(loss) ** 0.5), 5),
            "cpu_seconds": round(seconds, 1),
        }
        print(name, rows, seed, contender, found[contender], flush=True)
    return {"data": name, "rows": rows, "seed": seed, "n_test": len(codes), "contenders": found}


# -- report --------------------------------------------------------------------------------------------

NAMES = {
    "sve": "`SVEClassifier()`", "text_sve": "its text alone", "columns_lr": "columns, LR",
    "columns_boosting": "columns, boosting", "tfidf_lr": "TF-IDF + columns, LR",
    "frozen_lr": "frozen vectors + columns, LR", "frozen_boosting": "frozen vectors + columns, boosting",
}  # fmt: skip
BEGIN, END = "<!-- benchmarks/tabular.py -->\n", "<!-- end of the table -->\n"


def report(cells: list[Row]) -> str:
    """Mean NLL over seeds, and in brackets the half width of the paired 95 % interval of the difference."""
    lines = [
        "| table | rows (splits) | " + " | ".join(NAMES.values()) + " |",
        "|---|---" + "|---" * len(NAMES) + "|",
    ]
    for name, rows in product(SETS, sorted({c["rows"] for c in cells})):
        mine = [c["contenders"] for c in cells if (c["data"], c["rows"]) == (name, rows)]
        if not mine:
            continue
        shown = []
        for contender in NAMES:
            its = [c[contender] for c in mine if contender in c]
            if not its:
                shown.append("")
                continue
            value = f"{np.mean([r['nll'] for r in its]):.3f}"
            if contender != "sve":
                error = np.sqrt(sum(r["standard_error"] ** 2 for r in its)) / len(its)
                difference = -np.mean([r["sve_minus_it"] for r in its])
                value += f" ({difference:+.3f} ± {1.96 * error:.3f})"
            shown.append(value)
        lines.append(f"| {name} | {rows:,} ({len(mine)}) | " + " | ".join(shown) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", choices=[*SETS], default=[*SETS])
    parser.add_argument("--rows", nargs="+", type=int, default=[200, 600, 2000])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--write", action="store_true", help="with --report: into docs/tables.md")
    args = parser.parse_args()
    if args.report:
        text = report(list(TABLE.rows().values()))
        print(text)
        if args.write:
            page = ROOT / "docs" / "tables.md"
            before, rest = page.read_text("utf-8").split(BEGIN)
            page.write_text(before + BEGIN + text + END + rest.split(END)[1], "utf-8")
        return
    torch.set_num_threads(1)
    for rows, seed, name in product(args.rows, args.seeds, args.sets):
        cell = f"{name}-n{rows}-seed{seed}"
        possible = rows + 100 <= len(load(name).y)
        if possible and TABLE.get(cell) is None:
            TABLE.put(cell, {"provenance": provenance(threads=1), **run(name, rows, seed)})


if __name__ == "__main__":
    main()
