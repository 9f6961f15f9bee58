"""The code of README and docs/ runs, page by page, and prints what stands below it.

Blocks run on a tiny backbone; the slow test runs them on the real one, and compares what they print.
``PYTHONPATH=. python tests/test_documents.py README.md`` writes what the page's code prints, on real weights.
"""

import contextlib
import io
import os
import re
import sys
import tempfile
import warnings
from pathlib import Path

import pytest

from sksve import CalibrationWarning, TruncationWarning
from sksve.backbones import make_tiny_backbone
from tests.fetching import skip_without_registry

ROOT = Path(__file__).parent.parent
# A block, a reason not to run it in a comment before, and in a block after it what it prints.
BLOCK = re.compile(
    r"^(?P<skip><!-- not run: .*? -->\n)?```python\n(?P<code>.*?)^```\n"
    r"(?P<out>\n```text\n(?P<text>.*?)^```\n)?",
    flags=re.DOTALL | re.MULTILINE,
)
WEIGHTS = re.compile(r"\b(SVEClassifier|baselines|BackboneFeatures|NoveltyDetector)\b")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if BLOCK.search(page.read_text("utf-8"))]
SLOW = {"tickets.md", "rivals.md", "intervals.md"}  # several seconds, even on a tiny backbone
NUMBER = re.compile(r"-?\d+\.\d*")


def blocks(page):
    return [b for b in BLOCK.finditer(page.read_text("utf-8")) if not b["skip"]]


def needs_weights(page):
    return any(WEIGHTS.search(block["code"]) for block in blocks(page))


def run(page, tiny=False, n_blocks=None):
    """Run a page's first blocks in one namespace; return what each printed."""
    namespace, printed = {"__name__": "__page__"}, []
    with warnings.catch_warnings():
        for kind in (TruncationWarning, CalibrationWarning) if tiny else ():
            warnings.simplefilter("ignore", kind)  # it spells words out, and is too often wrong
        for block in blocks(page)[:n_blocks]:
            code = block["code"].replace("[:200]", "[:60]") if tiny else block["code"]
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile(code, page.name, "exec"), namespace)
            printed.append("".join(line.rstrip() + "\n" for line in out.getvalue().splitlines()))
    return printed


def check_output(page, printed):
    """Words must be those of the page; numbers may differ a little from one CPU to another."""
    for block, out in zip(blocks(page), printed, strict=True):
        if block["text"] is not None:
            assert NUMBER.sub("#", block["text"]).split() == NUMBER.sub("#", out).split()
            said, found = (list(map(float, NUMBER.findall(t))) for t in (block["text"], out))
            assert said == pytest.approx(found, abs=0.03)


def name_of(page):
    return str(page.relative_to(ROOT))


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny") / "all-MiniLM-L6-v2"
    for part in make_tiny_backbone(n_blocks=1, max_positions=512):
        part.save_pretrained(folder)
    return folder


def marked(page):
    return pytest.param(page, marks=[pytest.mark.slow] if page.name in SLOW else [])


@pytest.mark.parametrize("page", [marked(page) for page in PAGES], ids=name_of)
def test_page__code_runs(page, tiny_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / tiny_folder.name).symlink_to(tiny_folder)  # a folder goes before any other source
    with skip_without_registry():
        printed = run(page, tiny=True)
    if not needs_weights(page):
        check_output(page, printed)


@pytest.mark.slow
@pytest.mark.parametrize("page", list(filter(needs_weights, PAGES)), ids=name_of)
def test_page__real_weights_print_what_it_says(page, tmp_path, monkeypatch):
    if not any(block["text"] for block in blocks(page)):
        return
    monkeypatch.chdir(tmp_path)
    with skip_without_registry():
        check_output(page, run(page))


def test_check_output__can_fail(tmp_path):
    page = tmp_path / "a.md"
    page.write_text("```python\nprint(0.5)\n```\n\n```text\n0.5\n```\n")
    check_output(page, run(page))
    for other in ("0.6\n", "half\n", "0.5 0.5\n"):
        with pytest.raises(AssertionError):
            check_output(page, [other])


def main(names):
    """Write what the code prints into the pages."""
    for page in (Path(name).resolve() for name in names):
        last = max(
            (k for k, block in enumerate(blocks(page)) if block["text"] is not None), default=-1
        )
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            printed = iter(run(page, n_blocks=last + 1))

        def with_output(block, printed=printed):
            if block["skip"]:
                return block[0]
            out = next(printed, None)
            if block["text"] is None:
                return block[0]
            return block[0].replace(block["out"], f"\n```text\n{out}```\n")

        page.write_text(BLOCK.sub(with_output, page.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    main(sys.argv[1:])
