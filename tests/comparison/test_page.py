"""The page and the advice: complete, self-contained, safe with any name, and no more than is shown."""

import base64
import os
import shutil
import subprocess
from html.parser import HTMLParser

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator

from sksve import compare_calibration
from tests.comparison.made import compare, make_models

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Reads a page, and notes what is wrong with it."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.faults, self.words = [], [], [], []
        self.feed(text)
        self.close()
        self.faults += [f"<{tag}> is not closed" for tag in self.open]

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> closes nothing")

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def page(found, tmp_path_factory):
    return found.to_html(tmp_path_factory.mktemp("page") / "page.html")


def test_page__parses_and_needs_nothing_else(page):
    text = page.read_text(encoding="utf-8")
    read = Page(text)
    assert read.faults == []
    tags = [tag for tag, _ in read.tags]
    assert not {"script", "link", "iframe", "object", "form", "a", "base"} & set(tags)
    images = [attributes for tag, attributes in read.tags if tag == "img"]
    assert len(images) == 2
    for image in images:
        kind, _, data = image["src"].partition(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(data, validate=True)[:8] == b"\x89PNG\r\n\x1a\n"
        assert image["alt"]
    for _, attributes in read.tags:
        assert not [name for name in attributes if name in ("href", "srcset") or name[:2] == "on"]
    assert "url(" not in text
    assert "http:" not in text
    assert "https:" not in text


def test_page__says_what_the_record_says(page, found):
    words = " ".join(" ".join(Page(page.read_text(encoding="utf-8")).words).split())
    for paragraph in found.advice().splitlines():
        assert " ".join(paragraph.split()) in words
    value = found.metrics["noisy", "isotonic"]["brier_score"].value
    assert f"{value:.3f}" in words
    for row in found.review_rows():
        assert row.row in words
    assert "Confident, and wrong" in words


def test_page__names_and_texts_cannot_become_markup(tmp_path):
    pairs, y_cal, y_test = make_models(120)
    evil = '</td><script>alert("x")</script><img src=http://x.example/ onerror=alert(1)>'
    odd = "a\x00b \u202e $\\frac$ \ud83d" + "é" * 300
    y_cal, y_test = (np.char.add("<b>", y) for y in (y_cal, y_test))
    run = {"methods": {"<i>": "temperature"}, "n_resamples": 20, "random_state": 0}
    found = compare_calibration({evil: pairs["noisy"]}, None, y_cal, [odd] * 120, y_test, **run)
    read = Page(found.to_html(tmp_path / "page.html").read_text(encoding="utf-8"))
    assert read.faults == []
    assert not [tag for tag, _ in read.tags if tag in ("script", "i")]
    assert all(a["src"].startswith("data:") for tag, a in read.tags if tag == "img")
    assert any(evil in words for words in read.words), "shown as it was given"
    shown = max((w for w in read.words if "éé" in w), key=len)
    assert shown.endswith("…")
    assert len(shown) <= 240
    assert "\x00" not in shown
    assert "\u202e" not in shown


def test_page__is_written_whole_or_not_at_all(found, tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    path.write_text("before")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        found.to_html(path)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path], "no part of a file is left"


def test_page__bad_places_are_named_before_anything_is_drawn(found, tmp_path, monkeypatch):
    monkeypatch.setattr("matplotlib.figure.Figure", None)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        found.to_html(tmp_path / "nowhere" / "page.html")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        found.to_html(tmp_path)
    (tmp_path / "page.html").write_text("mine")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        found.to_html(tmp_path / "page.html", overwrite=False)
    assert (tmp_path / "page.html").read_text() == "mine"


@pytest.mark.skipif(
    shutil.which("chromium") is None, reason="no chromium: the page is not looked at in a browser"
)
def test_page__fits_a_browser_of_800_pixels(page, tmp_path):
    """The browser itself reports whether anything sticks out on the right."""
    probe = tmp_path / "probe.html"
    text = page.read_text(encoding="utf-8")
    # Only in this copy may a script run.
    text = text.replace("default-src 'none';", "default-src 'none'; script-src 'unsafe-inline';")
    script = (
        "<script>onload = () => document.title = [document.documentElement.scrollWidth <= "
        "innerWidth, [...document.images].every(i => i.naturalWidth > 700)].join()</script>"
    )
    probe.write_text(text.replace("</body>", script + "</body>"), encoding="utf-8")
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
        "--disable-background-networking --disable-component-update --disable-sync "
        f"--user-data-dir={tmp_path / 'profile'} --window-size=800,3000 --dump-dom"
    ).split()
    done = subprocess.run(
        ["chromium", *flags, probe.as_uri()], capture_output=True, text=True, timeout=120
    )
    assert "<title>true,true</title>" in done.stdout


