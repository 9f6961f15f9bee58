"""The documentation site: `make docs`. Warnings are errors; nothing is fetched."""

import inspect
import re
import shutil
from importlib import import_module
from pathlib import Path

import sksve

project = "sksve"
author = "The sksve developers"
version = release = sksve.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.extlinks",
    "sphinx.ext.mathjax",
    "numpydoc",
    "myst_parser",
]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "templates"]
templates_path = ["templates"]
html_theme = "pydata_sphinx_theme"
html_title = f"sksve {release}"
html_theme_options = {
    "header_links_before_dropdown": 8,
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
}
html_show_sourcelink = False
extlinks = {
    "doi": ("https://doi.org/%s", "doi:%s"),
    "arxiv": ("https://arxiv.org/abs/%s", "arXiv:%s"),
}

autosummary_generate = True
autodoc_typehints = "none"  # numpydoc's sections say it in words
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

#: Rooms with a page: those that users import from. The others serve these.
ROOMS = [
    "sksve",
    "sksve.metrics",
    "sksve.calibration",
    "sksve.comparison",
    "sksve.onnx",
    "sksve.plotting",
    "sksve.baselines",
    "sksve.preprocessing",
    "sksve.backbones",
    "sksve.adapters",
    "sksve.diagnostics",
    "sksve.datasets",
]


def public_names(room):
    """Names of a room that have their page there: what `sksve` shows has it under `sksve`."""
    module = import_module(room)
    names = [n for n in module.__all__ if not inspect.ismodule(getattr(module, n))]
    return [n for n in names if room == "sksve" or n not in sksve.__all__]


def write_reference(folder):
    """Write one page per room, from its docstring and its `__all__`."""
    shutil.rmtree(folder, ignore_errors=True)  # names that have gone
    folder.mkdir(exist_ok=True)
    for room in ROOMS:
        names = [n for n in public_names(room) if n != "__version__"]
        lines = [room, "=" * len(room), "", f".. automodule:: {room}", "   :no-members:", ""]
        lines += [f".. currentmodule:: {room}", ""]
        if names:
            lines += [".. autosummary::", "   :toctree: generated", ""]
            lines += [*(f"   {name}" for name in names), ""]
        if room != "sksve":
            shown = [n for n in import_module(room).__all__ if n in sksve.__all__]
            lines += [f"See also :obj:`sksve.{name}`." for name in shown]
        (folder / f"{room}.rst").write_text("\n".join(lines) + "\n", "utf-8")


def join_continued_lines(app, what, name, obj, options, lines):
    """A backslash at the end of a line of a raw docstring goes on in the next line."""
    lines[:] = re.sub(r"(?<=[ ,])\\\n\s*", "", "\n".join(lines)).split("\n")


def show_parameters(app, what, name, obj, options, signature, return_annotation):
    """Give a class the signature that `inspect` sees, not that of its wrapped `__init__`."""
    if what != "class":
        return None
    try:
        parameters = inspect.signature(obj).parameters.values()
    except (TypeError, ValueError):
        return None
    shown = inspect.Signature([p.replace(annotation=p.empty) for p in parameters])
    return str(shown), None


def skip_what_scikit_learn_documents(app, what, name, obj, skip, options):
    """Methods inherited from scikit-learn: their docstrings refer to its own site."""
    foreign = getattr(obj, "__module__", None) or ""
    return True if foreign.startswith("sklearn") or name.endswith("_request") else None


def setup(app):
    """Called by Sphinx."""
    write_reference(Path(__file__).parent / "api")
    app.connect("autodoc-process-docstring", join_continued_lines, priority=400)
    app.connect("autodoc-process-signature", show_parameters)
    app.connect("autodoc-skip-member", skip_what_scikit_learn_documents)
