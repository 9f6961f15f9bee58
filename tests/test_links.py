"""Links between the repository's documents lead somewhere; nothing is fetched."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"(?<!\\)\]\((?!https?://|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")
FENCE = re.compile(r"^(```|~~~).*?^\1", flags=re.DOTALL | re.MULTILINE)


def documents():
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    names = done.stdout.split() or [str(p.relative_to(ROOT)) for p in ROOT.glob("[!.]*/**/*.md")]
    pages = [ROOT / name for name in names if "evidence/prose/" not in name]  # parts of pages
    return [page for page in pages if page.exists()]


def anchors(page):
    """Anchors of the headings, as GitHub and MyST make them."""
    titles = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text("utf-8")), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def broken(page):
    """Targets of a page's links that are not there."""
    text = re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text("utf-8")))
    for name, anchor in LINK.findall(text):
        target = (page.parent / name).resolve() if name else page
        if not target.exists():
            yield name
        elif anchor and target.suffix == ".md" and anchor not in anchors(target):
            yield f"{name}#{anchor}"


@pytest.mark.parametrize("page", documents(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links__lead_somewhere(page):
    assert list(broken(page)) == []


def test_broken__finds_what_is_missing(tmp_path):
    page = tmp_path / "a.md"
    page.write_text(
        "# One way\n[a](#one-way) [b](a.md#two) [c](b.md) [d](https://e.org) `[x](y)`\n"
    )
    assert list(broken(page)) == ["a.md#two", "b.md"]
