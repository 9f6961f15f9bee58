"""Kill fits by SIGKILL at random moments, let the same call finish, and compare the bits.

Run as a program by ``test_kills.py``: the process must not have trained before it forks.
"""

import json
import os
import random
import signal
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch

from sksve import SVEClassifier, Training
from sksve.backbones import make_tiny_backbone

TEXTS = ["good film", "bad film", "the story was great and very fun", "dull, the worst of all"] * 6
LABELS = ["pos", "neg"] * 12


def train(folder, backbone):
    clf = SVEClassifier(
        backbone, n_members=3, max_epochs=4, batch_size=4, early_stopping=True,
        random_state=0,
        training=Training(validation_fraction=0.2, checkpoint_dir=folder),
    )  # fmt: skip
    warnings.simplefilter("error")  # a half-written checkpoint would be told of
    return clf.fit(TEXTS, LABELS)


def outcome(clf):
    """Everything a fit leaves, but times, as bytes."""
    parts = [p.detach().numpy().tobytes() for p in clf.net_.module_.member_parameters()]
    parts += [row[key].tobytes() for row in clf.history_ for key in sorted(row)]
    return b"".join([*parts, clf.predict_proba(TEXTS).tobytes()])


def fork(folder, backbone, result=None):
    """Start a fit in a child; its outcome goes to the file `result`."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        data = outcome(train(folder, backbone))
        if result is not None:
            result.write_bytes(data)
        code = 0
    finally:
        os._exit(code)


def wait(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(scratch, n_kills, seed):
    rng = random.Random(seed)
    torch.set_num_threads(1)
    backbone = make_tiny_backbone()
    expected, whole = scratch / "expected", scratch / "whole"
    start = time.perf_counter()
    assert wait(fork(whole, backbone, expected)) == 0
    seconds = time.perf_counter() - start
    kills = resumed = 0
    files_seen = set()
    while kills < n_kills:
        folder, result = scratch / f"kill-{kills}", scratch / "result"
        killed_here = 0
        for _ in range(rng.choice([1, 1, 2, 3])):
            child = fork(folder, backbone)
            time.sleep(rng.uniform(0.0, seconds))
            os.kill(child, signal.SIGKILL)
            if wait(child) == -signal.SIGKILL:
                killed_here += 1
            else:
                break  # it was quicker
        if not killed_here:
            continue
        kills += killed_here
        found = list(folder.iterdir()) if folder.is_dir() else []
        resumed += any(path.name.startswith("members-") for path in found)
        files_seen |= {path.name[:8] for path in found}
        result.unlink(missing_ok=True)
        assert wait(fork(folder, backbone, result)) == 0
        assert result.read_bytes() == expected.read_bytes()
        left = [path.name for path in folder.iterdir() if not path.name.startswith(".")]
        assert left == []
    assert np.frombuffer(expected.read_bytes()[:4], np.float32).size == 1
    print(json.dumps({"kills": kills, "resumed": resumed, "files": sorted(files_seen)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
