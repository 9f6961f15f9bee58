"""Fit and predict with the README's settings, by two trees of sksve in turns: CPU seconds and peak memory.

    python tools/compare_speed.py OLD_TREE [NEW_TREE] [--rounds 5] [--json FILE]

Each tree runs in a process of its own, on one thread; the two take turns, and the ratio is taken round by
round. A first fit, which fills caches, is not counted.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve()
SETTINGS = {
    "two blocks, 200 reviews": {"n_members": 5, "adapt_blocks": 2, "init_scale": 0.3},
    "random subspaces, 200 reviews": {"preset": True},
}


def make(settings):
    import inspect

    from sksve import SVEClassifier

    if "preset" in settings:
        import sksve

        if preset := getattr(sksve, "RANDOM_SUBSPACES", None):
            return SVEClassifier(random_state=0, **preset)
        learned = {"optimizer": "muon", "head_lr": 5e-3, "head_init_scale": 0.01, "init_scale": 0.0}
        return SVEClassifier(
            adapt_blocks=4, rank=42, core="full", direction_pool=64, lr=8e-3, weight_decay=5.0,
            max_epochs=3, batch_size=16, random_state=0,
            training=sksve.Training(**learned, decay_to="pretrained", train_bias=False, freeze_out=0.5),
        )  # fmt: skip
    settings = dict(settings)
    if "init_scale" not in inspect.signature(SVEClassifier).parameters:
        from sksve import Training

        # What "auto" stood for in the old tree.
        settings |= {"rank": None, "core": "diagonal", "direction_pool": None, "max_epochs": 4}
        settings |= {"batch_size": 32, "lr": 3e-3, "weight_decay": 0.0}
        learned = {
            "optimizer": "adamw",
            "head_lr": 1e-2,
            "head_init_scale": 0.01,
            "freeze_out": None,
        }
        settings["training"] = Training(init_scale=settings.pop("init_scale"), **learned)
    return SVEClassifier(random_state=0, **settings)


def work():
    """Answer commands on stdin: a name of SETTINGS; out come CPU seconds of fit and of predict."""
    from sksve.datasets import fetch_movie_reviews

    reviews = fetch_movie_reviews()
    X, y, unseen = reviews.data[:200], reviews.target[:200], reviews.data[8000:8400]
    for line in sys.stdin:
        clf = make(SETTINGS[line.strip()])
        start = time.process_time()
        clf.fit(X, y)
        middle = time.process_time()
        clf.predict_proba(unseen)
        seconds = middle - start, time.process_time() - middle
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps([*seconds, peak]), flush=True)


def start(tree):
    environment = os.environ | {
        "PYTHONPATH": str(tree),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, str(HERE), "--worker", str(tree)]
    return subprocess.Popen(  # nosec B603 # the command is ours, there is no shell
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=tree
    )


def ask(process, name):
    process.stdin.write(name + "\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path, nargs="?", default=HERE.parent.parent)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return work()
    results = {"machine": platform.processor() or platform.machine(), "rounds": args.rounds}
    for name in SETTINGS:
        processes = [start(tree.resolve()) for tree in (args.old, args.new)]
        for process in processes:
            ask(process, name)
        rounds = [[ask(process, name) for process in processes] for _ in range(args.rounds)]
        rows = {}
        for i, what in enumerate(("fit", "predict")):
            old = [row[0][i] for row in rounds]
            new = [row[1][i] for row in rounds]
            rows[what] = {
                "old_cpu_seconds": statistics.median(old),
                "new_cpu_seconds": statistics.median(new),
                "ratio": statistics.median(b / a for a, b in zip(old, new)),
            }
        rows["peak_megabytes"] = [round(max(r[k][2] for r in rounds) / 1e6) for k in (0, 1)]
        results[name] = rows
        print(name, json.dumps(rows, indent=1), flush=True)
        for process in processes:
            process.stdin.close()
            process.wait()
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
