"""What does a student of the ensemble lose, and what does it save? For docs/guide/save.md.

    python -m benchmarks.studies.distill

200 labelled rows make five members, 2,000 rows without labels the student, for which the teacher's rows are
labels. Judged on 500 rows that neither has seen; latency of one text is the median of 30, in turns, on all
cores. Writes results/distill.jsonl, one row per data set.
"""

import time

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks.common.results import write
from benchmarks.no_tuning import load
from sksve import SVEClassifier
from sksve.metrics import expected_calibration_error, negative_log_likelihood

SETS = ("movies", "newsgroups_4")


def judged(clf, X, y):
    """Likelihood, calibration, accuracy, and AUROC of the right answers by confidence."""
    proba = clf.predict_proba(X)
    right = proba.argmax(axis=1) == y
    return {
        "nll": negative_log_likelihood(y, proba),
        "ece": expected_calibration_error(y, proba),
        "accuracy": float(right.mean()),
        "auroc of right answers": float(roc_auc_score(right, proba.max(axis=1))),
    }


def latency(models, text):
    """Median seconds of one text, by model."""
    seconds = {name: [] for name in models}
    for _ in range(33):
        for name, clf in models.items():
            start = time.perf_counter()
            clf.predict_proba([text])
            seconds[name].append(time.perf_counter() - start)
    return {name: float(np.median(taken[3:])) for name, taken in seconds.items()}


def main():
    for name in SETS:
        data = load(name)
        order = np.random.default_rng(0).permutation(len(data.X))
        part = [[data.X[i] for i in order[a:b]] for a, b in ((0, 200), (200, 2200), (2200, 2700))]
        y = data.y[order]
        start = time.process_time()
        teacher = SVEClassifier(random_state=0).fit(part[0], y[:200])
        taught = time.process_time()
        student = teacher.distill(part[1])
        models = {"teacher": teacher, "one member": teacher.first_members(1), "student": student}
        found = {k: judged(clf, part[2], y[2200:2700]) for k, clf in models.items()}
        found["cpu seconds"] = {"teacher": taught - start, "student": time.process_time() - taught}
        found["seconds of one text"] = latency(models, part[2][0])
        write("distill", found, name)
        print(name, found, flush=True)


if __name__ == "__main__":
    main()
