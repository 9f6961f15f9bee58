"""When is it worth turning a table into text? The same rows, four ways of learning from them.

    python -m benchmarks.studies.tabular            # results/tabular.jsonl, which docs/tables.md quotes

Three tables: credit applications, customers who may leave, loans with free-text job titles. Every model
sees the same columns of the same rows. Nothing is tuned: the ensemble has the settings of the quick
start (two adapted blocks, so init_scale=0.3), the others are scikit-learn's defaults behind the usual
encoders. The rows are shuffled by the loaders; training rows come first, test rows after them.
"""

import argparse
import time

import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from benchmarks.common.datasets import fetch_churn, fetch_credit, fetch_loans
from benchmarks.common.estimators import make_estimator
from benchmarks.common.results import write
from sksve.backbones import fetch_backbone
from sksve.metrics import bootstrap_interval, expected_calibration_error, negative_log_likelihood
from sksve.preprocessing import TabularToText

# What a lender would look at, chosen by name before any model was trained: 44 columns make texts of
# more tokens than the backbone was made for.
LOAN_COLUMNS = [
    "loan_purpose", "loan_amount", "term", "application_type", "homeownership", "annual_income",
    "verified_income", "debt_to_income", "emp_length", "delinq_2y", "inquiries_last_12m",
    "total_credit_limit", "total_credit_utilized", "accounts_opened_24m", "num_cc_carrying_balance",
    "account_never_delinq_percent", "public_record_bankrupt", "emp_title",
]  # fmt: skip
TABLES = {
    "credit_data": (fetch_credit, None, 128),
    "wa_churn": (fetch_churn, None, 192),
    "loans_full_schema": (fetch_loans, LOAN_COLUMNS, 192),
}
CATEGORIES = make_column_selector(dtype_exclude="number")


def models(backbone, max_length, seed):
    common = {"backbone": backbone, "max_length": max_length, "random_state": seed}
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    one_hot = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=5)
    codes = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=float("nan"), max_categories=200
    )
    return {
        "SVE of the rows as text": make_estimator(
            "SVEClassifier", n_members=5, adapt_blocks=2, init_scale=0.3, **common
        ),
        "linear probe of the rows as text": make_estimator("LinearProbeClassifier", **common),
        "logistic regression on TF-IDF of the text": make_pipeline(
            TabularToText(), TfidfVectorizer(), LogisticRegression(max_iter=1000)
        ),
        "logistic regression": make_pipeline(
            make_column_transformer((one_hot, CATEGORIES), remainder=numbers),
            LogisticRegression(max_iter=1000),
        ),
        "histogram gradient boosting": make_pipeline(
            make_column_transformer((codes, CATEGORIES), remainder="passthrough"),
            HistGradientBoostingClassifier(random_state=seed),
        ),
    }


def accuracy(y_true, y_proba, *, labels=None, sample_weight=None):
    return float((y_proba.argmax(axis=1) == y_true).mean())


METRICS = {
    "accuracy": accuracy,
    "nll": negative_log_likelihood,
    "ece": expected_calibration_error,
}


def judge(y_true, y_proba, labels, n_resamples):
    found = {}
    for name, metric in METRICS.items():
        found[name] = float(metric(y_true, y_proba, labels=labels))
        if name != "accuracy":
            low, high = bootstrap_interval(
                metric, y_true, y_proba, labels=labels, n_resamples=n_resamples, random_state=0
            )
            found[f"{name}_interval"] = [float(low), float(high)]
    half = 1.96 * (found["accuracy"] * (1 - found["accuracy"]) / len(y_true)) ** 0.5
    found["accuracy_interval"] = [found["accuracy"] - half, found["accuracy"] + half]
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="all-MiniLM-L6-v2", help="name or folder")
    parser.add_argument("--train-rows", type=int, default=1000)
    parser.add_argument("--test-rows", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tables", nargs="+", default=list(TABLES), choices=list(TABLES))
    args = parser.parse_args()
    if args.backbone == "all-MiniLM-L6-v2":
        fetch_backbone(args.backbone)
    rows, tables = [], {}
    for table in args.tables:
        fetch, columns, max_length = TABLES[table]
        bunch = fetch(random_state=args.seed)
        X = bunch.data if columns is None else bunch.data[columns]
        y = bunch.target
        train = slice(0, args.train_rows)
        test = slice(args.train_rows, args.train_rows + args.test_rows)
        # A class the training rows lack can be predicted by nobody.
        known = pd.Series(y[test]).isin(y[train]).to_numpy()
        X_test, y_test = X[test][known], y[test][known]
        tables[table] = {
            "columns": list(X.columns),
            "classes": bunch.target_names,
            "train_rows": len(X[train]),
            "test_rows": len(X_test),
            "test_rows_of_unseen_classes_left_out": int((~known).sum()),
            "share_of_largest_class": float(pd.Series(y_test).value_counts(normalize=True).iloc[0]),
            "text_of_row_0": TabularToText().fit(X[train]).transform(X[:1])[0],
        }
        for name, model in models(args.backbone, max_length, args.seed).items():
            start = time.perf_counter()
            model.fit(X[train], y[train])
            trained = time.perf_counter()
            y_proba = model.predict_proba(X_test)
            done = time.perf_counter()
            labels = list(model.classes_)
            codes = pd.Series(y_test).map({c: k for k, c in enumerate(labels)}).to_numpy()
            rows.append(
                {
                    "table": table,
                    "model": name,
                    **judge(codes, y_proba, list(range(len(labels))), args.resamples),
                    "fit_seconds": trained - start,
                    "predict_seconds": done - trained,
                }
            )
            print({k: v for k, v in rows[-1].items() if "interval" not in k}, flush=True)
        write(
            "tabular",
            {
                "question": "When is it worth turning a table into text?",
                "seed": args.seed,
                "tables": tables,
                "results": rows,
            },
        )


if __name__ == "__main__":
    main()
