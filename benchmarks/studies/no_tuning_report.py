"""The page about runs without tuning: which goals are met, and the tables (see benchmarks/no_tuning.py)."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from benchmarks.common.results import Row

__all__ = ["goals", "means", "readme_table", "report", "with_table"]

MAIN = ("sve", "frozen_lr", "tfidf_lr")
NAMES = {
    "sve": "`SVEClassifier()`",
    "frozen_lr": "frozen + LR",
    "tfidf_lr": "TF-IDF + LR",
    "deep_tuned": "deep ensemble, tuned",
    "setfit": "SetFit",
    "deep": "`DeepEnsembleClassifier()`",
    "fine_tuned": "`FineTunedClassifier()`",
    "probe": "`LinearProbeClassifier()`",
    "lora": "`LoRAEnsembleClassifier()`",
    "batch_ensemble": "`BatchEnsembleClassifier()`",
    "mc_dropout": "`MCDropoutClassifier()`",
    "laplace": "`LaplaceClassifier()`",
}
MEASURES = ("nll", "accuracy", "ece", "best_temperature", "cpu_seconds")
INTRODUCTION = """\
# Without tuning

What you get if you tune nothing. `python -m benchmarks.no_tuning` makes the runs and `--report` this page;
each run is a row of `benchmarks/results/no_tuning.jsonl`.

- Development data: the rules were chosen on rows of these data sets, so other data will be less kind.
- Up to 500 test rows per set, texts cut to 40 words, one thread, probabilities before any calibration.
- Frozen + LR: L2-normalised mean vectors of the same backbone and `LogisticRegressionCV` by log loss.
  TF-IDF + LR: words and pairs of words, and the same regression.
- The tuned deep ensemble has the settings that trials on validation rows chose for it (evidence.md).
- CPU seconds hang on what else the machine does: these runs had some ten busy processes beside them on
  two cores. Compare contenders; for the goal in seconds take a quiet machine.
