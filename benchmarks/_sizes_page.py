"""The page's part over all sizes: the goals name data sets, and no number of training rows."""

from _evidence_page import DATASETS, NAMES, WORDS, summary, table
from _evidence_table import Runs, cells_of, compare
from _fit_times import Times

__all__ = ["METHOD", "gaps_table", "sizes_section", "sizes_with"]

METHOD, RIVAL = "sve_subspaces", "deep"
SHOWN = ("nll", "nll_scaled", "ece", "ece_scaled", "accuracy", "auroc_mi")
INTRODUCTION = """\
The goals speak of averages over data sets and name no number of training rows. Here each data set counts
once, with the mean of its sizes, and each size with the mean of its seeds. That is kinder than the tables of
single sizes: what is won with few rows makes up for what is lost with more."""


def sizes_with(runs: Runs) -> tuple[int | None, ...]:
    """Numbers of rows with runs of both methods, smallest first."""
    both = [{key[2] for key in runs if key[1] == name} for name in (METHOD, RIVAL)]
    return tuple(sorted(set.intersection(*both), key=lambda n: (n is None, n)))


def sizes_section(runs: Runs, times: Times | None = None) -> list[str]:
    """Bars over all sizes, and what each data set adds to them; nothing where there are not several."""
    sizes = sizes_with(runs)
    bars = summary(runs, sizes, [METHOD], times) if len(sizes) > 1 else []
    if not bars:
        return []
    gaps = gaps_table(runs, sizes, times)
    return ["## All sizes together", "", INTRODUCTION, "", *bars, *gaps]


def gaps_table(runs: Runs, sizes: tuple[int | None, ...], times: Times | None = None) -> list[str]:
    """What each data set adds to the bars: the method's mean minus the rival's."""
    found = {metric: compare(runs, METHOD, RIVAL, sizes, metric) for metric in SHOWN}
    there = {d for c in found.values() if c is not None for d in c.datasets}
    names = [d for d in DATASETS if d in there]
    body = []
    for metric, c in found.items():
        if c is not None:
            gaps = [c.datasets[d][0] if d in c.datasets else None for d in names]
            words = ["-" if g is None else f"{g:+.4f}" for g in [*gaps, c.difference]]
            body.append([WORDS[metric], *words])
    for cpu, by in (times or {}).items():
        shares = [by.get(METHOD, {}).get(d) for d in names]
        known = [share for share in shares if share is not None]
        if known:
            means = [*shares, sum(known) / len(known)]
            words = ["-" if share is None else f"{share:.3f}" for share in means]
            body.append([f"time of fit, deep ensemble = 1 ({cpu})", *words])
    rows_of = {
        d: ", ".join(f"{n:,}" if n else "all" for n in sizes if _has(runs, d, n)) for d in names
    }
    body.append(["training rows", *(rows_of[d] for d in names), ""])
    head = [f"{NAMES[METHOD]} minus {NAMES[RIVAL]}", *(DATASETS[d] for d in names), "mean"]
    return table(head, body)


def _has(runs: Runs, dataset: str, rows: int | None) -> bool:
    return any(d == dataset for d, _ in cells_of(runs, METHOD, rows, "nll"))
