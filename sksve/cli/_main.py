"""The command line: a few lines over the library. Progress on stderr, results on stdout or in files."""

import argparse
import csv
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sksve._exceptions import SksveError
from sksve._versions import show_versions

# Rows that are read, scored and written together.
ROWS = 1000
_ADDED = ("predicted", "probability", "uncertainty", "novelty")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    argv : sequence of str, default=None
        Arguments, without the program's name; None: those of the process.

    Returns
    -------
    int
        Exit code: 0, or 1 with one sentence on stderr. Wrong usage exits with 2.

    Examples
    --------
    >>> from sksve.cli import main
    >>> main(["report", "no-such-folder", "test.csv"])
    1
    """
    args = _parser().parse_args(argv)
    try:
        run: Callable[[argparse.Namespace], None] = args.run
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: _say(f"warning: {message}")
            run(args)
    except (SksveError, ValueError, TypeError, OSError, ImportError, ArithmeticError) as error:
        print(f"sksve {args.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"sksve {args.command}: interrupted", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sksve", description="Fine-tuned transformers that know how far to trust them."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: Any, words: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=words, description=words)
        added.set_defaults(run=run)
        return added

    fit = command("fit", _fit, "Train a classifier on a CSV file and save it as a folder.")
    fit.add_argument("csv", type=Path)
    fit.add_argument("--label", required=True, help="column of the classes")
    fit.add_argument(
        "--text",
        nargs="+",
        action="extend",
        metavar="COLUMN",
        help="columns to read; default: all but the label",
    )
    fit.add_argument("--out", type=Path, required=True, help="folder of the model")
    fit.add_argument("--backbone", default="all-MiniLM-L6-v2", help="name or folder")
    fit.add_argument("--members", type=int, default=5)
    fit.add_argument("--seed", type=int, default=0)
    predict = command("predict", _predict, "Score a CSV file of any size, row by row.")
    predict.add_argument("model", type=Path, help="folder of the model")
    predict.add_argument("csv", type=Path)
    predict.add_argument("--out", type=Path, required=True, help="CSV file: all columns and more")
    report = command("report", _report, "Judge a model on labelled rows: figures, and a page.")
    report.add_argument("model", type=Path, help="folder of the model")
    report.add_argument("csv", type=Path)
    report.add_argument("--label", help="column of the classes; default: found by its values")
    report.add_argument("--resamples", type=int, default=1000, help="of the page's intervals")
    report.add_argument("--out", type=Path, default=Path("report.html"), help="the page")
    for one in (fit, predict, report):
        one.add_argument("--overwrite", action="store_true", help="replace what is at --out")
    doctor = command("doctor", _doctor, "Say what is installed and what a backbone's name means.")
    doctor.add_argument("backbone", nargs="?", default="all-MiniLM-L6-v2", help="name or folder")
    return parser


# -- commands ------------------------------------------------------------------------------------


def _fit(args: argparse.Namespace) -> None:
    _check_free(args)
    frame = _read(args.csv)
    _demand(frame, [args.label], args.csv)
    columns = args.text or [name for name in frame.columns if name != args.label]
    if args.label in columns:
        raise ValueError(f"--text names {args.label!r}, the column of the classes.")
    _demand(frame, columns, args.csv)
    unlabelled = frame[args.label].isna()
    if unlabelled.any():
        _say(f"{unlabelled.sum()} rows without {args.label!r} are left out")
        frame = frame[~unlabelled]
    from sksve import SVEClassifier

    clf = SVEClassifier(args.backbone, n_members=args.members, random_state=args.seed)
    _say(f"training on {len(frame):,} rows of {', '.join(map(repr, columns))}")
    clf.fit(frame[columns], frame[args.label].to_numpy())
    clf.save_pretrained(args.out)
    _say(f"saved in {args.out}: {len(clf.classes_)} classes, {clf.n_members} members")


def _predict(args: argparse.Namespace) -> None:
    _check_free(args)
    clf, columns = _load(args.model)
    done = 0
    with _written(args.out) as path, open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        for frame in _chunks(args.csv, columns):
            if not done:
                _demand(frame, columns, args.csv)
                taken = [name for name in _ADDED if name in frame.columns]
                if taken:
                    raise ValueError(
                        f"{args.csv} has a column {taken[0]!r}, which this command adds. Rename it."
                    )
                writer.writerow([*frame.columns, *_ADDED])
            added = _scores(clf, frame[columns])
            cells = frame.astype(object).where(frame.notna(), "")
            writer.writerows([*row, *more] for row, more in zip(cells.to_numpy(), zip(*added)))
            done += len(frame)
            _say(f"{done:,} rows", end="\r")
    _say(f"{done:,} rows scored in {args.out}")


def _report(args: argparse.Namespace) -> None:
    _check_free(args)
    clf, columns = _load(args.model)
    frame = _read(args.csv, columns)
    _demand(frame, columns, args.csv)
    label = args.label or _label_of(frame, columns, clf.classes_, args.csv)
    _demand(frame, [label], args.csv)
    from sksve import compare_calibration
    from sksve.metrics import calibration_report

    X, y = frame[columns], frame[label].to_numpy()
    proba = clf.predict_proba(X)
    print(calibration_report(y, proba, labels=clf.classes_, random_state=0))
    import numpy as np

    half = np.random.default_rng(0).permutation(len(y))
    first, second = np.sort(half[: len(y) // 2]), np.sort(half[len(y) // 2 :])
    found = compare_calibration(
        {args.model.name: (proba[first], proba[second])},
        None, y[first], None, y[second], labels=clf.classes_, random_state=0,
        n_resamples=args.resamples,
    )  # fmt: skip
    with _written(args.out) as path:
        found.to_html(path)
    _say(f"calibrators learned from half of the rows, judged on the others: {args.out}")


def _doctor(args: argparse.Namespace) -> None:
    show_versions()
    import torch

    from sksve._registry import cache_folder
    from sksve.backbones import plan_adaptation, resolve_backbone

    folder = cache_folder()
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    found = resolve_backbone(args.backbone)
    plan = plan_adaptation(found, adapt_blocks=0)
    print("Machine")
    print(f"  {'threads':13} {torch.get_num_threads()} of torch")
    print(f"  {'CUDA':13} {cuda}")
    print(f"  {'cache':13} {folder} ({size / 2**20:,.0f} MiB)")
    print(f"Backbone {args.backbone}")
    print(f"  {'found in':13} {found.source}: {found.folder}")
    print(f"  {'model':13} {found.config.model_type}, {plan.n_blocks} blocks")
    print(f"  {'positions':13} {plan.max_positions or 'no limit known'}")


# -- files ---------------------------------------------------------------------------------------


def _say(words: str, end: str = "\n") -> None:
    print(words, end=end, file=sys.stderr, flush=True)


def _check_free(args: argparse.Namespace) -> None:
    """Refuse to replace anything unasked, and a file that is not there, before any work."""
    if args.out.exists() and not args.overwrite:
        raise FileExistsError(f"{args.out} is there already. Choose another --out, or --overwrite.")
    if not args.csv.is_file():
        raise FileNotFoundError(f"{args.csv} is no file.")


@contextmanager
def _written(path: Path) -> Iterator[Path]:
    """A file beside `path`, which takes its place if all goes well."""
    handle, name = tempfile.mkstemp(dir=path.absolute().parent, suffix=path.suffix)
    os.close(handle)
    try:
        yield Path(name)
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def _pandas() -> Any:
    try:
        import pandas as pd
    except ModuleNotFoundError as error:
        raise ImportError("CSV files are read by pandas: pip install 'sksve[pandas]'.") from error
    return pd


def _chunks(path: Path, columns: Sequence[str], n: int | None = ROWS) -> Iterator[Any]:
    """Frames of `n` rows; a model's only column is text, whatever its cells look like."""
    pd = _pandas()
    kinds = {columns[0]: str} if len(columns) == 1 else None
    try:
        with pd.read_csv(path, dtype=kinds, chunksize=n or sys.maxsize, low_memory=False) as frames:
            yield from (frame for frame in frames if len(frame))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not in UTF-8: {error}. Convert it first.") from error
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise ValueError(f"{path} is no CSV file with a line of names: {error}") from error


