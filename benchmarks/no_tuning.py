"""Nobody tunes: the bare call `SVEClassifier()` against what a user would write, and every rival's bare call.

    python -m benchmarks.no_tuning                                  # the most telling runs first; resumes
    python -m benchmarks.no_tuning --sets movies tweets --rows 200 --contenders sve frozen_lr --seeds 0
    python -m benchmarks.no_tuning --jobs 4 --budget-minutes 90     # four processes share the work
    python -m benchmarks.no_tuning --report                         # the table, and which goals are met
    python -m benchmarks.no_tuning --report --write                 # ... into docs/guide and the README

Development data of 2 to 20 classes, the first 40 words of each text; each seed draws its own training rows,
the test rows are the same for all. Probabilities are judged before any calibration; the temperature that
would fit the test rows best is a diagnosis and used nowhere. CPU seconds are those of `fit` with one thread,
after a short fit of the same class that pays for imports and the cached decomposition.

A run is a row of results/no_tuning.jsonl with its settings, versions, hardware and commit, and what frozen
vectors knew of the labels: runs that the rules would make otherwise now are repeated and not reported. SetFit
(16 and 50 rows) needs an environment of its own: `--setfit-python`.
"""

import argparse
import json
import re
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, wait
from dataclasses import dataclass
from functools import cache
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegressionCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import sksve
from benchmarks.common import datasets
from benchmarks.common.results import RESULTS, ROOT, Row, Table, provenance
from benchmarks.evidence.data import draw
from benchmarks.evidence.grid import Job, work_off
from benchmarks.studies.no_tuning_report import report, with_table
from sksve import baselines
from sksve.backbones import fetch_backbone
from sksve.calibration import TemperatureScaling
from sksve.estimators._auto import resolve
from sksve.estimators._facts import Facts
from sksve.metrics import expected_calibration_error, negative_log_likelihood

TABLE = Table(RESULTS / "no_tuning.jsonl")
N_WORDS, N_TEST = 40, 500

# -- data ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Data:
    """Rows to draw from, and test rows."""

    X: list[str]
    y: np.ndarray
    X_test: list[str]
    y_test: np.ndarray


def _data(X: Any, y: Any, X_test: Any, y_test: Any) -> Data:
    short, short_test = ([" ".join(t.split()[:N_WORDS]) for t in part] for part in (X, X_test))
    return Data(short, np.asarray(y), short_test[:N_TEST], np.asarray(y_test)[:N_TEST])


def _movies(n_grades: int) -> Data:
    """Signs of the mean rating, or equally frequent grades of it: many classes, and noisy ones."""
    movies = datasets.fetch_movie_reviews()
    y, cut = movies.target, len(movies.data) - N_TEST
    if n_grades > 2:
        cuts = np.quantile(movies.ratings_mean[:cut], np.arange(1, n_grades) / n_grades)
        y = np.searchsorted(cuts, movies.ratings_mean)
    return _data(movies.data[:cut], y[:cut], movies.data[cut:], y[cut:])


def _amazon() -> Data:
    amazon = datasets.fetch_amazon_reviews()
    test = amazon.groups % 6 == 0  # sentences of one review resemble each other
    return _data(amazon.data[~test], amazon.target[~test], amazon.data[test], amazon.target[test])


def _tweets() -> Data:
    tweets, cut = datasets.fetch_tweets(), -N_TEST
    return _data(tweets.data[:cut], tweets.target[:cut], tweets.data[cut:], tweets.target[cut:])


def _two_parts(loader: Callable[..., Any], topics: Iterable[str] = ()) -> Data:
    parts = []
    for part in (loader(subset="train"), loader(subset="test")):
        codes = [part.target_names.index(t) for t in topics] or np.unique(part.target)
        rows = np.isin(part.target, codes)
        parts += [part.data[rows], np.searchsorted(np.sort(codes), part.target[rows])]
    return _data(*parts)


TOPICS = (
    "rec.sport.hockey", "sci.space", "comp.graphics", "talk.politics.mideast",
    "rec.autos", "sci.med", "misc.forsale", "soc.religion.christian",
)  # fmt: skip
SETS: dict[str, Callable[[], Data]] = {
    "movies": lambda: _movies(2),
    "newsgroups_20": lambda: _two_parts(datasets.fetch_newsgroups),
    "reuters_r8": lambda: _two_parts(datasets.fetch_reuters_r8),
    "amazon": _amazon,
    "movies_3": lambda: _movies(3),
    "newsgroups_4": lambda: _two_parts(datasets.fetch_newsgroups, TOPICS[:4]),
    "fine_foods": lambda: _two_parts(datasets.fetch_fine_foods),
    "newsgroups_8": lambda: _two_parts(datasets.fetch_newsgroups, TOPICS),
    "tweets": _tweets,
    "movies_5": lambda: _movies(5),
    "newsgroups_2": lambda: _two_parts(datasets.fetch_newsgroups, TOPICS[:2]),
}
load = cache(lambda name: SETS[name]())

