"""Processes that start with one cold cache at the same time."""

import os

import numpy as np
import pytest
import torch

from sksve import SVEClassifier
from sksve.adapters import SVDCache, decompose, svd_cache
from tests.private import cache_folder, svd_module
from tests.survival.conftest import LABELS, SETTINGS, TEXTS
from tests.survival.kills import needs_fork

pytestmark = needs_fork


def together(n, work):
    """Fork n children that run ``work(k)`` at the same time; all must end well."""
    waiting, start = os.pipe()
    children = []
    for k in range(n):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.close(start)
                os.read(waiting, 1)  # until the parent closes its end
                work(k)
                status = 0
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                os._exit(status)
        children.append(child)
    os.close(waiting)
    os.close(start)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * n


def whole(folder):
    """Number of entries in a folder of the SVD cache; none may be damaged, and nothing else there."""
    paths = list(folder.iterdir())
    for path in paths:
        from safetensors.torch import load

        U, Vh = (load(path.read_bytes())[name] for name in ("U", "Vh"))
        shape = (U.shape[0], Vh.shape[1])
        assert svd_module._read(path, path.stem, shape) is not None
    return len(paths)


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [2, 20])
def test__ten_processes_decompose_one_weight(rounds, tmp_path, tally):
    for k in range(rounds):
        folder = tmp_path / f"round{k}"
        weight = torch.randn(12, 8, generator=torch.Generator().manual_seed(k))
        expected = decompose(weight)

        def work(_, folder=folder, weight=weight, expected=expected):
            found = SVDCache(folder=folder, min_disk_size=1).get(weight)
            assert all(torch.equal(a, b) for a, b in zip(found, expected))

        together(10, work)
        assert whole(folder) == 1
        tally("10 processes with one cold cache")


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [1, 10])
@pytest.mark.parametrize("n", [2, 4])
def test__processes_fit(rounds, n, backbone, texts, tmp_path, monkeypatch, two_models, tally):
    answer = two_models[0].predict_proba(texts)
    monkeypatch.setattr(svd_cache, "min_disk_size", 1)
    for k in range(rounds):
        svd_cache.clear()
        monkeypatch.setenv("SKSVE_CACHE", str(tmp_path / f"round{k}"))

        def work(_):
            clf = SVEClassifier(backbone, **SETTINGS, random_state=0).fit(TEXTS, LABELS)
            assert np.array_equal(clf.predict_proba(texts), answer)

        together(n, work)
        assert whole(tmp_path / f"round{k}" / "svd") > 5
        # A later process finds a cache it can use.
        monkeypatch.setattr(svd_module, "decompose", None)
        work(0)
        monkeypatch.setattr(svd_module, "decompose", decompose)
        tally(f"{n} processes fit with one cold cache")


def test__processes_download_one_package(toy_package, tally):
    data, fetch_it = toy_package(200_000)

    def work(_):
        assert fetch_it().read_bytes() == data

    together(8, work)
    home = cache_folder() / "packages" / "toy-1.0"
    assert [p.name for p in home.iterdir()] == ["toy-1.0-py3-none-any.whl"]
    tally("8 processes download one package")