- A best temperature above 1 says overconfident, below 1 underconfident.
"""

Means = dict[str, dict[str, dict[str, float]]]


def means(rows: Sequence[Row], n: int, contenders: Sequence[str]) -> Means:
    """Data set -> contender -> means over the seeds that all these contenders have, with n training rows."""
    by_cell: dict[tuple[str, int], dict[str, Row]] = {}
    for row in rows:
        if row["rows"] == n and row["contender"] in contenders:
            by_cell.setdefault((row["data"], row["seed"]), {})[row["contender"]] = row
    by_set: dict[str, list[dict[str, Row]]] = {}
    for (name, _), found in by_cell.items():
        if len(found) == len(contenders):
            by_set.setdefault(name, []).append(found)
    return {
        name: {
            c: {k: float(np.mean([r[c][k] for r in full])) for k in MEASURES} for c in contenders
        }
        for name, full in by_set.items()
    }


def over_sets(pairs: Means, contender: str) -> dict[str, float]:
    """Means over data sets."""
    return {k: float(np.mean([p[contender][k] for p in pairs.values()])) for k in MEASURES}


# -- goals ---------------------------------------------------------------------------------------------

Verdict = tuple[str, bool | None, str]


def goals(rows: Sequence[Row]) -> list[Verdict]:
    """Each goal, whether it is met (None: no runs), and the figures."""
    found: list[Verdict] = []
    for n, mean, worst in ((50, 0.0, 0.03), (200, -0.05, 0.0), (1000, -0.05, 0.0)):
        gaps = _compare(rows, n, "frozen_lr", "nll")
        by = " by 0.05" if mean else ""
        found += [
            _goal(f"{n} rows: NLL below frozen + LR{by} in the mean", gaps, mean=mean),
            _goal(
                f"{n} rows: NLL at most {worst} above frozen + LR on every set", gaps, worst=worst
            ),
        ]
    for n in (50, 200, 1000):
        gaps = _compare(rows, n, "deep_tuned", "nll")
        found.append(
            _goal(f"{n} rows: NLL below the tuned deep ensemble in the mean", gaps, mean=0.0)
        )
    for n in (50, 200, 1000):
        ece = {d: p["sve"]["ece"] for d, p in means(rows, n, ("sve",)).items()}
        found += [
            _goal(f"{n} rows: ECE at most 0.05 in the mean", ece, mean=0.05),
            _goal(f"{n} rows: ECE at most 0.10 on every set", ece, worst=0.10),
        ]
    for rival in ("deep_tuned", "deep"):
        shares = _compare(rows, 200, rival, "cpu_seconds")
        words = f"200 rows: fit takes at most a third of the CPU time of {NAMES[rival]}"
        found.append(_goal(words, shares, mean=1 / 3))
    seconds = {d: p["sve"]["cpu_seconds"] for d, p in means(rows, 200, ("sve",)).items()}
    return [*found, _goal("200 rows: fit takes at most 40 CPU seconds", seconds, worst=40.0)]


def _compare(rows: Sequence[Row], n: int, rival: str, measure: str) -> dict[str, float]:
    """By data set, what SVE has more of than a rival (NLL), or its share of it (CPU time)."""
    pairs = means(rows, n, ("sve", rival))
    of = {d: (p["sve"][measure], p[rival][measure]) for d, p in pairs.items()}
    return {d: a - b if measure == "nll" else a / b for d, (a, b) in of.items()}


def _goal(
    words: str,
    values: Mapping[str, float],
    *,
    mean: float | None = None,
    worst: float | None = None,
) -> Verdict:
    if not values:
        return words, None, ""
    if mean is not None:
        got = float(np.mean([*values.values()]))
        return words, got <= mean, f"{got:.3f}, mean of {len(values)} sets"
    most = max(values, key=values.__getitem__)
    above = [f"{d} {v:.3f}" for d, v in sorted(values.items(), key=lambda x: -x[1]) if v > worst]
    return words, not above, ", ".join(above) or f"at most {values[most]:.3f} ({most})"


# -- the page ------------------------------------------------------------------------------------------


def report(rows: Sequence[Row], order: Iterable[str]) -> str:
    """Goals, then tables for each number of training rows; data sets in the order given."""
    order = list(order)
    rows = sorted(rows, key=lambda row: order.index(row["data"]))
    lines = [INTRODUCTION, "| goal | result | measured |", "|---|---|---|"]
    for words, met, measured in goals(rows):
        verdict = "no runs yet" if met is None else "met" if met else "**missed**"
        lines.append(f"| {words} | {verdict} | {measured} |")
    for n in sorted({row["rows"] for row in rows}):
        had = {row["contender"] for row in rows if row["rows"] == n}
        lines += ["", f"## {n:,} training rows", ""]
        lines += _main_table(rows, n, [c for c in MAIN if c in had])
        lines += _rivals_table(rows, n, [c for c in NAMES if c in had - set(MAIN)])
    return "\n".join(lines) + "\n"


def _main_table(rows: Sequence[Row], n: int, contenders: Sequence[str]) -> list[str]:
    pairs = means(rows, n, contenders)
    if not pairs:
        return []
    whole = {c: over_sets(pairs, c) for c in contenders}
    names = " | ".join(NAMES[c] for c in contenders)
    lines = [
        "NLL (accuracy / ECE), then the first one's best temperature, and CPU seconds of each fit:",
        "",
    ]
    lines += [f"| data | {names} | temperature | CPU s |", "|---" * (len(contenders) + 3) + "|"]
    for name, found in [*pairs.items(), ("**mean**", whole)]:
        cells = [f"{r['nll']:.3f} ({r['accuracy']:.3f} / {r['ece']:.3f})" for r in found.values()]
        times = " / ".join(f"{r['cpu_seconds']:.0f}" for r in found.values())
        temperature = found[contenders[0]]["best_temperature"]
        lines.append(f"| {name} | {' | '.join(cells)} | {temperature:.2f} | {times} |")
    return lines


def _rivals_table(rows: Sequence[Row], n: int, rivals: Sequence[str]) -> list[str]:
    body = []
    for rival in rivals:
        pairs = means(rows, n, ("sve", rival))
        if pairs:
            sve, other = over_sets(pairs, "sve"), over_sets(pairs, rival)
            both = [
                f"{other[k]:.{d}f} / {sve[k]:.{d}f}"
                for k, d in zip(MEASURES, (3, 3, 3, 2, 0), strict=True)
            ]
            body.append(f"| {NAMES[rival]} | {len(pairs)} | {' | '.join(both)} |")
    if not body:
        return []
    head = ["", "Each rival / `SVEClassifier()`, means over the data sets that both have:", ""]
    head += ["| rival | sets | NLL | accuracy | ECE | best temperature | CPU s |", "|---" * 7 + "|"]
    return [*head, *body]


# -- the README's table --------------------------------------------------------------------------------

MARKS = ("<!-- no_tuning.py -->", "<!-- end of no_tuning.py -->")


def readme_table(rows: Sequence[Row]) -> list[str]:
    """Means over data sets for each number of training rows."""
    head = [f"{NAMES[c]}" for c in MAIN]
    lines = ["| training rows | data sets | " + " | ".join(head) + " |", "|---" * 5 + "|"]
    for n in sorted({row["rows"] for row in rows}):
        pairs = means(rows, n, MAIN)
        if len(pairs) > 2:
            found = [over_sets(pairs, c) for c in MAIN]
            cells = [f"{r['nll']:.3f} ({r['accuracy']:.3f} / {r['ece']:.3f})" for r in found]
            lines.append(f"| {n:,} | {len(pairs)} | {' | '.join(cells)} |")
    return lines


def with_table(readme: str, rows: Sequence[Row]) -> str:
    """Put the table between the README's marks."""
    before, rest = readme.split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    return "\n".join([before + MARKS[0], *readme_table(rows), MARKS[1] + after])