def _read(path: Path, columns: Sequence[str] = ()) -> Any:
    frames = list(_chunks(path, columns, None))
    if not frames:
        raise ValueError(f"{path} has no rows.")
    return frames[0]


def _demand(frame: Any, columns: Sequence[str], path: Path) -> None:
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise ValueError(
            f"{path} has no column {missing[0]!r}. Its columns: {', '.join(map(str, frame.columns))}."
        )


def _load(folder: Path) -> tuple[Any, list[str]]:
    """A saved model, and the columns that it reads."""
    from sksve import load

    clf = load(folder)
    columns = getattr(clf, "feature_names_in_", None)
    if columns is None:
        raise ValueError(
            f"The model in {folder} was not fitted on named columns, so that none of a CSV file can be "
            "told. Fit it by `sksve fit`, or on a frame."
        )
    return clf, list(columns)


def _scores(clf: Any, X: Any) -> tuple[Any, ...]:
    proba = clf.predict_proba(X)
    uncertainty = clf.predict_uncertainty(X)
    novelty = uncertainty.novelty
    return (
        clf.classes_[proba.argmax(axis=1)],
        proba.max(axis=1).round(6),
        uncertainty.total.round(6),
        [""] * len(X) if novelty is None else novelty.round(6),
    )


def _label_of(frame: Any, columns: Sequence[str], classes: Any, path: Path) -> str:
    """The one other column whose cells are all classes."""
    known = set(classes.tolist())
    found = [
        str(name) for name in frame.columns
        if name not in columns and set(frame[name].dropna().tolist()) <= known
    ]  # fmt: skip
    if len(found) != 1:
        what = "No other column" if not found else f"More than one column ({', '.join(found)})"
        raise ValueError(f"{what} of {path} holds the model's classes. Name it: --label COLUMN.")
    return found[0]
