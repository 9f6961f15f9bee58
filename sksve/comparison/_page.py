"""A comparison as one HTML page that needs nothing else: no network, no script."""

import base64
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from sksve._leftovers import sweep
from sksve.comparison._advice import advise, number, spread
from sksve.comparison._figures import (
    WIDTH,
    draw_forest,
    draw_reliability,
    forest_height,
    reliability_height,
)
from sksve.comparison._record import GROUPS, METRICS, Record


def write_page(record: Record, rows: Sequence[Any], path: Any, *, overwrite: bool = True) -> Path:
    """Write the page, with some rows to review; the file appears complete or not at all."""
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"to_html writes one file, but {str(path)!r} is a folder.")
    if not overwrite and path.exists():
        raise FileExistsError(f"{str(path)!r} exists. Pass overwrite=True, or choose another name.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"The folder {str(path.parent)!r} does not exist. Make it first.")
    sweep(path.parent, re.compile(rf"\.{re.escape(path.name)}\..*\.part"))
    # Half a surrogate pair in a text is no reason to fail: it becomes a character reference.
    page = _render(record, rows).encode("utf-8", errors="xmlcharrefreplace")
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


def _render(record: Record, rows: Sequence[Any]) -> str:
    import jinja2  # only here: a comparison that writes no page needs none

    environment = jinja2.Environment(
        autoescape=True,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    template = Path(__file__).with_name("page.html.jinja").read_text(encoding="utf-8")
    n_models, variants = len(record.models), record.variants
    return environment.from_string(template).render(
        title=f"Calibration of {n_models} model{'s' if n_models > 1 else ''}, compared",
        advice=advise(record),
        level=f"{100 * record.confidence_level:g}",
        n_test=f"{len(record.y_test):,}",
        n_calibration=f"{record.n_calibration:,}",
        n_resamples=f"{next(iter(record.draws.values())).shape[1]:,}",
        reliability=_picture(draw_reliability, record, reliability_height(record)),
        forest=_picture(draw_forest, record, forest_height(record)),
        groups=GROUPS,
        metrics=METRICS,
        number=number,
        spread=spread,
        may_be_best={
            name: dict(zip(variants, record.best_p_values(name) >= record.alpha))
            for name in METRICS
        },
        record=record,
        rows=rows,
    )


def _printable(value: Any) -> str:
    """Control characters have no place in a page; the template escapes the rest."""
    return "".join(ch if ch.isprintable() else "\ufffd" for ch in str(value))


def _picture(draw: Callable[..., None], record: Record, height: float) -> str:
    """Draw on a figure of its own, which pyplot knows nothing of; a PNG in base64."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            'The page needs matplotlib. Install it with: pip install "sksve[plot]"'
        ) from error
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    draw(record, figure)
    file = BytesIO()
    figure.savefig(file, format="png", dpi=200, metadata={"Software": None})
    return base64.b64encode(file.getvalue()).decode("ascii")
