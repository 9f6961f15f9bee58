"""What a fitted classifier tells about itself on its model card."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sksve._validation import declared
from sksve.backbones import as_backbone
from sksve.estimators._labels import Targets
from sksve.persistence import CardFacts
from sksve.training import Training

__all__ = ["card_facts", "data_sizes"]

# Names of backbones that sksve finds elsewhere -> their names on the hub.
_ON_HUB = {"all-MiniLM-L6-v2": "sentence-transformers/all-MiniLM-L6-v2"}
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def data_sizes(train: Targets, valid: Targets | None = None) -> dict[str, Any]:
    """Count the rows trained on and judged, and (of labels that are not soft) those of each class."""
    hard = train.y.ndim == 1
    return {
        "training": len(train.y),
        "validation": 0 if valid is None else len(valid.y),
        "classes": np.bincount(train.y, minlength=len(train.classes)).tolist() if hard else [],
    }


def card_facts(
    clf: Any, content: Mapping[str, Any], metrics: Mapping[str, float], versions: Mapping[str, str]
) -> CardFacts:
    """Collect the facts of a fitted classifier's model card.

    Parameters
    ----------
    clf : estimator
    content : mapping
        What is saved of it.
    metrics, versions : mapping

    Returns
    -------
    CardFacts
    """
    given = as_backbone(clf.settings_.backbone).source
    name = "" if isinstance(given, tuple | list) else str(given)
    on_hub = _ON_HUB.get(name, "")
    if not on_hub and _REPOSITORY.fullmatch(name) and not Path(name).exists():
        on_hub = name
    shown = name if on_hub or not name else Path(name).name  # not a path of somebody's disk
    sizes = dict(clf._notes.get("data_sizes", {}))
    counts = sizes.pop("classes", [])
    report = clf.adapter_report_
    home = "sksve" if type(clf).__name__ == "SVEClassifier" else type(clf).__module__
    return CardFacts(
        class_name=type(clf).__name__,
        module=re.sub(r"\._\w+$", "", home),
        input_kind=clf.input_kind_,
        backbone=shown,
        hub_backbone=on_hub,
        n_members=len(content["members"]),
        classes=clf.classes_.tolist(),
        sizes={k: v for k, v in sizes.items() if v},
        class_counts=counts,
        parameters={k: repr(v) for k, v in clf.settings_.values.items() if _is_shown(clf, k)},
        history=_last_epoch(clf.history_),
        metrics=metrics,
        n_trained=report.n_trainable,
        n_total=report.n_total,
        versions=versions,
    )


def _is_shown(clf: Any, name: str) -> bool:
    """Whether a setting says something about the model rather than about the machine or the labels."""
    about = (declared(clf) | declared(Training))[name].metadata
    decides = about["scope"] != "run" or name in ("n_members", "random_state")
    return bool(about["saved"]) and decides and name != "class_weight"


def _last_epoch(history: list[dict[str, np.ndarray]]) -> dict[str, float]:
    """Mean over the members of each value in the last epoch the member ran."""
    found = {}
    for key in {key: None for row in history for key in row}:
        rows = np.array([row[key] for row in history if key in row], dtype=np.float64)
        ran = np.isfinite(rows)
        last = len(rows) - 1 - ran[::-1].argmax(axis=0)
        values = rows[last, np.arange(rows.shape[1])][ran.any(axis=0)]
        if len(values):
            found[key] = float(values.mean())
    return found
