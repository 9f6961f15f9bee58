"""Which part does what? SVE with one thing changed at a time, judged on validation rows only.

    python -m benchmarks.evidence.ablations --list              # what is done, and what the rest will take
    python -m benchmarks.evidence.ablations --time-limit 60     # goes on where it was; may be started twice
    python -m benchmarks.evidence.ablations --only noise seed0  # cells whose name has all of these words
    python -m benchmarks.evidence.ablations --datasets newsgroups --rows 1000 --seeds 0 1 2

Cells are worked off as the grid's runs are, and go to benchmarks/results/ablations.jsonl as
DATASET/VARIANT-nROWS-seedK. All variants of a data set have the same rates and epochs (`RATES`, those that
the grid's trials chose for SVE when the ablations began), written down here so that cells stay comparable
when the trials change, and run in bfloat16, which takes half the time on a CPU with AMX. Rows are drawn as
the grid's training and validation rows are; test rows are not met. Every cell also says what fewer members
and the mean of logits would have given. benchmarks.evidence.report makes the table.
"""

import argparse
import copy
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from skorch.callbacks import Callback
from torch import nn

from benchmarks.common.results import RESULTS, Table, provenance
from benchmarks.evidence.grid import Job, read_config
from benchmarks.evidence.methods import fit_and_predict
from benchmarks.evidence.page import prose
from benchmarks.evidence.run import Evidence, run_name, work
from benchmarks.evidence.score import METRICS, diversity, pack_rows, pooled, unpack_rows
from benchmarks.evidence.tables import interval_of_means
from sksve.adapters import SVDLinear

__all__ = ["VARIANTS", "Ablations", "Freeze", "SharedHead", "Variant", "ablation_section"]

#: More than the grid's: differences between variants are small.
N_VALIDATION = 600
RATES = {
    "movie_reviews": {"lr": 1e-2, "head_lr": 1e-3},
    "newsgroups": {"lr": 5e-3, "head_lr": 1e-2},
}
ELSEWHERE = {"lr": 1e-2, "head_lr": 1e-2}
FIXED = {"max_epochs": 4, "precision": "bfloat16"}


# -- variants ----------------------------------------------------------------------------------------


class Freeze(Callback):
    """Keep a kind of parameters at its start: "values", "bias_delta" or "heads"; it stays random."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Find them."""
        if self.kind == "heads":
            self.frozen_ = list(net.module_.heads.parameters())
        else:
            found = (getattr(layer, self.kind) for layer in layers_of(net))
            self.frozen_ = [p for p in found if p is not None]

    def on_grad_computed(self, net: Any, **kwargs: Any) -> None:
        """Take their gradients away: AdamW passes them over, weight decay and all."""
        for p in self.frozen_:
            p.grad = None

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Forget them."""
        del self.frozen_


class SharedHead(Callback):
    """One head for all members: it starts as the first one's and moves by the mean of the gradients."""

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Start alike."""
        _tie(net.module_.heads)

    def on_grad_computed(self, net: Any, **kwargs: Any) -> None:
        """Move alike."""
        for p in net.module_.heads.parameters():
            if p.grad is not None:
                p.grad.copy_(p.grad.mean(dim=0, keepdim=True).expand_as(p.grad))


def layers_of(net: Any) -> Iterator[SVDLinear]:
    """Adapted layers, first block first."""
    return (layer for layer in net.module_.split.modules() if isinstance(layer, SVDLinear))


@torch.no_grad()
def _tie(heads: nn.Module) -> None:
    for p in heads.parameters():
        p.copy_(p[:1].expand_as(p).clone())


@dataclass(frozen=True)
class Variant:
    """One change of the base: parameters of SVEClassifier, and callbacks that act on members."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    callbacks: Callable[[], list[Any]] = list
    more: str = ""  # what the name does not say


#: A core of the last four blocks, at a rate between those that trials of it chose for the two data sets.
CORE: dict[str, Any] = {
    "adapt_blocks": 4, "rank": 34, "off_diagonals": 33, "init_scale": 0.02, "band_init_scale": 0.02,
    "lr": 3e-3,
}  # fmt: skip

