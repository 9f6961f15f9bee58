"""A killed fit, called again, continues after its last epoch and ends with the same bits."""

import errno
import json
import pickle
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from joblib import parallel_config
from skorch.callbacks import Callback

from sksve import IntegrityError, SVEClassifier
from sksve.backbones import Backbone, make_tiny_backbone
from sksve.baselines import (
    DeepEnsembleClassifier,
    LoRAEnsembleClassifier,
    MCDropoutClassifier,
)
from sksve.training import stored_seed
from tests.making import new, slow_but

EVENTS = (
    "on_train_begin", "on_epoch_begin", "on_batch_begin", "on_grad_computed", "on_batch_end",
    "on_epoch_end", "on_train_end",
)  # fmt: skip


class Crash(Callback):
    """Die at the n-th of all moments a callback is told of; None: only count them."""

    seen = 0

    def __init__(self, at=None):
        self.at = at

    def initialize(self):
        type(self).seen = 0
        return self


class Dead(Exception):
    pass


def _moment(self, net, **kwargs):
    Crash.seen += 1
    if Crash.seen == self.at:
        raise Dead


for _event in EVENTS:
    setattr(Crash, _event, _moment)


def assert_same_fit(a, b, texts):
    """Same bits: parameters, history, predictions, and skorch's own books but for times."""
    np.testing.assert_array_equal(a.predict_proba_members(texts), b.predict_proba_members(texts))
    np.testing.assert_array_equal(a.predict_proba(texts), b.predict_proba(texts))
    pairs = zip(a.net_.module_.member_parameters(), b.net_.module_.member_parameters(), strict=True)
    for p, q in pairs:
        np.testing.assert_array_equal(p.detach(), q.detach())
    for row, other in zip(a.history_, b.history_, strict=True):
        assert row.keys() == other.keys()
        for key in row:
            np.testing.assert_array_equal(row[key], other[key])
    for row, other in zip(a.net_.history, b.net_.history, strict=True):
        row, other = ({k: v for k, v in r.items() if k != "dur"} for r in (row, other))
        assert json.dumps(row, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert a.n_iter_ == b.n_iter_
    for clf in (a, b):  # a fitted net holds no folder of checkpoints
        assert "checkpoint" not in dict(clf.net_.callbacks_)
        assert "checkpoint" not in [c[0] for c in clf.net_.callbacks if isinstance(c, tuple)]


def test__assert_same_fit__can_fail(make, fitted, texts, labels):
    with pytest.raises(AssertionError):
        assert_same_fit(fitted, make(lr=0.0200001).fit(texts, labels), texts)


def survive(clf, X, y, at, **data):
    """Fit with a death at a moment, then again without; whether the first fit has died."""
    try:
        clf.set_params(training__callbacks=[Crash(at)]).fit(X, y, **data)
    except Dead:
        assert not hasattr(clf, "classes_")  # nothing half-changed
        clf.set_params(training__callbacks=[Crash()]).fit(X, y, **data)
        return True
    return False


def moments(clf, X, y, **data):
    """The undisturbed fit, and how many moments it has."""
    clf.set_params(training__callbacks=[Crash()]).fit(X, y, **data)
    return clf, Crash.seen


def test__death_at_any_moment__leaves_no_trace(make, texts, labels, tmp_path, tally):
    whole, n = moments(make(max_epochs=3, precision="float32"), texts, labels)
    deaths = 0
    for at in range(1, n + 1, 5):
        clf = make(max_epochs=3, precision="float32", checkpoint_dir=tmp_path)
        deaths += survive(clf, texts, labels, at)
        assert_same_fit(clf, whole, texts)
        assert list(tmp_path.iterdir()) == []
    tally("fits that died in-process", deaths)
    assert deaths >= 5


SETTINGS = {
    "band-last-block": {"rank": 3, "off_diagonals": 1, "adapt_blocks": 1},
    "own-directions": {"rank": 3, "off_diagonals": 1, "direction_pool": 6},
    "anchored": {"decay_to": "start", "weight_decay": 3.0},
    "muon": {"optimizer": "muon", "rank": 3, "core": "full", "weight_decay": 3.0},
    "freeze_out": {"freeze_out": 0.4, "optimizer": "muon", "rank": 3, "core": "full"},
    "shared-batches": {"shared_batches": True, "weight_decay": 0.01},
    "early-stopping": {
        "early_stopping": True, "patience": 1, "validation_fraction": 0.3, "max_epochs": 6,
        "lr": 0.1,
    },
    "no-clip-no-warmup": {"max_grad_norm": None, "warmup": 0.0, "precision": "float64"},
}  # fmt: skip


@pytest.mark.parametrize(
    "name", slow_but(SETTINGS, "own-directions", "freeze_out", "early-stopping")
)
def test__death__with_other_parameters(name, make, texts, labels, tmp_path):
    own = {"precision": "float32", "max_epochs": 3} | SETTINGS[name]
    whole, n = moments(make(**own), texts, labels)
    if name == "early-stopping":
        assert np.isnan(whole.history_[-1]["train_loss"]).any() or whole.n_iter_ < 6
    for at in np.linspace(5, n - 1, 4).astype(int).tolist():
        clf = make(**own, checkpoint_dir=tmp_path)
        assert survive(clf, texts, labels, at)
        assert_same_fit(clf, whole, texts)


def test__death_in_validation__leaves_no_trace(make, texts, labels, tmp_path):
    data = {"X_val": texts[:7], "y_val": labels[:7]}
    whole, n = moments(make(batch_size=1, max_epochs=2), texts, labels, **data)
    for at in (40, n // 2, n - 3):
        clf = make(batch_size=1, max_epochs=2, checkpoint_dir=tmp_path)
        assert survive(clf, texts, labels, at, **data)
        assert_same_fit(clf, whole, texts)


@pytest.mark.parametrize(
    ("cls", "own"),
    [
        (LoRAEnsembleClassifier, {"n_members": 2, "rank": 2}),
        (DeepEnsembleClassifier, {"n_members": 2}),
        (MCDropoutClassifier, {"n_samples": 2}),
    ],
    ids=["lora", "deep-ensemble", "mc-dropout"],
)
def test__rivals__go_on_as_well(cls, own, tiny, texts, labels, tmp_path):
    # Whole models are trained one after the other; masks of dropout are a random stream, too.
    own = {"max_epochs": 2, "batch_size": 4, "random_state": 0} | own
    whole, _ = moments(cls(tiny, **own), texts, labels)
    for at in (8, 20):
        clf = new(cls, tiny, **own, checkpoint_dir=tmp_path)
        assert survive(clf, texts, labels, at)
        assert_same_fit(clf, whole, texts)


@pytest.mark.parametrize("backend", ["threading", pytest.param("loky", marks=pytest.mark.slow)])
def test__n_jobs__each_part_has_its_own(backend, make, texts, labels, tmp_path):
    settings = {"n_jobs": 2, "max_epochs": 2}
    with parallel_config(backend=backend):
        whole = make(**settings).fit(texts, labels)
        clf = make(checkpoint_dir=tmp_path, callbacks=[DieLate()], **settings)
        with pytest.raises(Dead):
            clf.fit(texts, labels)
        names = {path.name for path in tmp_path.iterdir()}
        assert names <= {"members-0-1.checkpoint", "members-2-2.checkpoint"}
        assert names
        assert_same_fit(clf.set_params(training__callbacks=None).fit(texts, labels), whole, texts)
        assert list(tmp_path.iterdir()) == []


class DieLate(Callback):
    """Member 2 dies in its second epoch, in threads when the others are done: nobody ends these."""

    others_done = threading.Event()

    def on_train_end(self, net, **kwargs):
        self.others_done.set()

    def on_batch_begin(self, net, training=False, **kwargs):
        if len(net.history) == 2 and 2 in net.member_ids:
            if threading.current_thread() is not threading.main_thread():
                self.others_done.wait(60)
            raise Dead

    def __deepcopy__(self, memo):
        return self


@pytest.fixture
def dead(make, texts, labels, tmp_path):
    """Make a fit that died in its second epoch."""

    def dead(**changes):
        clf = make(checkpoint_dir=tmp_path, **changes)
        with pytest.raises(Dead):
            clf.set_params(training__callbacks=[Crash(22)]).fit(texts, labels)
        return clf.set_params(training__callbacks=None)

    return dead


def test__going_on__makes_no_step_twice(dead, texts, labels, tmp_path):
    class Steps(Callback):
        def on_batch_begin(self, net, training=False, **kwargs):
            seen.append(len(net.history))

    clf = dead()
    seen = []
    clf.set_params(training__callbacks=[Steps()]).fit(texts, labels)
    assert seen == [2, 2, 2]  # the steps of the second epoch, which died in its middle


DIFFERENT = {
    "lr": {"lr": 0.03},
    "init_scale": {"training__init_scale": 0.2},
    "band": {"core": "banded"},
    "rank": {"rank": 2},
    "blocks": {"adapt_blocks": 1},
    "targets": {"backbone": Backbone(make_tiny_backbone(), target_modules="attention")},
    "epochs": {"max_epochs": 3},
    "seed": {"random_state": 1},
    "precision": {"precision": "float32"},
    "stopping": {"early_stopping": True, "training__validation_fraction": 0.3},
    "members": {"n_members": 2},
    "batches": {"training__shared_batches": True},
    "weights": {"class_weight": {"pos": 2.0, "neg": 1.0}},
    "pooling": {"backbone": Backbone(make_tiny_backbone(), pooling="cls")},
    "weights of the backbone": {"backbone": make_tiny_backbone(random_state=5)},
}


@pytest.mark.parametrize(
    "name", slow_but(DIFFERENT, "lr", "targets", "stopping", "weights of the backbone")
)
def test__another_fit__is_refused(name, dead, fitted, texts, labels, tmp_path):
    clf = dead()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    old = clf.get_params()
    with pytest.raises(ValueError, match="holds the checkpoint of another fit") as info:
        clf.set_params(**DIFFERENT[name]).fit(texts, labels)
    assert "to start over, remove members-0-2.checkpoint" in str(info.value)
    assert not hasattr(clf, "classes_")
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert_same_fit(clf.set_params(**old).fit(texts, labels), fitted, texts)  # it still continues


def test__other_data_or_versions__are_refused(dead, texts, labels, monkeypatch):
    clf = dead()
    refused = pytest.raises(ValueError, match="holds the checkpoint of another fit")
    for X, y, kwargs in [
        ([*texts[:-1], "good"], labels, {}),
        (texts[::-1], labels[::-1], {}),
        (texts, labels[::-1], {}),
        (texts, labels, {"sample_weight": np.arange(1.0, 13.0)}),
        (texts, labels, {"X_val": texts, "y_val": labels}),
    ]:
        with refused:
            clf.fit(X, y, **kwargs)
    with parallel_config(backend="threading"), refused:
        clf.set_params(n_jobs=2).fit(texts, labels)
    monkeypatch.setattr("sksve.training._checkpoint.version", lambda name: "9.9")
    with refused:
        clf.set_params(n_jobs=None).fit(texts, labels)


def test__what_shapes_no_member__may_change(dead, fitted, texts, labels, capsys):
    clf = dead().set_params(verbose=1)
    np.testing.assert_array_equal(
        clf.fit(texts, labels).predict_proba_members(texts), fitted.predict_proba_members(texts)
    )
    assert "continuing from a checkpoint after epoch 1" in capsys.readouterr().out


def test__random_state_None__goes_on_with_the_seed_it_had(make, texts, labels, tmp_path):
    class Seed(Callback):
        def on_train_begin(self, net, **kwargs):
            seen.append(net.module_.heads.weight.detach().clone())

        def on_batch_begin(self, net, **kwargs):
            if len(seen) == 1 and len(net.history) == 2:
                raise Dead

    seen = []
    clf = make(random_state=None, checkpoint_dir=tmp_path, callbacks=[Seed()])
    with pytest.raises(Dead):
        clf.fit(texts, labels)
    clf.fit(texts, labels)
    np.testing.assert_array_equal(*seen)
    same = make(random_state=clf.settings_.random_state).fit(texts, labels)
    np.testing.assert_array_equal(clf.predict_proba(texts), same.predict_proba(texts))
    assert (
        clf.fit(texts, labels).settings_.random_state != same.settings_.random_state
    )  # a fit that is over is over


def test__damage_anywhere__is_refused_with_the_cure(dead, fitted, texts, labels, tmp_path, tally):
    clf = dead()
    (path,) = tmp_path.iterdir()
    data = path.read_bytes()
    places = np.linspace(0, len(data) - 1, 40).astype(int).tolist()
    flipped = [data[:i] + bytes([data[i] ^ 4]) + data[i + 1 :] for i in places]
    for wrong in [*flipped, *(data[:i] for i in places)]:
        path.write_bytes(wrong)
        with pytest.raises(IntegrityError, match=r"is damaged: .*Remove the file to train"):
            stored_seed(tmp_path)
    tally("damaged checkpoint files", 2 * len(places))
    with pytest.raises(IntegrityError, match=r"members-0-2\.checkpoint' is damaged"):
        clf.fit(texts, labels)
    assert not hasattr(clf, "classes_")
    path.unlink()
    assert_same_fit(clf.fit(texts, labels), fitted, texts)


def test__disk_full_while_training__is_a_warning(
    make, fitted, texts, labels, tmp_path, monkeypatch
):
    from sksve.persistence import replace_file

    written = []

    def full(path, data):
        written.append(path)
        if len(written) in (2, 3):
            raise OSError(errno.ENOSPC, "No space left on device")
        replace_file(path, data)

    monkeypatch.setattr("sksve.training._checkpoint.replace_file", full)
    clf = make(checkpoint_dir=tmp_path, max_epochs=4)
    with pytest.warns(UserWarning, match=r"could not be written.*No space.*continues") as caught:
        clf.fit(texts, labels)
    assert len(caught) == 1
    assert len(written) == 4
    assert_same_fit(clf, make(max_epochs=4).fit(texts, labels), texts)


def test__folder_that_cannot_be_written__is_told_before_training(
    make, texts, labels, tmp_path, no_loading
):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match=r"file.below.*training was not started"):
        make(checkpoint_dir=tmp_path / "file" / "below").fit(texts, labels)


def test__folder_lost_while_training__is_a_warning(make, fitted, texts, labels, tmp_path):
    class Lose(Callback):
        def on_epoch_begin(self, net, **kwargs):
            if len(net.history) == 2:
                folder.rename(tmp_path / "elsewhere")

    folder = tmp_path / "checkpoints"
    clf = make(checkpoint_dir=folder, callbacks=[Lose()])
    with pytest.warns(UserWarning, match="could not be written"):
        clf.fit(texts, labels)
    assert_same_fit(clf, fitted, texts)


def test__warm_start__goes_on_with_the_new_members(make, texts, labels, tmp_path):
    old = make(n_members=1, warm_start=True).fit(texts, labels)
    whole = pickle.loads(pickle.dumps(old)).set_params(n_members=3).fit(texts, labels)
    clf = pickle.loads(pickle.dumps(old)).set_params(n_members=3, training__checkpoint_dir=tmp_path)
    with pytest.raises(Dead):
        clf.set_params(training__callbacks=[Crash(22)]).fit(texts, labels)
    assert [path.name for path in tmp_path.iterdir()] == ["members-1-2.checkpoint"]
    clf.set_params(training__callbacks=None).fit(texts, labels)
    np.testing.assert_array_equal(
        clf.predict_proba_members(texts), whole.predict_proba_members(texts)
    )


def test__partial_fit__leaves_checkpoints_alone(make, dead, texts, labels, tmp_path):
    dead()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    clf = make(checkpoint_dir=tmp_path)
    clf.partial_fit(texts, labels, classes=["neg", "pos"]).partial_fit(texts, labels)
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


def test__a_fit_without_trouble__warns_of_nothing_and_partial_fit_writes_nothing(
    make, texts, labels, tmp_path
):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clf = make(checkpoint_dir=str(tmp_path)).fit(texts, labels)
    clf.partial_fit(texts, labels)
    assert list(tmp_path.iterdir()) == []


def test__saved_model__does_not_tell_the_folder(make, tiny, texts, labels, tmp_path):
    clf = make(checkpoint_dir=tmp_path / "secret")
    path = clf.fit(texts, labels).save_pretrained(tmp_path / "model")
    assert not any(b"secret" in file.read_bytes() for file in Path(path).iterdir())
    again = SVEClassifier.from_pretrained(path, backbone=tiny)
    expected = clf.get_params() | {"training__checkpoint_dir": None, "training": again.training}
    assert again.get_params() == expected


def test__images__go_on(texts, tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 256, (8, 16, 16, 3), dtype=np.uint8), [0, 1] * 4
    own = {"n_members": 2, "max_epochs": 2, "batch_size": 4, "random_state": 0}
    vit = make_tiny_backbone("vit")
    whole, n = moments(new(SVEClassifier, vit, **own), X, y)
    clf = new(SVEClassifier, vit, **own, checkpoint_dir=tmp_path)
    with pytest.raises(Dead):
        clf.set_params(training__callbacks=[Crash(n - 4)]).fit(X, y)
    with pytest.raises(ValueError, match="of another fit"):
        clf.set_params(training__callbacks=None).fit(X[::-1], y)
    assert_same_fit(clf.fit(X, y), whole, X)


@pytest.mark.parametrize("kind", ["texts, by numpy's numbers", "table"])
def test__tables_and_numpys_numbers__go_on(kind, make, texts, labels, tmp_path, rng):
    table = kind == "table"
    numbers = {"lr": np.float32(0.02), "batch_size": np.int64(4), "rank": np.int32(2)}
    X, own = (rng.normal(size=(12, 2)), {"side_features": None}) if table else (texts, numbers)
    whole, n = moments(make(**own), X, labels)
    clf = make(checkpoint_dir=tmp_path, **own)
    assert survive(clf, X, labels, n - 4)
    assert_same_fit(clf, whole, X)
