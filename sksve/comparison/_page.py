"""A comparison as one HTML page that needs nothing else: no network, no script."""

import base64
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from html import escape
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sksve._leftovers import sweep
from sksve.comparison._advice import advise
from sksve.comparison._calibrate import UNCALIBRATED
from sksve.comparison._figures import (
    WIDTH,
    draw_forest,
    draw_reliability,
    forest_height,
    reliability_height,
)
from sksve.comparison._words import GROUPS, METRICS, number, spread

if TYPE_CHECKING:
    from sksve.comparison._result import CalibrationComparison

__all__ = ["render", "write_page"]

# Even a browser that is asked to load something from elsewhere refuses.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #111; background: #fff; max-width: 760px;
  margin: 24px auto; padding: 0 16px; overflow-wrap: anywhere; }
h1 { font-size: 26px; line-height: 1.25; } h2 { font-size: 20px; margin: 32px 0 8px; }
h3 { font-size: 16px; margin: 20px 0 4px; }
.pick { border-left: 6px solid #111; padding: 4px 14px; font-size: 19px; font-weight: 600; }
.note { color: #444; font-size: 14px; }
table { border-collapse: collapse; width: 100%; font-size: 13px; line-height: 1.3; }
.wide { overflow-x: auto; }
th, td { text-align: left; padding: 4px 6px; border-bottom: 1px solid #ccc; vertical-align: top; }
th, td { overflow-wrap: break-word; } td:last-child { overflow-wrap: anywhere; }
td.n, th.n { text-align: right; overflow-wrap: normal; }
td.n small { color: #444; display: block; white-space: nowrap; font-size: 11px; }
tr.model th { background: #eee; } tr.pick-row td { border: solid #111; border-width: 2px 0; }
img { width: 100%; height: auto; } dt { font-weight: 600; } dd { margin: 0 0 8px; }
""".strip()


def write_page(comparison: "CalibrationComparison", path: Any) -> Path:
    """Write the page; the file appears complete or not at all."""
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"to_html writes one file, but {str(path)!r} is a folder.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"The folder {str(path.parent)!r} does not exist. Make it first.")
    # Half a surrogate pair in a text is no reason to fail: it becomes a character reference.
    sweep(path.parent, re.compile(rf"\.{re.escape(path.name)}\..*\.part"))
    page = render(comparison).encode("utf-8", errors="xmlcharrefreplace")
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(page)
        # mkstemp's files are private; a page is as readable as any file the user makes.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(part, 0o666 & ~mask)
        os.replace(part, path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
    return path


def render(comparison: "CalibrationComparison") -> str:
    """Return the page."""
    return "\n".join(_parts(comparison)) + "\n"


def _parts(c: "CalibrationComparison") -> Iterator[str]:
    pick, *why = advise(c)
    title = f"Calibration of {len(c.models)} model{'s' if len(c.models) > 1 else ''}, compared"
    yield '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{_text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>"
    yield f'<h1>{_text(title)}</h1>\n<p class="pick">{_text(pick)}</p>'
    yield from (f"<p>{_text(words)}</p>" for words in why)
    yield "<h2>Before and after calibration</h2>"
    yield (
        "<p>Accuracy against confidence. On the diagonal a classifier is as often right as it says. "
        "Below it, it is too sure. Boxes are what the rows of a bin allow "
        f"({100 * c.confidence_level:g} %); they belong to the calibrated curve.</p>"
    )
    yield _picture(
        draw_reliability,
        c,
        reliability_height(c),
        "Reliability diagram of each model, uncalibrated and with its best calibrator",
    )
    yield "<h2>All candidates</h2>"
    yield _picture(
        draw_forest, c, forest_height(c), "NLL and ECE of every candidate with intervals"
    )
    yield from _tables(c)
    yield from _review(c)
    yield from _how(c)
    yield "</body>\n</html>"


def _tables(c: "CalibrationComparison") -> Iterator[str]:
    yield (
        f'<p class="note">Under each number its {100 * c.confidence_level:g} % bootstrap interval on '
        f"the {len(c.y_test):,} test rows. <b>Bold</b>: may be the best one; the others are worse "
        "than the best by more than chance explains, which allows for the best one having been "
        "chosen from all by these rows. Framed: the pick.</p>"
    )
    for heading, metrics in GROUPS.items():
        yield f'<h3>{_text(heading)}</h3>\n<div class="wide"><table><thead><tr><th>Calibrator</th>'
        yield "".join(f'<th class="n">{_text(METRICS[m].short)}</th>' for m in metrics)
        yield "</tr></thead><tbody>"
        may_be_best = {m: c.best_p_values(m) >= c.alpha for m in metrics}
        model = None
        for i, variant in enumerate(c.variants):
            if variant[0] != model:
                model = variant[0]
                yield (
                    f'<tr class="model"><th colspan="{len(metrics) + 1}"><bdi>{_text(model)}</bdi>'
                    "</th></tr>"
                )
            name = "uncalibrated" if variant[1] == UNCALIBRATED else variant[1]
            mark = ' class="pick-row"' if variant == c.pick else ""
            yield f"<tr{mark}><td><bdi>{_text(name)}</bdi></td>"
            for m in metrics:
                value, low, high = c.metrics[variant][m]
                shown = number(m, value)
                if may_be_best[m][i]:
                    shown = f"<b>{shown}</b>"
                yield f'<td class="n">{shown}<small>{spread(m, low, high)}</small></td>'
            yield "</tr>"
        yield "</tbody></table></div>"


def _review(c: "CalibrationComparison") -> Iterator[str]:
    found = c.review_rows()
    yield "<h2>Rows worth a look</h2>"
    yield (
        "<p>Answers of the pick on the test rows. Confident errors are often wrong labels, or a kind "
        "of row that training missed; the least certain rows are where more data would help, or "
        "where a person should decide.</p>"
    )
    for reason, heading in (
        ("confidently wrong", "Confident, and wrong"),
        ("most uncertain", "Least certain"),
    ):
        rows = [row for row in found if row.reason == reason]
        yield f"<h3>{heading}</h3>"
        if not rows:
            yield "<p>None.</p>"
            continue
        yield (
            '<div class="wide"><table><thead><tr><th>Row</th><th>Label</th><th>Answer</th>'
            '<th class="n">Confidence</th><th>Content</th></tr></thead><tbody>'
        )
        for row in rows:
            cells = "".join(
                f"<td><bdi>{_text(words)}</bdi></td>"
                for words in (row.index, row.label, row.predicted)
            )
            yield (
                f'<tr>{cells}<td class="n">{100 * row.confidence:.1f} %</td>'
                f"<td><bdi>{_text(row.row)}</bdi></td></tr>"
            )
        yield "</tbody></table></div>"


def _how(c: "CalibrationComparison") -> Iterator[str]:
    n_resamples = next(iter(c.draws.values())).shape[1]
    yield "<h2>How this was measured</h2>"
    split = (
        f"{c.n_folds}-fold cross-validation: each fold is the test set once, the next one "
        "calibrates, the models learn from the others."
        if c.n_folds
        else f"{c.n_calibration:,} calibration rows and {len(c.y_test):,} test rows."
    )
    yield (
        f"<p>{split} {len(c.labels)} classes. All candidates share {n_resamples:,} bootstrap "
        "resamples of the test rows, so that differences are judged row by row. Intervals and tests "
        "tell what the test rows leave open; that other training rows would give other models is "
        "not in them. Tests allow for many candidates, not for looking at many metrics.</p><dl>"
    )
    for words in METRICS.values():
        yield f"<dt>{_text(words.short)}</dt><dd>{_text(words.meaning)}</dd>"
    yield "</dl>"


def _picture(draw: Callable[..., None], c: Any, height: float, words: str) -> str:
    """Draw on a figure of its own, which pyplot knows nothing of."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            'The page needs matplotlib. Install it with: pip install "sksve[plot]"'
        ) from error
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    draw(c, figure)
    file = BytesIO()
    figure.savefig(file, format="png", dpi=200, metadata={"Software": None})
    data = base64.b64encode(file.getvalue()).decode("ascii")
    return f'<img alt="{_text(words)}" src="data:image/png;base64,{data}">'


def _text(words: Any) -> str:
    """Escape anything that a user named; control characters have no place in a page."""
    kept = "".join(ch if ch.isprintable() or ch == " " else "\ufffd" for ch in str(words))
    return escape(kept, quote=True)
