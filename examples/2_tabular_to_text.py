"""Grade loans from a table of numbers, categories and job titles that people wrote themselves.

    python examples/2_tabular_to_text.py

Each row becomes one text, which a singular value ensemble reads like any other. Beside it stands gradient
boosting on the same columns, the usual choice for tables, which mostly wins there. For a text column among
others, give the classifier the frame without a serializer: docs/guide/text_and_columns.md.
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # draw into a file: no screen needed
import matplotlib.pyplot as plt
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from sksve import SVEClassifier
from sksve.backbones import fetch_backbone
from sksve.datasets import fetch_loans
from sksve.metrics import expected_calibration_error, negative_log_likelihood
from sksve.plotting import ReliabilityDisplay
from sksve.preprocessing import TabularToText

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--backbone", default="all-MiniLM-L6-v2", help="name or folder")
parser.add_argument("--train-rows", type=int, default=1000)
parser.add_argument("--test-rows", type=int, default=500)
parser.add_argument("--members", type=int, default=5)
parser.add_argument("--output", type=Path, default=Path("outputs"), help="folder of the diagram")
args = parser.parse_args()

# %%
# Ten thousand loans. fetch_loans leaves out what follows from the grade, such as the interest rate. A
# person would look at these columns; all 44 of them would make longer texts than the model reads well.
if args.backbone == "all-MiniLM-L6-v2":
    fetch_backbone(args.backbone)
loans = fetch_loans()
columns = [
    "loan_purpose", "loan_amount", "term", "homeownership", "annual_income", "verified_income",
    "debt_to_income", "emp_length", "inquiries_last_12m", "total_credit_limit",
    "total_credit_utilized", "accounts_opened_24m", "public_record_bankrupt", "emp_title",
]  # fmt: skip
X, y = loans.data[columns], pd.Series(loans.target).map(dict(enumerate(loans.target_names)))
X_train, y_train = X[: args.train_rows], y[: args.train_rows]
X_test, y_test = X[args.train_rows :][: args.test_rows], y[args.train_rows :][: args.test_rows]
known = y_test.isin(y_train.unique())  # the rarest grade may be missing among so few rows
X_test, y_test = X_test[known], y_test[known]

# %%
# What a row reads like. Column names are written as people do, missing cells are left out, and the free
# text of the applicant stands last, whole.
writer = TabularToText(names={"emp_title": "job"}, text_columns=["emp_title"])
print("As a list:\n  " + writer.fit(X_train).transform(X_train[:1])[0])
sentences = TabularToText("The {name} is {value}.", separator=" ", missing="unknown")
print("In sentences:\n  " + sentences.fit(X_train).transform(X_train[:1])[0])

# %%
# A DataFrame goes straight into the classifier. A pipeline, make_pipeline(writer, SVEClassifier(...)),
# gives the same answers.
ensemble = SVEClassifier(
    args.backbone,
    n_members=args.members,
    max_length=160,
    serializer=writer,
    random_state=0,
)
ensemble.fit(X_train, y_train)
codes = OrdinalEncoder(
    handle_unknown="use_encoded_value", unknown_value=float("nan"), max_categories=200
)
boosting = make_pipeline(
    make_column_transformer(
        (codes, make_column_selector(dtype_exclude="number")), remainder="passthrough"
    ),
    HistGradientBoostingClassifier(random_state=0),
).fit(X_train, y_train)

rows, predicted = {}, {}
for name, model in {"SVE of the rows as text": ensemble, "gradient boosting": boosting}.items():
    y_proba = predicted[name] = model.predict_proba(X_test)
    labels = list(model.classes_)
    rows[name] = {
        "accuracy": (model.predict(X_test) == y_test).mean(),
        "ECE": expected_calibration_error(y_test, y_proba, labels=labels),
        "NLL (nats)": negative_log_likelihood(y_test, y_proba, labels=labels),
    }
table = pd.DataFrame(rows).T
print(f"\n{len(X_train)} loans to learn from, {len(X_test)} to judge by:")
print(table.to_string(float_format="{:.3f}".format))

# %%
# Columns are found by their names: shuffled, or beside others, the answers are the same. A category never
# seen before is one more word.
shuffled = X_test[columns[::-1]].assign(branch="North")
print(
    f"\nShuffled columns, same answers: {(ensemble.predict(shuffled) == ensemble.predict(X_test)).all()}"
)

# %%
# Which loans should a person look at? The frame keeps the rows' index.
uncertainty = ensemble.predict_uncertainty(X_test).to_frame()
least_sure = uncertainty.sort_values("total", ascending=False).head(3)
print("\nThe three loans it is least sure of (nats):")
shown = ["total", "aleatoric", "epistemic", "confidence"]
print(least_sure[shown].join(X_test[["emp_title", "annual_income"]]).to_string())

# %%
figure, ax = plt.subplots(figsize=(5.2, 5.2), layout="constrained")
for name, model in {"SVE of the rows as text": ensemble, "gradient boosting": boosting}.items():
    first = model is ensemble  # intervals and diagonal are drawn once
    ReliabilityDisplay.from_predictions(
        y_test,
        predicted[name],
        labels=list(model.classes_),
        name=name,
        ax=ax,
        show_counts=False,
        show_reference=first,
        show_interval=first,
    )
ax.set_title("Grades of loans")
args.output.mkdir(parents=True, exist_ok=True)
picture = args.output / "tabular_to_text.png"
figure.savefig(picture, dpi=120)
print(f"\nReliability diagram: {picture}")
