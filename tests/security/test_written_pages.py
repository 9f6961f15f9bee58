"""What sksve writes for people to open: names that a stranger chose stay names."""

import html.parser
import re

import numpy as np
import pytest

from sksve import SVEClassifier, compare_calibration
from sksve.backbones import make_tiny_backbone

EVIL = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "</td></table><iframe src='//x'>",
    "]]><svg/onload=alert(1)>",
    "<!--",
    "javascript:alert(1)",
    "\u202e\u2066\ud800\0x",
]


class Parser(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes = set(), set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


@pytest.mark.parametrize("evil", EVIL, ids=range(len(EVIL)))
def test_page__of_evil_names(evil, tmp_path):
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(2), size=40)
    y = np.array([evil, "other"], dtype=object)[(p[:, 1] > rng.random(40)).astype(int)]
    found = compare_calibration(
        {evil: (p[:20], p[20:])},
        None, y[:20], None, y[20:],
        labels=[evil, "other"], methods=("temperature",), n_resamples=20, random_state=0,
    )  # fmt: skip
    page = found.to_html(tmp_path / "page.html").read_text(encoding="utf-8")
    parser = Parser()
    parser.feed(page)
    assert not parser.tags & {"script", "iframe", "svg", "object", "link", "form"}
    assert not {name for name in parser.attributes if name.startswith("on")}
    assert "Content-Security-Policy" in page
    assert "<!--" not in page


@pytest.mark.parametrize("evil", [e for e in EVIL if "\0" not in e], ids=range(len(EVIL) - 1))
def test_card__of_evil_class_names(evil, tmp_path):
    texts = ["good film", "bad film"] * 4
    clf = SVEClassifier(make_tiny_backbone(), n_members=1, max_epochs=1, random_state=0)
    folder = clf.fit(texts, [evil, "a`b|c\n# d"] * 4).save_pretrained(
        tmp_path / "m", metrics={evil: 0.5}
    )
    card = (folder / "README.md").read_text(encoding="utf-8")
    _, header, body = card.split("---\n", 2)
    assert header.count("\n") == len(header.splitlines())
    outside_code = re.sub(r"`[^`\n]*`|```.*?```", "", body, flags=re.DOTALL)
    assert not re.search(r"(?<!\\)<\s*[a-z!/]", outside_code)
    assert "\n# d" not in body
