"""The service of example 8, through a real HTTP client on the loopback interface."""

import runpy
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from sksve import SVEClassifier
from sksve.calibration import SelectiveClassifier
from tests.making import LABELS, TEXTS, new

httpx = pytest.importorskip("httpx", reason="the extra `test` is not installed")
pytest.importorskip("fastapi", reason="the extra `serve` is not installed")
uvicorn = pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")

EXAMPLE = Path(__file__).parent.parent / "examples" / "8_service.py"
CLIENTS, QUESTIONS = 32, 4  # bounded: a few seconds


@pytest.fixture(scope="module")
def service():
    return runpy.run_path(str(EXAMPLE))


@pytest.fixture(scope="module")
def clf(tiny):
    return new(SVEClassifier, tiny, n_members=2, max_epochs=2, random_state=0).fit(TEXTS, LABELS)


@pytest.fixture(scope="module")
def url(service, clf):
    app = service["make_app"](clf, min_probability=0.6)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
        assert thread.is_alive()
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(20)
    assert not thread.is_alive()


def test_service__many_clients_get_what_the_model_says_offline(url, clf):
    rows = dict(zip(TEXTS, clf.predict_proba(TEXTS)))
    novelty = dict(zip(TEXTS, clf.predict_uncertainty(TEXTS).novelty))

    def client(k):
        rng = np.random.default_rng(k)
        with httpx.Client(base_url=url, timeout=60) as session:
            for _ in range(QUESTIONS):
                texts = rng.choice(TEXTS, int(rng.integers(1, 6))).tolist()
                answer = session.post("/predict", json={"texts": texts})
                assert answer.status_code == 200, answer.text
                records = answer.json()["answers"]
                assert len(records) == len(texts)
                for text, record in zip(texts, records):
                    p = rows[text]
                    assert record["label"] == clf.classes_[p.argmax()]
                    assert record["probability"] == pytest.approx(p.max(), abs=1e-5)
                    assert record["novelty"] == pytest.approx(novelty[text], abs=1e-3)
                    sure = p.max() >= 0.6 and novelty[text] <= 0.95
                    assert record["ask_a_person"] == (not sure)
        return QUESTIONS

    with ThreadPoolExecutor(CLIENTS) as pool:
        assert sum(pool.map(client, range(CLIENTS))) == CLIENTS * QUESTIONS


BAD = {
    "no JSON": ({"content": b"{", "headers": {"content-type": "application/json"}}, 422),
    "half a character": (
        {"content": b'{"texts": ["\\ud800"]}', "headers": {"content-type": "application/json"}},
        422,
    ),
    "no texts": ({"json": {}}, 422),
    "another key": ({"json": {"texts": ["a"], "x": 1}}, 422),
    "numbers": ({"json": {"texts": [1]}}, 422),
    "nothing": ({"json": {"texts": []}}, 422),
    "an empty text": ({"json": {"texts": [""]}}, 422),
    "too many": ({"json": {"texts": ["a"] * 65}}, 422),
    "too long": ({"json": {"texts": ["a" * 20_001]}}, 422),
    "too large": ({"content": b" " * (2**20 + 1)}, 413),
    "no length": ({"content": iter([b"{}"])}, 411),
}


@pytest.mark.parametrize("case", BAD)
def test_service__malformed_input_is_named_and_ends_nothing(case, url):
    how, code = BAD[case]
    with httpx.Client(base_url=url, timeout=60) as session:
        answer = session.post("/predict", **how)
        assert answer.status_code == code
        assert answer.json()["detail"]
        assert session.get("/health").json() == {"status": "alive"}
        assert session.get("/ready").json()["classes"] == ["neg", "pos"]
        good = session.post("/predict", json={"texts": ["\U0001f600 good\x00film"]})
        assert good.status_code == 200


def test_service__a_model_that_abstains_decides_itself(service, clf):
    careful = SelectiveClassifier(clf, coverage=0.5, random_state=0).fit(TEXTS * 2, LABELS * 2)
    records = service["Scorer"](careful, 0.0, 1.0).score(TEXTS)
    assert [r["ask_a_person"] for r in records] == (~careful.accepts(TEXTS)).tolist()
    assert any(r["ask_a_person"] for r in records)


def test_service__tables_are_refused(service, tiny):
    table = new(SVEClassifier, tiny, n_members=1, max_epochs=1, random_state=0)
    import pandas as pd

    table.fit(pd.DataFrame({"text": [f"{t} and so on" for t in TEXTS], "n": range(12)}), LABELS)
    with pytest.raises(ValueError, match="one text a row"):
        service["make_app"](table)