# -- contenders ----------------------------------------------------------------------------------------


@cache
def _encoder() -> tuple[Any, Any]:
    from transformers import AutoModel, AutoTokenizer

    folder = fetch_backbone("all-MiniLM-L6-v2")
    return AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()


def embed(texts: list[str]) -> np.ndarray:
    """Frozen mean vectors of length 1, as the model's card computes them; long and short texts apart."""
    tokenizer, model = _encoder()
    order = np.argsort([len(t) for t in texts])
    vectors = np.empty((len(texts), model.config.hidden_size))
    for rows in np.array_split(order, -(-len(order) // 32)):
        batch = tokenizer(
            [texts[i] for i in rows],
            padding=True,
            truncation=True,
            max_length=128,
            return_tensors="pt",
        )
        with torch.no_grad():
            hidden = model(**batch).last_hidden_state
        mask = batch["attention_mask"].unsqueeze(-1)
        mean = (hidden * mask).sum(1) / mask.sum(1)
        vectors[rows] = torch.nn.functional.normalize(mean, dim=1).numpy()
    return vectors


def _regression() -> LogisticRegressionCV:
    return LogisticRegressionCV(
        Cs=np.logspace(-2, 3, 11), cv=5, scoring="neg_log_loss", max_iter=1000, l1_ratios=(0,),
        use_legacy_attributes=False,
    )  # fmt: skip


#: Data sets of the evidence whose trials chose the deep ensemble's settings, and where they are.
TUNED = {"movies": "movie_reviews", "newsgroups": "newsgroups", "amazon": "amazon_reviews"}
LATER = ("amazon_reviews", "tweets")


def tuned_settings(name: str, rows: int) -> dict[str, Any]:
    """What the evidence's trials chose for the deep ensemble, with the nearest number of rows they had."""
    base = name.rstrip("_0123456789") if name != "reuters_r8" else name
    base = TUNED.get(base, base)
    table = Table(RESULTS / f"evidence{'_new_data' if base in LATER else ''}.jsonl").rows()
    sizes = [n for n in (200, 1000, 3000) if f"{base}/tuning-deep-n{n}" in table]
    size = min(sizes, key=lambda n: abs(n - rows))
    always = {"batch_size": 16, "weight_decay": 0.01, "adapt_blocks": None}  # what had no trials
    chosen = always | table[f"{base}/tuning-deep-n{size}"]["chosen"]
    return {f"training__{k}" if k == "head_lr" else k: v for k, v in chosen.items()}


BARE = {
    "sve": sksve.SVEClassifier,
    "probe": baselines.LinearProbeClassifier,
    "fine_tuned": baselines.FineTunedClassifier,
    "deep": baselines.DeepEnsembleClassifier,
    "lora": baselines.LoRAEnsembleClassifier,
    "batch_ensemble": baselines.BatchEnsembleClassifier,
    "mc_dropout": baselines.MCDropoutClassifier,
    "laplace": baselines.LaplaceClassifier,
}


def build(contender: str, data: str, rows: int, seed: int) -> Any:
    """A contender, as a user without time would write it."""
    if contender == "frozen_lr":
        return make_pipeline(FunctionTransformer(embed), _regression())
    if contender == "tfidf_lr":
        return make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), _regression())
    if contender == "deep_tuned":
        deep = baselines.DeepEnsembleClassifier(random_state=seed)
        return deep.set_params(**tuned_settings(data, rows))
    return BARE[contender](random_state=seed)


def is_current(row: Row) -> bool:
    """Whether a bare call would have a run's settings now, for the facts that the rules looked at."""
    kind = BARE.get(row["contender"])
    if kind is None or not kind._rules:
        return True
    clf = kind()
    asked = {**clf.get_params(deep=False), **sksve.Training().get_params()}
    facts = Facts(6, n_rows=row["rows"], n_classes=row["n_classes"], information=row["information"])
    now = resolve(kind.__name__, asked, kind._rules, facts).values
    return all(row["settings"].get(name) == now.get(name) for name in kind._rules)


# -- one run -------------------------------------------------------------------------------------------