#: A core of all blocks without noise and biases, at rates and epochs between those of the two data sets.
SUBSPACES: dict[str, Any] = {
    "rank": 34, "off_diagonals": 33, "init_scale": 0.0, "train_bias": False, "lr": 6e-3, "max_epochs": 3,
}  # fmt: skip

#: What the evidence is about: random subspaces, at learning rates between those of the two data sets.
PRESET: dict[str, Any] = {
    "adapt_blocks": 4, "rank": 42, "off_diagonals": 41, "direction_pool": 64, "core_optimizer": "muon",
    "lr": 8e-3, "head_lr": 5e-3, "weight_decay": 5.0, "max_epochs": 3, "batch_size": 16,
    "init_scale": 0.0, "train_bias": False, "freeze_out": 0.5,
}  # fmt: skip

#: The cheapest and most telling first. All blocks are adapted, unless the name says otherwise.
VARIANTS = (
    Variant("base", more="noise 0.1 at all six blocks, biases, a head a member, batches of its own"),
    Variant("one_head", {}, lambda: [SharedHead()], "one head for all members"),
    Variant("frozen_heads", {}, lambda: [Freeze("heads")], "they stay random"),
    Variant("frozen_biases", {}, lambda: [Freeze("bias_delta")], "they stay random"),
    Variant("frozen_values", {}, lambda: [Freeze("values")], "singular values stay random"),
    Variant("one_head_noise_0", {"init_scale": 0.0}, lambda: [SharedHead()],
            "only the batches differ"),
    Variant("one_head_shared_batches", {"member_batches": "shared"}, lambda: [SharedHead()],
            "only the noise differs"),
    Variant("shared_batches", {"member_batches": "shared"}),
    Variant("no_bias", {"train_bias": False}),
    Variant("noise_0", {"init_scale": 0.0}),
    Variant("noise_0_no_bias", {"init_scale": 0.0, "train_bias": False},
            more="values and heads learn; biases stay at the pretrained ones"),
    Variant("noise_0_frozen_values", {"init_scale": 0.0}, lambda: [Freeze("values")],
            "biases and heads learn; values stay at the pretrained ones"),
    Variant("noise_0.03", {"init_scale": 0.03}),
    Variant("noise_0.2", {"init_scale": 0.2}),
    Variant("noise_0.3", {"init_scale": 0.3}),
    Variant("last_3_blocks", {"adapt_blocks": 3}),
    Variant("core", CORE, more="of the last four blocks"),
    Variant("core_one_head", CORE, lambda: [SharedHead()], "the same, one head for all members"),
    Variant("core_noise_0", {**CORE, "init_scale": 0.0, "band_init_scale": 0.0}),
    Variant("core_noise_0.05", {**CORE, "init_scale": 0.05, "band_init_scale": 0.05}),
    Variant("core_last_3_blocks", {**CORE, "adapt_blocks": 3}),
    Variant("core_all_blocks", {**CORE, "adapt_blocks": None}),
    Variant("core_all_blocks_no_bias", {**CORE, "adapt_blocks": None, "init_scale": 0.0,
            "band_init_scale": 0.0, "train_bias": False}, more="and no noise"),
    Variant("leading_3_epochs", SUBSPACES, more="core of the leading 34 directions, all blocks"),
    Variant("subspaces_64", {**SUBSPACES, "direction_pool": 64}, more="34 of 64, each member its own"),
    Variant("subspaces_64_muon", {**SUBSPACES, "direction_pool": 64, "core_optimizer": "muon"},
            more="the same, cores moved by Muon"),
    Variant("subspaces_128", {**SUBSPACES, "direction_pool": 128}, more="34 of 128"),
    Variant("random_subspaces", PRESET, more="the preset: four blocks, 42 of 64, Muon, early stops"),
    Variant("random_subspaces_one_head", PRESET, lambda: [SharedHead()],
            "the same, one head for all members"),
    Variant("attention", {"target_modules": "attention"}),
    Variant("mlp", {"target_modules": "mlp"}),
    Variant("last_block", {"adapt_blocks": 1}),
    Variant("last_2_blocks", {"adapt_blocks": 2}),
    Variant("last_2_blocks_noise_0.3", {"adapt_blocks": 2, "init_scale": 0.3}),
    Variant("rank_16", {"rank": 16}),
    Variant("rank_64", {"rank": 64}),
    Variant("rank_192", {"rank": 192}),
    Variant("off_diagonals_1", {"off_diagonals": 1}),
    Variant("off_diagonals_2", {"off_diagonals": 2}),
    Variant("core_16", {"rank": 16, "off_diagonals": 15}, more="all blocks"),
    Variant("noise_0.5", {"init_scale": 0.5}),
    Variant("members_16", {"n_members": 16}),
)  # fmt: skip
#: Their code is gone since commit 277e9c9; their cells stay, and the page shows them.
RETIRED = (
    "mirrored", "orthogonal", "anchored_1", "anchored_10", "member_scales", "fisher_more",
    "fisher_less", "averaged", "noise_0.3_depth", "noise_0.5_depth",
)  # fmt: skip
ORDER = (*(variant.name for variant in VARIANTS), *RETIRED)


