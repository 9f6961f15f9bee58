"""Do the defaults hold on text of another kind? Rate, head start and epochs, judged on shifted text too.

    python benchmarks/shift.py

Trains on the first 1,000 reviews as benchmarks/defaults.py does, and judges on validation reviews (rows 6,000
to 6,599) and on validation rows 2,000 to 2,599 of the Amazon sentences and the tweets: none of them is in the
quick start's test sets. Score: the mean of the three negative log-likelihoods. Writes results/shift.json
after every trial.
"""

import argparse
import itertools
import json
import time

import torch
from _record import RESULTS, write
from defaults import judge

from sksve import SVEClassifier
from sksve.backbones import fetch_backbone
from sksve.baselines import LinearProbeClassifier
from sksve.datasets import fetch_amazon_reviews, fetch_movie_reviews, fetch_tweets

GRID = {
    "lr": [1e-2, 3e-3],
    "head_init_scale": [0.01, 0.2],
    "max_epochs": [4],
}
ROWS, VALIDATION, SHIFTED = 1000, slice(6000, 6600), slice(2000, 2600)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument(
        "--part", type=int, nargs=2, default=(0, 1), help="i n: every n-th trial from i"
    )
    parser.add_argument("--resume", action="store_true", help="skip the trials that are recorded")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    fetch_backbone("all-MiniLM-L6-v2")
    movies, amazon, tweets = fetch_movie_reviews(), fetch_amazon_reviews(), fetch_tweets()
    judged = {
        "reviews": (movies.data[VALIDATION], movies.target[VALIDATION]),
        "amazon": (amazon.data[SHIFTED], amazon.target[SHIFTED]),
        "tweets": (tweets.data[SHIFTED], tweets.target[SHIFTED]),
    }
    contenders = [("probe", LinearProbeClassifier(random_state=0))]
    for epochs, head, lr in itertools.product(
        GRID["max_epochs"], GRID["head_init_scale"], GRID["lr"]
    ):
        settings = {"lr": lr, "head_init_scale": head, "max_epochs": epochs}
        clf = SVEClassifier(
            n_members=3,
            adapt_blocks=2,
            init_scale=0.3,
            weight_decay=0.0,
            random_state=0,
            **settings,
        )
        contenders.append((json.dumps(settings), clf))
    done = json.loads((RESULTS / "shift.json").read_text())["trials"] if args.resume else {}
    for name, clf in contenders[args.part[0] :: args.part[1]]:
        if name in done:
            continue
        start = time.perf_counter()
        clf.fit(movies.data[:ROWS], movies.target[:ROWS])
        seconds = time.perf_counter() - start
        found = {domain: judge(clf, X, y) for domain, (X, y) in judged.items()}
        score = sum(f["nll"] for f in found.values()) / len(found)
        path = RESULTS / "shift.json"  # another part may write to it meanwhile
        trials = json.loads(path.read_text())["trials"] if path.exists() else {}
        trials[name] = {"score": score, "fit_seconds": seconds, **found}
        write("shift", {"question": "Do the defaults hold on shifted text?", "trials": trials})
        short = {d: (round(f["nll"], 3), round(f["ece"], 3)) for d, f in found.items()}
        print(f"{score:.4f} {name} {short} {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
