"""The page's part on the clean check: what the grid chose, on rows and drawings that no list has seen."""

from collections.abc import Mapping

import numpy as np
from _evidence_page import differences, progress, summary
from _evidence_table import Runs, cells_of
from _fit_times import Times, mean_times
from _grid import Cell
from _sizes_page import METHOD, gaps_table, sizes_with

__all__ = ["unseen_section", "unseen_summary"]

INTRODUCTION = """\
Lists of trials were changed after test results of the runs above were known (the history tells which), so
those runs are no clean test of what the lists chose. This is one. The settings are those above; training and
validation rows are three other drawings (seeds 3 to 5), and test rows are the up to 1,000 behind the first
400 of each data set (600 of fine foods), foreign rows those behind the first 200
(`benchmarks/evidence_unseen.toml`, `evidence_unseen_more_rows.toml`). Rows, drawings, settings and this text
were settled before random subspaces had been judged on any of these rows, and nothing is chosen by them: the
verdict is over both sizes together, each data set counting once, whatever it says. Once read the rows are
seen, and a later change of a list needs others. The drawings come from the training parts whose other rows
scratch runs were judged by. Times of fit in turns are those measured above."""

INTERVALS = """\
Intervals draw the six runs (two sizes, three drawings) within each data set; p is Wilcoxon's signed-rank test
over the pairs of runs. The last column counts data sets by the interval of their test rows. Whole fits are
told by CPU time, one after the other and each twice (`python benchmarks/fit_time.py --methods sve_subspaces
--whole`, and the same with `--config benchmarks/evidence_more_rows.toml --rows 1000`). CPU time of these runs
is the mean of each run's share of its deep ensemble's, of whatever hours both were made in, two processes at
once, and of the code of that day."""

#: Times of each number of training rows.
TimesOf = Mapping[int | None, Times]


def unseen_summary(runs: Runs, times_of: TimesOf) -> list[str]:
    """Table of the bars over all sizes that there are; nothing without runs of both methods."""
    sizes = sizes_with(runs)
    return summary(runs, sizes, [METHOD], _mean_times(sizes, times_of)) if sizes else []


def unseen_section(
    runs: Runs, cells: list[Cell], times_of: TimesOf, whole_of: TimesOf | None = None
) -> list[str]:
    """Bars over all sizes and of each, and what every data set adds; nothing without runs of both methods.

    `cells` are those of the grids; times are of fits in turns, and of whole fits, which no bar is about.
    """
    whole_of = whole_of or {}
    bars = unseen_summary(runs, times_of)
    if not bars:
        return []
    sizes = sizes_with(runs)
    lines = ["## The clean check", "", INTRODUCTION, "", *progress(runs, cells), *bars]
    lines += gaps_table(runs, sizes, _all_times(runs, sizes, times_of, whole_of))
    lines += [INTERVALS, "", *differences(runs, sizes, METHOD)]
    for rows in sizes if len(sizes) > 1 else ():
        lines += [f"### Of these, {rows or 'all'} training rows", ""]
        lines += summary(runs, rows, [METHOD], times_of.get(rows, {}))
        lines += gaps_table(runs, (rows,), _all_times(runs, (rows,), times_of, whole_of))
    return lines


def _mean_times(sizes: tuple[int | None, ...], times_of: TimesOf) -> Times:
    return mean_times([times_of.get(rows, {}) for rows in sizes])


def _all_times(
    runs: Runs, sizes: tuple[int | None, ...], times_of: TimesOf, whole_of: TimesOf
) -> Times:
    """Shares of time in turns, of whole fits, and what the runs themselves took of their rival's CPU time."""
    whole = {f"{cpu}, whole fits": by for cpu, by in _mean_times(sizes, whole_of).items()}
    cells = cells_of(runs, METHOD, sizes, "fit_ratio")
    of_runs = {
        dataset: float(np.mean([v for cell, v in cells.items() if cell[0] == dataset]))
        for dataset, _ in cells
    }
    in_turns = _mean_times(sizes, times_of)
    return {**in_turns, **whole, "CPU time of these runs": {METHOD: of_runs}}