# -- cells ----------------------------------------------------------------------------------------


class Ablations:
    """Variants x data sets x seeds at one number of training rows."""

    def __init__(self, config: dict[str, Any], results: Path, *, n_validation: int = N_VALIDATION):
        self.config = copy.deepcopy({k: v for k, v in config.items() if k != "backbones"})
        self.config["backbones"] = config["backbones"]  # may hold a model
        self.estimates = Evidence(config, results)
        self.config["rows"]["validation"] = n_validation
        self.grid = Evidence(self.config, results)
        self.table = Table(results / "ablations.jsonl")

    def jobs(
        self,
        datasets: Sequence[str],
        rows: int,
        seeds: Sequence[int],
        only: Sequence[str] = (),
        variants: Sequence[Variant] = VARIANTS,
    ) -> list[Job]:
        """Cells in order."""
        jobs: dict[str, Job] = {}
        for seed, variant, dataset in itertools.product(seeds, variants, datasets):
            name = run_name(dataset, variant.name, rows, seed)
            if all(word in name for word in only):
                jobs[name] = self._job(name, dataset, variant, rows, seed)
        return list(jobs.values())

    def _job(self, name: str, dataset: str, variant: Variant, rows: int, seed: int) -> Job:
        members = variant.settings.get("n_members", self.config["members"]) / self.config["members"]
        return Job(
            self.table,
            name,
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
            "provenance": provenance(threads=torch.get_num_threads()),
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
        self.table.put(run_name(dataset, variant.name, rows, seed), content)


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
    return {
        "n_members": n_members,
        "scores": judge(pooled(members), y),
        "scores_mean_of_logits": judge(mean_of_logits(members), y),
        "nll_of_first_members": {k: judge(pooled(members[:k]), y)["nll"] for k in counts},
        "diversity": diversity(members),
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


# -- the page ----------------------------------------------------------------------------------------

#: (data set, rows) -> variant -> seed -> cell
Cells = dict[tuple[str, int], dict[str, dict[int, dict[str, Any]]]]


def load_ablations(table: Table) -> Cells:
    """Every finished cell."""
    found: Cells = {}
    for _, cell in sorted(table.rows().items()):
        group = found.setdefault((cell["dataset"], cell["rows"]), {})
        group.setdefault(cell["variant"], {})[cell["seed"]] = cell
    return found


def ablation_section(cells: Cells) -> list[str]:
    """Tables of every data set and size."""
    if not cells:
        return []
    lines = ["# Ablations", "", prose("ablations", retired=", ".join(RETIRED)), ""]
    for rows in sorted({n for _, n in cells}):
        lines += _verdicts(cells, rows)
    for (dataset, rows), group in sorted(cells.items()):
        missing = [name for name in ORDER if name not in group]
        lines += [f"## {dataset}, {rows} training rows", ""]
        if missing:
            lines += [f"Not run yet: {', '.join(missing)}.", ""]
        lines += [
            "| variant | seeds | NLL | difference | 95 % interval | NLL, mean of logits | NLL, one member "
            "| ECE | accuracy | disagreement | mutual information |",
            "|" + " --- |" * 11,
        ]
        names = [name for name in ORDER if name in group] + sorted(set(group) - set(ORDER))
        lines += [_row(name, group) for name in names]
        lines += ["", *_members(group), ""]
    return lines


def _row(name: str, group: dict[str, dict[int, dict[str, Any]]]) -> str:
    cells, base = group[name], group.get("base", {})

    def mean(*path: str) -> str:
        values = []
        for cell in cells.values():
            value: Any = cell
            for key in path:
                value = value[key]
            values.append(value)
        return f"{np.mean(values):.3f}"

    found = None if name == "base" else _difference(cells, base)
    gap, interval = "-", "-"
    if found is not None:
        gap, interval = f"{found[0]:+.3f}", f"{found[1]:+.3f} to {found[2]:+.3f}"
    spread = ["-", "-"]
    if all(cell["diversity"] for cell in cells.values()):
        spread = [mean("diversity", name) for name in ("disagreement", "mutual_information")]
    columns = [
        name,
        " ".join(map(str, sorted(cells))),
        mean("scores", "nll"),
        gap,
        interval,
        mean("scores_mean_of_logits", "nll"),
        mean("nll_of_first_members", "1"),
        mean("scores", "ece"),
        mean("scores", "accuracy"),
        *spread,
    ]
    return f"| {' | '.join(columns)} |"


def _difference(cells: Any, base: Any) -> tuple[float, float, float] | None:
    """NLL minus the base's over the seeds that both have, with its 95 % interval; None without any."""
    both = sorted(cells.keys() & base.keys())
    if not both:
        return None
    rows = [[unpack_rows(c["rows_validation"])["nll"] for c in (cells[s], base[s])] for s in both]
    gaps = [a - b for a, b in rows]
    return float(np.mean([g.mean() for g in gaps])), *interval_of_means(gaps)


def _verdicts(cells: Cells, rows: int) -> list[str]:
    """Which variants beat the base, or lose to it, on every data set of this size."""
    groups = [group for (_, n), group in sorted(cells.items()) if n == rows]
    if len(groups) < 2:
        return []
    better, worse = [], []
    for name in ORDER:
        found = [_difference(group.get(name, {}), group.get("base", {})) for group in groups]
        if name == "base" or None in found:
            continue
        gaps = [f for f in found if f is not None]
        said = f"{name} ({', '.join(f'{f[0]:+.3f}' for f in gaps)})"
        if all(f[2] < 0 for f in gaps):
            better.append(said)
        if all(f[1] > 0 for f in gaps):
            worse.append(said)
    return [
        f"{rows} rows, differences in NLL whose interval leaves zero out on every data set. Better than the "
        f"base: {', '.join(better) or 'none'}. Worse: {', '.join(worse) or 'none'}.",
        "",
    ]


def _members(group: dict[str, dict[int, dict[str, Any]]]) -> list[str]:
    """NLL by the number of members, of the variant with the most."""
    name = max(group, key=lambda n: (max(c["n_members"] for c in group[n].values()), n == "base"))
    cells = list(group[name].values())
    counts = sorted(map(int, set.intersection(*(set(c["nll_of_first_members"]) for c in cells))))
    values = [np.mean([c["nll_of_first_members"][str(k)] for c in cells]) for k in counts]
    said = ", ".join(f"{k}: {value:.3f}" for k, value in zip(counts, values))
    return [f"NLL by number of members ({name}): {said}."]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="grid", help="name of a file in evidence/configs")
    parser.add_argument("--datasets", nargs="+", default=list(RATES))
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", default=[], help="words a cell's name must have")
    parser.add_argument("--time-limit", type=float, metavar="MINUTES")
    parser.add_argument("--list", action="store_true", help="cells and estimated CPU seconds")
    args = parser.parse_args()
    torch.set_num_threads(1)
    ablations = Ablations(read_config(args.config), RESULTS)
    jobs = ablations.jobs(args.datasets, args.rows, args.seeds, args.only)
    work(jobs, minutes=args.time_limit, listed=args.list)


if __name__ == "__main__":
    main()