def run(name: str, contender: str, rows: int, seed: int, setfit_python: str | None = None) -> Row:
    """Fit once, judge once."""
    data = load(name)
    train, _ = draw(data.y, rows, 0, seed)
    X, y = [data.X[i] for i in train], data.y[train]
    if contender == "setfit":
        assert setfit_python is not None
        proba, seconds, settings = _setfit(setfit_python, X, y, data.X_test, seed)
        information = None
    else:
        clf = build(contender, name, rows, seed)
        _warm_up(clf, contender, X, y)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            start = time.process_time()
            clf.fit(X, y)
            seconds = time.process_time() - start
            proba = _predict(clf, contender, name)
        settings = _settings_of(clf)
        information = _information(clf)
    labels = np.arange(len(np.unique(data.y)))
    return {
        "data": name, "contender": contender, "rows": rows, "seed": seed, "n_classes": len(labels),
        **judge(data.y_test, proba, labels), "cpu_seconds": round(seconds, 2),
        "settings": settings, "information": information,
    }  # fmt: skip


@cache
def _test_vectors(name: str) -> np.ndarray:
    return embed(load(name).X_test)


def _predict(clf: Any, contender: str, name: str) -> np.ndarray:
    if contender == "frozen_lr":  # the test rows' vectors are the same for all fits
        return np.asarray(clf[-1].predict_proba(_test_vectors(name)))
    return np.asarray(clf.predict_proba(load(name).X_test))


def judge(y: np.ndarray, proba: np.ndarray, labels: np.ndarray) -> Row:
    """The measures of one run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scaling = TemperatureScaling().fit(proba, y, labels=labels)
    found = {
        "nll": negative_log_likelihood(y, proba, labels=labels),
        "accuracy": float((proba.argmax(axis=1) == y).mean()),
        "ece": expected_calibration_error(y, proba, labels=labels),
        "best_temperature": scaling.temperature_,
        "nll_at_best_temperature": negative_log_likelihood(
            y, scaling.predict_proba(proba), labels=labels
        ),
    }
    return {k: round(float(v), 4) for k, v in found.items()} | {"n_test": len(y)}


_warm: set[str] = set()


def _warm_up(clf: Any, contender: str, X: list[str], y: np.ndarray) -> None:
    """Imports, loaded weights and the cached decomposition are paid for before the clock runs."""
    if contender in _warm:
        return
    if contender == "frozen_lr":
        embed(X[:8])
    elif contender != "tfidf_lr":
        first = np.unique(
            np.r_[[np.flatnonzero(y == c)[0] for c in np.unique(y)[:2]], np.arange(8)]
        )
        few = clone(clf)
        if "max_epochs" in few.get_params(deep=False):
            few.set_params(max_epochs=1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            few.fit([X[i] for i in first], y[first])
    _warm.add(contender)


def _settings_of(clf: Any) -> Row:
    if hasattr(clf, "settings_"):
        plain = (bool, int, float, str, type(None))
        return {k: v for k, v in clf.settings_.values.items() if isinstance(v, plain)}
    return {"C": round(float(np.ravel(clf[-1].C_)[0]), 4)}


def _information(clf: Any) -> float | None:
    """What frozen vectors knew of the labels, where the rules asked."""
    facts = clf.settings_.facts if hasattr(clf, "settings_") else ""
    known = re.search(r"know (-?[0-9.]+) nats", facts)
    return float(known[1]) if known else None


SETFIT = """\
import json, sys, time
import numpy as np
import setfit
import torch
from datasets import Dataset
from setfit import SetFitModel, Trainer, TrainingArguments
torch.set_num_threads(1)
job = json.load(open(sys.argv[1]))
model = SetFitModel.from_pretrained(job["backbone"])
args = TrainingArguments(seed=job["seed"], output_dir=sys.argv[1] + ".out", report_to="none")
rows = Dataset.from_dict({"text": job["X"], "label": job["y"]})
trainer = Trainer(model=model, args=args, train_dataset=rows)
start = time.process_time()
trainer.train()
seconds = time.process_time() - start
proba = np.asarray(model.predict_proba(job["X_test"], as_numpy=True), dtype=float)
made = {"proba": proba.tolist(), "seconds": seconds, "version": setfit.__version__}
json.dump(made, open(sys.argv[2], "w"))
"""


def _setfit(
    python: str, X: list[str], y: np.ndarray, X_test: list[str], seed: int
) -> tuple[np.ndarray, float, Row]:
    """SetFit's own defaults, on the same weights."""
    with tempfile.TemporaryDirectory() as folder:
        job, out = Path(folder, "job.json"), Path(folder, "out.json")
        content = {"backbone": str(fetch_backbone("all-MiniLM-L6-v2")), "seed": seed}
        job.write_text(json.dumps(content | {"X": X, "y": y.tolist(), "X_test": X_test}))
        subprocess.run([python, "-c", SETFIT, str(job), str(out)], check=True)  # nosec B603
        made = json.loads(out.read_text())
    return np.array(made["proba"]), made["seconds"], {"setfit": made["version"]}


# -- all runs ------------------------------------------------------------------------------------------

