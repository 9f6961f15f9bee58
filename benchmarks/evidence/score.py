"""From the members' probabilities to the numbers of one run."""

import base64
import warnings
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from sksve import CalibrationWarning
from sksve.calibration import TemperatureScaling
from sksve.metrics import (
    aurc,
    bootstrap_interval,
    brier_score,
    expected_calibration_error,
    expected_entropy,
    fpr_at_tpr,
    member_disagreement,
    member_diversity,
    mutual_information,
    negative_log_likelihood,
    ood_auroc,
    predictive_entropy,
)

__all__ = ["row_losses", "score_run", "unpack_rows"]

METRICS = {
    "nll": negative_log_likelihood,
    "ece": expected_calibration_error,
    "brier": brier_score,
    "aurc": aurc,
}


def score_run(probabilities: dict[str, np.ndarray], labels: dict[str, np.ndarray], human=None):
    """Judge one run.

    Parameters
    ----------
    probabilities : dict of str to ndarray of shape (n_members, n_samples, n_classes)
        ``"validation"``, ``"test"``, ``"shifted/NAME"`` and ``"foreign/NAME"``.
    labels : dict of str to ndarray of shape (n_samples,)
        For the same names, except those of foreign rows.
    human : ndarray of shape (n_samples, n_classes) or None
        The raters' shares for the test rows.

    Returns
    -------
    dict
        Of plain numbers; also the test rows' own losses, packed, for paired tests of two runs.
    """
    members = probabilities["test"]
    mean = pooled(probabilities["validation"])
    scaling = _temperature(mean, labels["validation"])
    found: dict[str, Any] = {
        "n_validation": len(mean),
        "n_test": members.shape[1],
        "temperature": float(scaling.temperature_),
        "validation": _judge(labels["validation"], mean, interval=False),
        "test": _both(labels["test"], pooled(members), scaling),
        "diversity": diversity(members),
        "nll_of_single_members": [
            negative_log_likelihood(labels["test"], p, labels=range(p.shape[1])) for p in members
        ],
    }
    for name, shifted in probabilities.items():
        if name.startswith("shifted/"):
            both = _both(labels[name], pooled(shifted), scaling, interval=False)
            found.setdefault("shifted", {})[name.partition("/")[2]] = both
        elif name.startswith("foreign/"):
            found.setdefault("foreign", {})[name.partition("/")[2]] = _foreign(members, shifted)
    if human is not None:
        found["human"] = _human(members, human, scaling)
    found["rows"] = {
        "before": pack_rows(labels["test"], pooled(members)),
        "after": pack_rows(labels["test"], scaling.predict_proba(pooled(members))),
    }
    return found


def pooled(members: np.ndarray) -> np.ndarray:
    """Mean of the members' probabilities, (n, c)."""
    mean = members.mean(axis=0, dtype=np.float64)
    return mean / mean.sum(axis=1, keepdims=True)


def _temperature(proba: np.ndarray, y: np.ndarray) -> TemperatureScaling:
    """Temperature of validation rows; labels are column numbers, also of a class they lack."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibrationWarning)
        return TemperatureScaling().fit(proba, y, labels=np.arange(proba.shape[1]))


def _judge(y: np.ndarray, proba: np.ndarray, *, interval: bool = True) -> dict[str, Any]:
    names = np.arange(proba.shape[1])
    found: dict[str, Any] = {"accuracy": float((proba.argmax(axis=1) == y).mean())}
    found |= {name: float(metric(y, proba, labels=names)) for name, metric in METRICS.items()}
    if interval:
        found["intervals"] = {
            name: [
                float(end)
                for end in bootstrap_interval(metric, y, proba, labels=names, random_state=0)
            ]
            for name, metric in METRICS.items()
        }
    return found


def _both(
    y: np.ndarray, proba: np.ndarray, scaling: TemperatureScaling, *, interval: bool = True
) -> dict[str, Any]:
    scaled = scaling.predict_proba(proba)
    return {
        "before": _judge(y, proba, interval=interval),
        "after": _judge(y, scaled, interval=interval),
    }


def diversity(members: np.ndarray) -> dict[str, float] | None:
    """How much members differ; None of a single one."""
    if len(members) == 1:
        return None
    return {
        "disagreement": float(member_disagreement(members).mean()),
        "pairwise_kl": float(member_diversity(members)),
        "mutual_information": float(mutual_information(members).mean()),
    }


def _foreign(known: np.ndarray, foreign: np.ndarray) -> dict[str, Any]:
    """How well uncertainty tells foreign rows; one member has no mutual information."""
    scores = {"entropy": predictive_entropy, "mutual_information": mutual_information}
    found: dict[str, Any] = {"n": foreign.shape[1]}
    for name, score in scores.items():
        if name == "mutual_information" and len(known) == 1:
            found[name] = None
            continue
        inside, outside = score(known), score(foreign)
        found[name] = {
            "auroc": float(ood_auroc(inside, outside)),
            "fpr95": float(fpr_at_tpr(inside, outside)),
        }
    return found


def _human(members: np.ndarray, human: np.ndarray, scaling: TemperatureScaling) -> dict[str, Any]:
    """Distance to the raters' shares, and whether aleatoric uncertainty ranks their disagreement."""
    shares = np.where(human > 0, human, 1.0)
    disagreement = -(human * np.log(shares)).sum(axis=1)

    def distance(proba: np.ndarray) -> dict[str, float]:
        logs = np.log(np.maximum(proba, np.finfo(np.float64).tiny))
        return {
            "cross_entropy": float(-(human * logs).sum(axis=1).mean()),
            "total_variation": float(np.abs(human - proba).sum(axis=1).mean() / 2),
        }

    mean = pooled(members)
    found: dict[str, Any] = {
        "before": distance(mean),
        "after": distance(scaling.predict_proba(mean)),
        "entropy_of_raters": float(disagreement.mean()),
    }
    for name, uncertainty in (("aleatoric", expected_entropy), ("total", predictive_entropy)):
        ranks = spearmanr(uncertainty(members), disagreement)
        found[f"spearman_{name}"] = float(ranks.statistic)
    return found


# -- rows ------------------------------------------------------------------------------------------


def row_losses(y: np.ndarray, proba: np.ndarray) -> dict[str, np.ndarray]:
    """Return each row's NLL, its highest probability, and whether that is the label's."""
    p = np.maximum(proba[np.arange(len(y)), y], np.finfo(np.float64).tiny)
    return {
        "nll": -np.log(p),
        "confidence": proba.max(axis=1),
        "correct": (proba.argmax(axis=1) == y).astype(np.float64),
    }


def pack_rows(y: np.ndarray, proba: np.ndarray) -> dict[str, str]:
    """Pack what `row_losses` gives as text: float16 (5e-4 of the value) and bits, base64."""
    rows = row_losses(y, proba)
    correct = np.packbits(rows.pop("correct").astype(bool))
    raw = {name: values.astype("<f2") for name, values in rows.items()} | {"correct": correct}
    return {name: base64.b64encode(values.tobytes()).decode() for name, values in raw.items()}


def unpack_rows(packed: dict[str, str]) -> dict[str, np.ndarray]:
    """Undo `pack_rows`, as float64."""
    raw = {name: base64.b64decode(text) for name, text in packed.items()}
    bits = np.unpackbits(np.frombuffer(raw.pop("correct"), np.uint8))
    rows = {name: np.frombuffer(r, "<f2").astype(np.float64) for name, r in raw.items()}
    return rows | {"correct": bits[: len(rows["nll"])].astype(np.float64)}
