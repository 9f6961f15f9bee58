"""Fits that the processes of test_data_parallel.py run, together or alone.

    python -m torch.distributed.run --nproc_per_node 2 data_parallel_fits.py FOLDER NAME ...

Each process writes what it has learned to FOLDER/NAME-RANK.npz. DATA_PARALLEL_DEVICE=cuda: on GPUs.
"""

import os
import sys
from pathlib import Path

import numpy as np

from sksve import SVEClassifier
from sksve.backbones import make_tiny_backbone
from sksve.baselines import BatchEnsembleClassifier, LoRAEnsembleClassifier
from tests import making

TEXTS = [*making.TEXTS, "poor film"]
LABELS = [*making.LABELS, "neg"]
WEIGHTS = np.linspace(0.2, 2.0, len(TEXTS))
SOFT = np.stack([np.linspace(0, 1, 13), 1 - np.linspace(0, 1, 13)], axis=1)

SETTINGS = {"n_members": 3, "max_epochs": 2, "batch_size": 4, "lr": 0.02, "head_lr": 0.02,
            "precision": "float64", "random_state": 0, "device": "cpu"}  # fmt: skip

#: Name -> changed parameters. 13 rows in batches of 4, 5 or 3: odd shares, and a last batch of one row.
CASES = {
    "independent": {},
    "shared": {"shared_batches": True, "batch_size": 5},
    "float32": {"precision": "float32", "batch_size": 3},
    "stopping": {"early_stopping": True, "validation_fraction": 0.3, "max_epochs": 6,
                 "patience": 1, "lr": 0.3, "weight_decay": 0.1},
    "frozen": {"adapt_blocks": 1, "batch_size": 4, "off_diagonals": 1, "rank": 5},
    "own directions": {"batch_size": 5, "off_diagonals": 1, "rank": 3, "direction_pool": 6},
    "muon": {"optimizer": "muon", "batch_size": 5, "core": "full", "rank": 3},
    "freeze out": {"freeze_out": 0.4, "batch_size": 5},
    "one row": {"batch_size": 1, "max_epochs": 1, "max_grad_norm": None},
    "soft": {"batch_size": 7},
    "lora": {"batch_size": 5, "rank": 2},
    "batch ensemble": {"batch_size": 5, "early_stopping": True, "validation_fraction": 0.3},
}  # fmt: skip
KINDS = {"lora": LoRAEnsembleClassifier, "batch ensemble": BatchEnsembleClassifier}


def new(kind=SVEClassifier, **changes):
    return making.new(kind, make_tiny_backbone(), **SETTINGS | changes)


def fit(name, **changes):
    clf = new(KINDS.get(name, SVEClassifier), **CASES[name] | changes)
    clf.fit(TEXTS, SOFT if name == "soft" else LABELS, sample_weight=WEIGHTS)
    if name == "shared":  # and on, from where it is
        clf.partial_fit(TEXTS[:7], LABELS[:7])
    return clf


def learned(clf):
    """What fit has learned, as arrays by name."""
    found = {
        f"p{i}": p.detach().cpu().numpy()
        for i, p in enumerate(clf.net_.module_.member_parameters())
    }
    found["proba"] = clf.predict_proba_members(TEXTS)
    for key in clf.history_[0]:
        found[f"history {key}"] = np.stack([epoch[key] for epoch in clf.history_])
    return found


def main(folder, names):
    for name in names:
        clf = fit(name, data_parallel=True, device=os.environ.get("DATA_PARALLEL_DEVICE", "cpu"))
        np.savez(Path(folder) / f"{name}-{os.environ['RANK']}.npz", **learned(clf))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