Cell = tuple[str, str, int, int]
MAIN = ("sve", "frozen_lr", "tfidf_lr")
RIVALS = ("deep", "fine_tuned", "probe", "lora", "batch_ensemble", "mc_dropout", "laplace")
FIRST = tuple(SETS)[:4]
#: (data sets, contenders, rows, seeds), the most telling first.
STAGES: list[tuple[Iterable[str], Iterable[str], Iterable[int], Iterable[int]]] = [
    (SETS, MAIN, (200, 50), (0,)),
    (SETS, MAIN, (1000,), (0,)),
    (FIRST, ("deep_tuned", *RIVALS), (200,), (0,)),
    (SETS, ("deep_tuned",), (200, 50), (0,)),
    (SETS, (*MAIN, "setfit"), (16,), (0,)),
    (SETS, ("setfit",), (50,), (0,)),
    (SETS, MAIN, (200, 50, 1000), (1, 2)),
    (SETS, RIVALS, (200, 50), (0,)),
    (SETS, ("deep_tuned",), (1000,), (0,)),
    (SETS, MAIN, (3000,), (0,)),
    (SETS, ("deep_tuned", *RIVALS), (200, 50), (1, 2)),
    (SETS, (*MAIN, "setfit"), (16,), (1, 2)),
]


def possible(cell: Cell) -> bool:
    """Whether the set has so many rows to train on, and they can hold each class twice."""
    data = load(cell[0])
    return 2 * len(np.unique(data.y)) <= cell[2] <= len(data.y)


def job_of(cell: Cell, setfit_python: str | None) -> Job:
    """A run as a piece of work that processes share."""
    data, contender, rows, seed = cell
    name = f"{data}/{contender}-n{rows}-seed{seed}"

    def make() -> None:
        row = run(*cell, setfit_python=setfit_python)
        TABLE.put(name, {"provenance": provenance(threads=torch.get_num_threads()), **row})

    def seconds() -> float:
        rows_like = [r for r in TABLE.rows().values() if r["contender"] == contender]
        like = [r["cpu_seconds"] for r in rows_like if r["rows"] == rows]
        return 20 + float(np.median(like)) if like else 60.0

    return Job(TABLE, name, make, seconds, current=lambda: is_current(TABLE.rows()[name]))


def work(cells: list[Cell], setfit_python: str | None, seconds: float | None) -> None:
    """Make the runs that are missing and that no other process makes."""
    torch.set_num_threads(1)
    jobs = [job_of(cell, setfit_python) for cell in cells]
    work_off(jobs, seconds=seconds, say=lambda line: print(line, flush=True))


# -- command line --------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = [*MAIN, "deep_tuned", "setfit", *RIVALS]
    parser.add_argument("--sets", nargs="+", choices=[*SETS], default=[*SETS])
    parser.add_argument("--rows", nargs="+", type=int, help="also numbers that no stage has")
    parser.add_argument("--seeds", nargs="+", type=int)
    parser.add_argument("--contenders", nargs="+", choices=known, default=known)
    parser.add_argument("--jobs", type=int, default=1, help="processes, each with one thread")
    parser.add_argument("--budget-minutes", type=float)
    parser.add_argument("--setfit-python", help="python of an environment that has setfit")
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--write", action="store_true", help="with --report: docs and README too")
    args = parser.parse_args()
    if args.report:
        rows = [row for row in TABLE.rows().values() if is_current(row)]
        text = report(rows, list(SETS))
        print(text)
        if args.write:
            (ROOT / "docs" / "guide" / "no_tuning.md").write_text(text, "utf-8")
            readme = ROOT / "README.md"
            readme.write_text(with_table(readme.read_text("utf-8"), rows), "utf-8")
        return
    staged = [
        (name, contender, n, seed)
        for names, contenders, rows, seeds in STAGES
        for seed, n, name, contender in product(seeds, rows, names, contenders)
    ]
    asked = product(args.sets, args.contenders, args.rows or (), args.seeds or (0, 1, 2))
    cells = [
        cell for cell in dict.fromkeys([*staged, *asked])
        if cell[0] in args.sets and cell[1] in args.contenders
        and cell[2] in (args.rows or [cell[2]]) and cell[3] in (args.seeds or [cell[3]])
        and (cell[1] != "setfit" or args.setfit_python) and possible(cell)
    ]  # fmt: skip
    limit = None if args.budget_minutes is None else 60 * args.budget_minutes
    what = (cells, args.setfit_python, limit)
    if args.jobs == 1:
        work(*what)
    else:
        with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
            wait([pool.submit(work, *what) for _ in range(args.jobs)])
    done = sum(job_of(cell, args.setfit_python).done for cell in cells)
    print(f"{done} of {len(cells)} runs done")


if __name__ == "__main__":
    main()
