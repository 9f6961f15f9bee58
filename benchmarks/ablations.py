"""Which part does what? SVE with one thing changed at a time, judged on validation rows only.

    python benchmarks/ablations.py --list              # what is done, and what the rest will take
    python benchmarks/ablations.py --time-limit 60     # goes on where it was; may be started twice
    python benchmarks/ablations.py --only noise seed0  # cells whose path has all of these words
    python benchmarks/ablations.py --datasets newsgroups --rows 1000 --seeds 0 1 2

Cells are worked off by the machinery of benchmarks/evidence.py: a JSON each, in benchmarks/results/ablations/
DATASET/VARIANT-nROWS-seedK.json. All variants of a data set have the same rates and epochs (`RATES`, those
that the grid's trials chose for SVE when the ablations began), written down here so that cells stay
comparable when the trials change, and run in bfloat16, which takes half the time on a CPU with AMX.
Rows are drawn as the grid's training and validation rows are; test rows are not met. Every cell also says
what fewer members and the mean of logits would have given. benchmarks/report.py makes the table.
"""

import argparse
import copy
import itertools
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _ablation_variants import VARIANTS, Variant
from _evidence_methods import fit_and_predict
from _evidence_score import METRICS, pack_rows, pooled
from _grid import Job, work_off
from _record import RESULTS
from evidence import Evidence

from sksve.metrics import member_disagreement, member_diversity, mutual_information

HERE = Path(__file__).parent
#: More than the grid's: differences between variants are small.
N_VALIDATION = 600
RATES = {
    "movie_reviews": {"lr": 1e-2, "head_lr": 1e-3},
    "newsgroups": {"lr": 5e-3, "head_lr": 1e-2},
}
ELSEWHERE = {"lr": 1e-2, "head_lr": 1e-2}
FIXED = {"max_epochs": 4, "precision": "bfloat16"}


class Ablations:
    """Variants x data sets x seeds at one number of training rows."""

    def __init__(self, config: dict[str, Any], results: Path, *, n_validation: int = N_VALIDATION):
        self.config = copy.deepcopy({k: v for k, v in config.items() if k != "backbones"})
        self.config["backbones"] = config["backbones"]  # may hold a model
        self.estimates = Evidence(config, results)
        self.config["rows"]["validation"] = n_validation
        self.grid = Evidence(self.config, results)
        self.results = results / "ablations"

    def path(self, dataset: str, variant: str, rows: int, seed: int) -> Path:
        """Where a cell's result is."""
        return self.results / dataset / f"{variant}-n{rows}-seed{seed}.json"

    def jobs(
        self,
        datasets: Sequence[str],
        rows: int,
        seeds: Sequence[int],
        only: Sequence[str] = (),
        variants: Sequence[Variant] = VARIANTS,
    ) -> list[Job]:
        """Cells in order."""
        jobs: dict[Path, Job] = {}
        for seed, variant, dataset in itertools.product(seeds, variants, datasets):
            path = self.path(dataset, variant.name, rows, seed)
            if all(word in f"{dataset}/{path.stem}" for word in only):
                jobs[path] = self._job(path, dataset, variant, rows, seed)
        return list(jobs.values())

    def _job(self, path: Path, dataset: str, variant: Variant, rows: int, seed: int) -> Job:
        members = variant.settings.get("n_members", self.config["members"]) / self.config["members"]
        return Job(
            path,
            lambda: self.run(dataset, variant, rows, seed),
            lambda: members * self.estimates.seconds_of_run(dataset, "sve", rows),
        )

    def run(self, dataset: str, variant: Variant, rows: int, seed: int) -> None:
        """Fit one variant, judge it on validation rows."""
        task = self.grid.task(dataset, rows, seed)
        m = variant.settings.get("n_members", self.config["members"])
        chosen = {**RATES.get(dataset, ELSEWHERE), **FIXED}
        settings = {**chosen, **variant.settings, "callbacks": variant.callbacks() or None}
        clf = self.grid.classifier(dataset, "sve", settings, seed, m)
        fit = fit_and_predict(clf, task, ["validation"])
        content = {
            "dataset": dataset,
            "variant": variant.name,
            "rows": rows,
            "seed": seed,
            "changed": variant.settings,
            "more": variant.more,
            "chosen": chosen,
            "cost": fit.cost,
            **score_members(fit.probabilities["validation"], task.validation.y),
        }
        self.grid.write(self.path(dataset, variant.name, rows, seed), content)


def score_members(members: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Judge an ensemble on rows: as it is, as the mean of logits, and its first members alone.

    Parameters
    ----------
    members : ndarray of shape (n_members, n_samples, n_classes)
    y : ndarray of shape (n_samples,)
        Column numbers.
    """
    n_members = len(members)
    counts = sorted({k for k in (1, 2, 3, 5, 8, 12, 16) if k <= n_members} | {n_members})
    diversity = None
    if n_members > 1:
        diversity = {
            "disagreement": float(member_disagreement(members).mean()),
            "pairwise_kl": float(member_diversity(members)),
            "mutual_information": float(mutual_information(members).mean()),
        }
    return {
        "n_members": n_members,
        "scores": judge(pooled(members), y),
        "scores_mean_of_logits": judge(mean_of_logits(members), y),
        "nll_of_first_members": {k: judge(pooled(members[:k]), y)["nll"] for k in counts},
        "diversity": diversity,
        "rows_validation": pack_rows(y, pooled(members)),
    }


def mean_of_logits(members: np.ndarray) -> np.ndarray:
    """Softmax of the mean of the members' log-probabilities: their geometric mean, normalised."""
    logs = np.log(np.maximum(members, np.finfo(np.float32).tiny), dtype=np.float64).mean(axis=0)
    p = np.exp(logs - logs.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def judge(proba: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Every metric of the grid."""
    names = np.arange(proba.shape[1])
    found = {"accuracy": float((proba.argmax(axis=1) == y).mean())}
    return found | {name: float(metric(y, proba, labels=names)) for name, metric in METRICS.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, default=HERE / "evidence.toml")
    parser.add_argument("--datasets", nargs="+", default=list(RATES))
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", default=[], help="words a cell's path must have")
    parser.add_argument("--time-limit", type=float, metavar="MINUTES")
    parser.add_argument("--list", action="store_true", help="cells and estimated CPU seconds")
    args = parser.parse_args()
    torch.set_num_threads(1)
    ablations = Ablations(tomllib.loads(args.config.read_text()), RESULTS)
    jobs = ablations.jobs(args.datasets, args.rows, args.seeds, args.only)
    if args.list:
        for job in jobs:
            print(
                f"{job.path.parent.name}/{job.path.stem:40s}",
                "done" if job.done else f"{job.seconds():6.0f} s",
            )
        return
    limit = None if args.time_limit is None else 60 * args.time_limit
    finished = work_off(jobs, seconds=limit, say=lambda line: print(line, flush=True))
    print("all done" if finished else "not all done: the same command goes on")


if __name__ == "__main__":
    main()
