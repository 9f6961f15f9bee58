"""Member parallelism on a real Dask cluster: two worker processes of this machine."""

import os

import numpy as np
import pytest
from joblib import parallel_config
from sklearn.model_selection import GridSearchCV

from sksve import NonFiniteLossError
from tests.estimators.test_members import assert_same_members
from tests.making import save_tiny

pytest.importorskip("dask.distributed", reason="the extra `dask` is not installed")


@pytest.fixture(scope="module")
def client():
    from dask.distributed import Client, LocalCluster

    cluster = LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
    )
    with cluster, Client(cluster) as client:
        yield client


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    save_tiny(folder)
    return str(folder)


def pids(client):
    return set(client.run(os.getpid).values())


@pytest.mark.slow
def test_dask__members_are_those_of_a_joint_fit(client, folder, make, texts, labels):
    assert len(pids(client) - {os.getpid()}) == 2
    joint = make(folder).fit(texts, labels)
    with parallel_config(backend="dask"):
        apart = make(folder, n_jobs=2).fit(texts, labels)
    assert_same_members(joint, apart)
    assert apart.net_.member_ids == (0, 1, 2)
    np.testing.assert_allclose(
        apart.predict_proba_members(texts), joint.predict_proba_members(texts), rtol=0, atol=1e-9
    )


@pytest.mark.slow
@pytest.mark.parametrize("inner", [None, 2], ids=["joint-inside", "apart-inside"])
def test_dask__grid_search(inner, client, folder, make, texts, labels):
    grid = {"rank": [2, None]}
    settings = {"cv": 2, "scoring": "neg_log_loss"}
    expected = GridSearchCV(make(folder), grid, **settings).fit(texts, labels)
    with parallel_config(backend="dask"):
        found = GridSearchCV(make(folder, n_jobs=inner), grid, n_jobs=2, **settings)
        found.fit(texts, labels)
    assert found.best_params_ == expected.best_params_
    for key in ("mean_test_score", "split0_test_score", "split1_test_score"):
        np.testing.assert_allclose(
            found.cv_results_[key], expected.cv_results_[key], rtol=0, atol=1e-9
        )
    np.testing.assert_allclose(
        found.predict_proba(texts), expected.predict_proba(texts), rtol=0, atol=1e-9
    )


@pytest.mark.slow
def test_dask__errors_come_back(client, folder, make, texts, labels):
    with (
        parallel_config(backend="dask"),
        pytest.raises(NonFiniteLossError, match=r"The loss of member [02]"),
    ):
        make(folder, n_jobs=2, lr=1e300).fit(texts, labels)
