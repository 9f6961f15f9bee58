"""How long does a calibrator take to fit? Ours, netcal's and scikit-learn's, taking turns.

    python -m benchmarks.speed.calibration [--rows N] [--rounds N]

Probabilities of 10 classes, overconfident, float64. netcal's and scikit-learn's calibrators get the
same arrays. Methods whose fit takes netcal minutes run on fewer rows, as recorded. Medians, their
ratios and the log-likelihoods on 50,000 new rows go to results/calibration.jsonl.
"""

import argparse
import contextlib
import io
import json
import os
import warnings
from importlib.metadata import version

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.naive_bayes import GaussianNB

from benchmarks.common.results import write
from benchmarks.common.timing import alternate, medians, ratio_of_medians
from sksve.calibration import CALIBRATORS, make_calibrator
from sksve.metrics import negative_log_likelihood

N_CLASSES = 10
TEMPERATURE = 2.0
# Rows and rounds, at most: netcal's beta, BBQ and ENIR take minutes on 50,000 x 10.
AT_MOST = {"beta": (5_000, 3), "bbq": (2_000, 3), "enir": (1_000, 3)}


def make_data(n, seed):
    """Overconfident probabilities, and labels drawn from their flattened version."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(N_CLASSES, 0.3), size=n)
    flat = p ** (1 / TEMPERATURE)
    flat /= flat.sum(axis=1, keepdims=True)
    y = (rng.random((n, 1)) > np.cumsum(flat, axis=1)[:, :-1]).sum(axis=1)
    return p, y


class Given(GaussianNB):
    """A fitted classifier whose rows are its probabilities: only the calibrator's fit is timed."""

    def predict_proba(self, X):
        """Return the rows."""
        return X


def of_scikit_learn(method, p, y):
    classifier = FrozenEstimator(Given().fit(p[:100], np.arange(100) % N_CLASSES))
    return CalibratedClassifierCV(classifier, method=method).fit(p, y)


def of_netcal(name):
    """Return netcal's calibrator of that name, or None."""
    import netcal.binning as binning
    import netcal.scaling as scaling

    makers = {
        "temperature": scaling.TemperatureScaling,
        "beta": scaling.BetaCalibration,
        "isotonic": binning.IsotonicRegression,
        "histogram": lambda: binning.HistogramBinning(15),
        "bbq": binning.BBQ,
        "enir": binning.ENIR,
    }
    return makers[name]() if name in makers else None


@contextlib.contextmanager
def quiet():
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
        np.errstate(all="ignore"),
    ):
        warnings.simplefilter("ignore")
        yield


def bench(name, rows, rounds):
    most_rows, most_rounds = AT_MOST.get(name, (rows, rounds))
    rows, rounds = min(rows, most_rows), min(rounds, most_rounds)
    p, y = make_data(rows, seed=0)
    new, y_new = make_data(50_000, seed=1)
    fitted = {}

    def ours():
        fitted["sksve"] = make_calibrator(name).fit(p, y)

    def netcals():
        fitted["netcal"] = of_netcal(name)
        fitted["netcal"].fit(p, y)

    def scikit_learns():
        fitted["scikit-learn"] = of_scikit_learn(name, p, y)

    contenders = {"sksve": ours}
    if of_netcal(name) is not None:
        contenders["netcal"] = netcals
    if name in ("temperature", "isotonic"):
        contenders["scikit-learn"] = scikit_learns
    with quiet():
        ours()
        times = alternate(contenders, rounds, warm_up=0)
        losses = {}
        for who, calibrator in fitted.items():
            predict = calibrator.transform if who == "netcal" else calibrator.predict_proba
            losses[who] = round(
                negative_log_likelihood(y_new, np.nan_to_num(predict(new), nan=1 / N_CLASSES)), 6
            )
    result = {"rows": rows, "classes": N_CLASSES, "times": medians(times)}
    for other in contenders:
        if other != "sksve":
            result[f"{other}_over_sksve"] = ratio_of_medians(times, other, "sksve")
    if name == "temperature":
        result["netcal_over_sksve"]["target"] = 5
    result["nll_of_new_rows"] = {
        "as_given": round(negative_log_likelihood(y_new, new), 6),
        **losses,
    }
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--methods", nargs="+", choices=list(CALIBRATORS), default=list(CALIBRATORS)
    )
    options = parser.parse_args()
    content = {
        "netcal": version("netcal"),
        "load_average_1min_at_start": round(os.getloadavg()[0], 2),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
        "methods": {},
    }
    for name in options.methods:
        content["methods"][name] = found = bench(name, options.rows, options.rounds)
        print(name, json.dumps(found), flush=True)
    write("calibration", content)


if __name__ == "__main__":
    main()