def test_plot__a_diagram_a_model_and_a_row_a_variant(found):
    before = mpl.rcParams.copy()
    figure = found.plot()
    diagrams, forest = figure.subfigs
    seen = [ax for ax in diagrams.axes if ax.get_visible()]
    assert [ax.get_title() for ax in seen] == ["too sure", "noisy", "right"]
    ece = found.metrics["too sure", "none"]["expected_calibration_error"].value
    assert f"{100 * ece:.1f} %" in seen[0].get_legend().get_texts()[1].get_text()
    nll, error = forest.axes
    dots = [line for line in nll.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(
        [dot.get_xdata()[0] for dot in dots], found.values("negative_log_likelihood")
    )
    p_values = found.best_p_values("negative_log_likelihood")
    filled = [dot.get_markerfacecolor() == "black" for dot in dots]
    assert filled == (p_values >= 0.05).tolist()
    assert "ECE" in error.get_title()
    assert dict(mpl.rcParams) == dict(before)
    plt.close(figure)


def test_to_html__leaves_pyplot_alone(page):
    assert plt.get_fignums() == []


def test_review__the_right_rows(found):
    proba = found.probabilities[found.pick]
    answer = found.labels[proba.argmax(axis=1)]
    wrong = answer != found.y_test
    rows = found.review_rows(3)
    errors = [row for row in rows if row.reason == "confidently wrong"]
    expected = np.sort(proba.max(axis=1)[wrong])[::-1][:3]
    np.testing.assert_allclose([row.confidence for row in errors], expected)
    for row in errors:
        assert row.label == found.y_test[row.index] != row.predicted == answer[row.index]
    unsure = [row for row in rows if row.reason == "most uncertain"]
    entropy = -(proba * np.log(np.maximum(proba, 1e-300))).sum(axis=1)
    np.testing.assert_allclose([row.entropy for row in unsure], np.sort(entropy)[::-1][:3])


def test_review__keeps_the_index_and_shows_tables():
    frame = pd.DataFrame({"size": np.arange(60) / 3, "kind": "x"}, index=np.arange(60) + 1000)
    found = compare(n=60, X_test=frame, methods=[])
    for row in found.review_rows(2):
        assert row.index >= 1000
        assert row.row == f"size: {(row.index - 1000) / 3:.4g}, kind: x"


def test_advice__clear_case(found):
    advice = found.advice()
    assert advice.startswith("Pick right as it is, uncalibrated.")
    assert "The test rows had no part in the choice" in advice
    assert "what chance alone can produce" in advice
    assert "too sure, uncalibrated" not in advice, "it is surely worse, not on a par"


def test_advice__does_not_claim_what_forty_rows_cannot_show():
    pairs, y_cal, y_test = make_models(400)
    few = {"overconfident": (pairs["noisy"][0], pairs["noisy"][1][:40])}
    found = compare_calibration(
        few,
        None,
        y_cal,
        None,
        y_test[:40],
        methods=["temperature"],
        n_resamples=200,
        random_state=0,
    )
    assert found.pick == ("overconfident", "temperature")
    assert found.differences().loc[("overconfident", "none"), "p_adjusted"] > 0.05
    assert "is not settled" in found.advice()
    assert found.advice().startswith("Calibration is optional here")
    assert "Calibration pays" not in found.advice()


def test_advice__says_so_where_calibration_does_harm():
    """Calibration rows of another kind: half of their labels are drawn at random."""
    pairs, y_cal, y_test = make_models()
    y_cal[::2] = np.random.default_rng(0).permutation(y_cal[::2])
    one, run = {"right": pairs["right"]}, {"n_resamples": 200, "random_state": 0}
    found = compare_calibration(one, None, y_cal, None, y_test, methods=["temperature"], **run)
    assert found.pick == ("right", "temperature")
    assert "Beware: on the test rows calibration makes right's NLL worse" in found.advice()
    assert "underconfident" in found.advice()
    headline = found.advice().splitlines()[0]
    assert headline.startswith(
        "Take right as it is, uncalibrated: on the test rows temperature makes"
    )


class LosesAClass(BaseEstimator):
    """Good on the calibration rows, where nearly no row is of the first class."""

    def fit(self, y_proba, y, sample_weight=None):
        self.fitted_ = True
        return self

    def predict_proba(self, y_proba):
        proba = np.array(y_proba)
        proba[:, 0] = 0
        return proba / proba.sum(axis=1, keepdims=True)


def test_advice__does_not_recommend_what_loses_a_class():
    pairs, y_cal, y_test = make_models()
    kept = y_cal != "ant"
    model = {"right": (pairs["right"][0][kept], pairs["right"][1])}
    found = compare_calibration(
        model, None, y_cal[kept], None, y_test, methods={"mine": LosesAClass()},
        labels=["ant", "bee", "cat"], n_resamples=50, random_state=0,
    )  # fmt: skip
    assert found.pick == ("right", "mine")
    headline = found.advice().splitlines()[0]
    assert headline.startswith("Take right as it is, uncalibrated: mine leaves rows of ant no")


def test_repr__marks_the_pick(found):
    lines = repr(found).splitlines()
    marked = [line for line in lines if line.startswith("* right")]
    assert len(marked) == 1
    assert f"{found.metrics[found.pick]['accuracy'].value:.4f}" in marked[0]
