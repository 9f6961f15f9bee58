"""Tables of runs: whole or not at all, by several processes; and where a run comes from."""

import json
import multiprocessing
import subprocess

import pytest

from benchmarks.common import results
from benchmarks.common.results import ROOT, Table, provenance


def put_some(path, process):
    for k in range(10):
        Table(path).put(f"{process}-{k}", {"value": k})


def test_put__replaces_a_run_and_keeps_the_others(tmp_path):
    table, other = Table(tmp_path / "a.jsonl"), Table(tmp_path / "a.jsonl")
    assert table.rows() == {}
    table.put("first", {"x": 1.1, "of": [1, None]})
    other.put("second", {"x": 2})
    table.put("first", {"x": 0.1 + 0.2})
    assert list(other.rows().items()) == [("first", {"x": 0.1 + 0.2}), ("second", {"x": 2})]
    lines = table.path.read_text().splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["first", "second"]
    assert not list(tmp_path.glob("*.tmp"))
    with pytest.raises(TypeError):
        table.put("third", {"x": object()})
    assert set(other.rows()) == {"first", "second"}


def test_put__of_several_processes_loses_nothing(tmp_path):
    path = tmp_path / "a.jsonl"
    workers = [multiprocessing.Process(target=put_some, args=(path, p)) for p in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert set(Table(path).rows()) == {f"{p}-{k}" for p in range(3) for k in range(10)}


@pytest.mark.parametrize(
    ("changed", "dirty"),
    [
        ("sksve/a.py", True),
        ("benchmarks/common/a.py", True),
        ("benchmarks/evidence/configs/grid.toml", True),
        ("benchmarks/results/a.jsonl", False),
        ("benchmarks/README.md", False),
        ("docs/a.md", False),
        ("tests/a.py", False),
    ],
)
def test_provenance__only_what_a_run_executes_makes_it_dirty(changed, dirty, tmp_path, monkeypatch):
    def git(*words):
        name = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", *name, *words], cwd=tmp_path, check=True, capture_output=True)

    path = tmp_path / changed
    for each in (path, tmp_path / "sksve" / "b.py"):
        each.parent.mkdir(parents=True, exist_ok=True)
        each.write_text("1")
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "all")
    monkeypatch.setattr(results, "ROOT", tmp_path)
    assert provenance()["dirty"] is False
    path.write_text("2")
    assert provenance()["dirty"] is dirty


def test_results__every_file_is_of_few_and_every_run_says_where_it_comes_from():
    files = list(results.RESULTS.iterdir())
    assert len([f for f in files if f.suffix == ".jsonl"]) <= 40
    for path in files:
        for name, run in Table(path).rows().items() if path.suffix == ".jsonl" else ():
            assert run["provenance"]["commit"], (path.name, name)
    assert ROOT in results.RESULTS.parents
