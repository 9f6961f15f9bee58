"""Parameters declared once: what "auto" becomes, what is refused, what reproduces a fit."""

import copy
import inspect
import itertools
import math
import pickle
import re
import time
from dataclasses import replace

import numpy as np
import pytest
from joblib import parallel_config
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import FunctionTransformer
from skorch.callbacks import Callback

from sksve import SVEClassifier, Training, baselines
from sksve.backbones import Backbone, make_tiny_backbone
from sksve.estimators._auto import BY_CLARITY, SVE, resolve
from sksve.estimators._facts import Facts, label_information
from sksve.preprocessing import TabularToText
from tests.making import slow_but

CLASSES = [SVEClassifier, *(getattr(baselines, name) for name in baselines.__all__)]


FACTS = Facts(n_blocks=6)


def settle(facts=FACTS, **changes):
    given = SVEClassifier().get_params(deep=False) | Training().get_params() | changes
    del given["training"]
    return resolve("SVEClassifier", given, SVE, facts)


@pytest.mark.parametrize("cls", CLASSES)
def test__parameters__are_few_and_keyword_only(cls):
    first, *others = inspect.signature(cls).parameters.values()
    assert first.name == "backbone"
    assert {p.kind for p in others} == {inspect.Parameter.KEYWORD_ONLY}
    assert len(others) < 24
    options = set(Training().get_params())
    assert not options & {p.name for p in others}, "a setting has one name and one place"


# -- what "auto" becomes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"core": "full", "rank": 42, "direction_pool": 64, "adapt_blocks": 4, "lr": 8e-3}),
        ({}, {"optimizer": "muon", "init_scale": 0.0, "train_bias": False, "off_diagonals": 0}),
        ({"off_diagonals": 3}, {"core": "banded", "off_diagonals": 3, "optimizer": "adamw"}),
        ({"core": "top_k"}, {"off_diagonals": 2, "rank": None, "lr": 3e-3, "init_scale": 0.1}),
        ({"core": "full", "rank": None}, {"rank": None, "direction_pool": None}),
        ({"direction_pool": 9}, {"rank": 6, "core": "full"}),
        ({"rank": 64}, {"core": "full", "direction_pool": None}),
        ({"rank": 65}, {"core": "diagonal", "adapt_blocks": None, "freeze_out": None}),
        ({"rank": 0.5}, {"core": "diagonal"}),
        ({"optimizer": "muon", "off_diagonals": "auto"}, {"core": "full", "rank": 42}),
        ({"decay_to": "start"}, {"weight_decay": 10.0}),
        ({"adapt_blocks": 0.5}, {"adapt_blocks": 3}),
        ({"adapt_blocks": 0.4}, {"adapt_blocks": 3}),
        ({"adapt_blocks": 1.0}, {"adapt_blocks": 6}),
        ({"adapt_blocks": 1}, {"adapt_blocks": 1}),
        ({"early_stopping": True}, {"patience": 3, "validation_fraction": 0.1}),
    ],
)
def test__auto(changes, expected):
    settings = settle(**changes)
    assert {name: getattr(settings, name) for name in expected} == expected


ALONE = {
    "n_members": 1, "rank": 3, "core": "random", "off_diagonals": 1, "direction_pool": 6,
    "adapt_blocks": 0.5, "max_epochs": 1, "batch_size": 3, "lr": 0.1, "weight_decay": 1.0,
    "early_stopping": True, "class_weight": "balanced", "max_length": 90, "n_jobs": 2,
    "optimizer": "muon", "head_lr": 0.1, "init_scale": 0.0, "head_init_scale": 0.1,
    "train_bias": False, "decay_to": "start", "warmup": 0.0, "max_grad_norm": None,
    "shared_batches": True, "freeze_out": 0.5, "max_time": 60.0, "data_parallel": True,
    "side_features": None, "side_lr": 0.1, "long_texts": "windows",
}  # fmt: skip


TOPICS = Facts(6, n_rows=200, n_classes=20, information=1.4)


def test__auto__asks_what_frozen_vectors_know():
    noisy = settle(replace(TOPICS, information=0.05))
    assert (noisy.weight_decay, noisy.batch_size, noisy.head_lr) == (10.0, 16, 3e-3)
    assert (noisy.head_init_scale, noisy.freeze_out, noisy.decay_to) == (0.04, 0.5, "start")
    clear = settle(TOPICS)
    assert (clear.weight_decay, clear.batch_size, clear.head_lr) == (0.0, 12, 7e-3)
    assert (clear.head_init_scale, clear.freeze_out, clear.decay_to) == (0.01, None, None)
    assert noisy.max_epochs == clear.max_epochs == 3
    names = {name for name, rule in SVE.items() if rule in BY_CLARITY}
    differ = {name for name in clear.values if getattr(clear, name) != getattr(noisy, name)}
    assert differ <= names
    two = settle(replace(TOPICS, n_classes=2, information=0.6))
    assert two.values == noisy.values  # two classes are held whatever is known


@pytest.mark.parametrize("known", [0.2, 1.0])
@pytest.mark.parametrize("n_classes", [2, 20])
def test__auto__is_continuous_in_rows(known, n_classes):
    """One row more changes the rows that training sees by no more than one row of a batch does."""

    def steps(n):
        found = settle(Facts(6, n_rows=n, n_classes=n_classes, information=known))
        assert found.max_epochs >= 2
        return found.max_epochs * n / found.batch_size

    counts = [steps(n) for n in range(16, 1200)]
    jumps = [abs(math.log(b / a)) for a, b in itertools.pairwise(counts)]
    assert max(jumps) < 0.13
    assert counts[-1] > 2 * counts[0]


@pytest.mark.parametrize("width", [16, 128, 384, 768, 1024])
def test__auto__is_in_shares_of_the_backbone(width):
    found, base = settle(Facts(24, width=width)), settle()
    assert found.adapt_blocks == 16
    assert found.rank <= found.direction_pool <= width
    for share in (found.head_lr * width, found.lr * found.rank**0.5, found.weight_decay / width):
        assert any(
            share == pytest.approx(whole, rel=0.01)
            for whole in (base.head_lr * 384, base.lr * 42**0.5, base.weight_decay / 384)
        )
    for blocks, adapted in {1: 1, 2: 2, 6: 4, 12: 8}.items():
        assert settle(Facts(blocks, width=width)).adapt_blocks == adapted


@pytest.mark.parametrize("hard", [True, False])
def test__label_information__is_the_entropy_less_the_loss(hard):
    rng = np.random.default_rng(0)
    y = np.arange(400) % 4
    proba = np.full((400, 4), 0.1) + 0.6 * np.eye(4)[y]
    nothing = label_information(rng.normal(size=(400, 5)), y if hard else proba, np.ones(400))
    assert nothing < 0.02
    known = label_information(np.eye(4)[y], y if hard else proba, np.ones(400))
    entropy = -(0.7 * np.log(0.7) + 0.3 * np.log(0.1))
    assert known == pytest.approx(np.log(4) - (0 if hard else entropy), abs=0.07)
    order = rng.permutation(400)
    assert label_information(np.eye(4)[y][order], y[order], np.ones(400)) > 1.2
    assert label_information(np.eye(2), np.array([0, 1]), np.ones(2)) == 0.0  # nothing to judge by


def test__auto__every_parameter_is_tried_alone():
    others = {"backbone", "serializer", "training", "device", "precision", "warm_start", "verbose"}
    others |= {"random_state", "patience", "validation_fraction", "callbacks", "checkpoint_dir"}
    assert {*SVEClassifier().get_params(deep=False), *Training().get_params()} == others | set(
        ALONE
    )


@pytest.mark.parametrize("name", ALONE)
def test__auto__keeps_any_one_explicit_value(name):
    for cleared in (0.0, 5.0):  # however clear the labels are
        found = settle(Facts(6, n_classes=3, information=cleared), **{name: ALONE[name]})
        assert getattr(found, name) == (3 if name == "adapt_blocks" else ALONE[name])
        assert name not in found.reasons


@pytest.mark.parametrize(
    "name", slow_but(ALONE, "n_members", "rank", "early_stopping", "optimizer")
)
def test__auto__fits_with_any_one_explicit_value(name, tiny, texts):
    value = ALONE[name]
    own = name in SVEClassifier().get_params(deep=False)
    changes = {name: value} if own else {"training": Training(**{name: value})}
    clf = SVEClassifier(tiny, **{"n_members": 2, "random_state": 0} | changes)
    clf.fit(texts * 3, [0, 1, 2] * 12)
    expected = 1 if name == "adapt_blocks" else value
    assert getattr(clf.settings_, name) == expected
    assert name not in clf.settings_.reasons


# -- what would do nothing ------------------------------------------------------------------------

NOTHING = {
    "patience": ({"patience": 5}, "only with early_stopping=True.*Got 5"),
    "fraction": ({"validation_fraction": 0.5}, "only with early_stopping=True.*Got 0.5"),
    "decay-to": ({"decay_to": "start", "weight_decay": 0.0}, "what weight_decay pulls to"),
    "off-diagonals-full": ({"core": "full", "off_diagonals": 2}, "Got 2 with core='full'"),
    "off-diagonals": ({"core": "diagonal", "off_diagonals": 2}, "with core='diagonal'"),
    "muon": ({"optimizer": "muon", "core": "banded"}, "needs core='full'.*core='banded'"),
    "pool": ({"rank": None, "direction_pool": 8}, "'direction_pool'.*rank=None"),
    "freeze-out": ({"freeze_out": 0.5, "adapt_blocks": 1}, "needs two.*1 adapted of 6"),
    "zero": ({"decay_to": "zero", "weight_decay": 1.0}, "'pretrained' in SVEClassifier"),
    "time": ({"max_time": 3, "data_parallel": True}, "Use one of the two"),
}


@pytest.mark.parametrize("case", NOTHING)
def test__what_would_do_nothing__is_refused(case):
    changes, words = NOTHING[case]
    with pytest.raises(ValueError, match=words):
        settle(**changes)


def test__sizes_beyond_the_backbone__are_told(make, texts, labels):
    """The layers of the tiny backbone have 16 directions."""
    whole = {"max_epochs": 1, "n_members": 2, "core": "diagonal"}
    with pytest.warns(
        UserWarning, match="rank=500 is more than the 16 singular directions .* rank=None"
    ):
        capped = make(rank=500, **whole).fit(texts, labels)
    np.testing.assert_array_equal(
        capped.predict_proba(texts),
        make(rank=None, **whole).fit(texts, labels).predict_proba(texts),
    )
    with pytest.warns(UserWarning, match="direction_pool=40 is more than the 16 .* as 16 does"):
        clf = make(direction_pool=40, rank="auto", **whole).fit(texts, labels)
    assert clf.settings_.rank == 10
    for pool, rank in ((4, 4), (40, 16)):
        with pytest.raises(
            ValueError, match=f"direction_pool={pool} with rank={rank} would do nothing"
        ):
            make(rank=rank, direction_pool=pool).fit(texts, labels)


OTHERS = [
    ("LoRAEnsembleClassifier", "init_scale", 0.1),
    ("LoRAEnsembleClassifier", "train_bias", False),
    ("BatchEnsembleClassifier", "optimizer", "muon"),
    ("FineTunedClassifier", "init_scale", 0.1),
    ("FineTunedClassifier", "shared_batches", True),
    ("DeepEnsembleClassifier", "freeze_out", 0.5),
    ("DeepEnsembleClassifier", "decay_to", "pretrained"),
    ("MCDropoutClassifier", "data_parallel", True),
]


@pytest.mark.parametrize(("name", "option", "value"), OTHERS)
def test__an_option_a_classifier_has_not__is_refused(name, option, value, tiny, texts, labels):
    clf = getattr(baselines, name)(tiny).set_params(**{f"training__{option}": value})
    with pytest.raises(ValueError, match=f"{option}.*{name}"):
        clf.fit(texts, labels)
    assert not hasattr(clf, "classes_")


# -- Training -------------------------------------------------------------------------------------


def test__set_params__makes_a_training_and_changes_nobody_elses():
    clf = SVEClassifier().set_params(training__head_lr=0.5)
    assert clf.training.get_params() == Training(head_lr=0.5).get_params()
    shared = Training(warmup=0.3)
    one, two = SVEClassifier(training=shared), SVEClassifier(training=shared)
    one.set_params(training__warmup=0.5, n_members=2)
    assert (one.training.warmup, two.training.warmup, one.n_members) == (0.5, 0.3, 2)
    with pytest.raises(ValueError, match="Invalid parameter 'heat'"):
        clf.set_params(training__heat=1)
    assert clf.set_params(training=None).training is None


WITH_TRAINING = [cls for cls in CLASSES if cls is not baselines.LinearProbeClassifier]
MOVED = [
    ("head_lr", "training=Training(..., head_lr=...)"),
    ("pooling", "set_params(backbone__pooling="),
]


@pytest.mark.parametrize(("name", "words"), MOVED)
@pytest.mark.parametrize("cls", WITH_TRAINING)
def test__an_option__among_the_parameters_is_told_its_place(cls, name, words):
    words = f"{cls.__name__} has no parameter {name!r}: .*{re.escape(words)}"
    with pytest.raises(TypeError, match=words):
        cls("x", **{name: 1})
    with pytest.raises(ValueError, match=words):
        cls("x").set_params(**{name: 1})
    with pytest.raises(TypeError, match="unexpected keyword argument 'speed'"):
        cls("x", speed=1)


def test__get_params__lists_the_options_of_training():
    params = SVEClassifier().get_params()
    assert {k: v for k, v in params.items() if k.startswith("training__")} == {
        f"training__{name}": value for name, value in Training().get_params().items()
    }
    assert SVEClassifier(training=Training(warmup=0.3)).get_params()["training__warmup"] == 0.3
    assert not [name for name in SVEClassifier().get_params(deep=False) if "__" in name]
    assert SVEClassifier().training is None


def test__training__can_be_searched_over(make, tiny, texts, labels):
    clf = SVEClassifier(tiny, n_members=1, max_epochs=1, random_state=0)
    grid = {"training__head_lr": [1e-300, 0.1]}
    search = GridSearchCV(clf, grid, cv=2, scoring="neg_log_loss").fit(texts, labels)
    found = [
        clone(clf).set_params(**params).fit(texts, labels).settings_.head_lr
        for params in search.cv_results_["params"]
    ]
    assert found == [1e-300, 0.1]
    assert len(set(search.cv_results_["mean_test_score"])) == 2


def test__max_time__ends_training_with_members_that_answer(make, texts, labels):
    begun = time.monotonic()
    with pytest.warns(ConvergenceWarning, match="ended by max_time in epoch 1 of 100000"):
        clf = make(max_epochs=100_000, max_time=1e-9).fit(texts, labels)
    assert time.monotonic() - begun < 60
    assert np.isfinite(clf.predict_proba(texts)).all()
    with pytest.warns(ConvergenceWarning, match="ended by max_time"):
        with parallel_config(backend="threading"):
            jobs = make(max_epochs=100_000, max_time=1e-9, n_jobs=3).fit(texts, labels)
    assert jobs.predict_proba_members(texts).shape == (3, 12, 2)


def test__training__equals_one_with_the_same_options():
    assert clone(Training(head_lr=0.1)) == Training(head_lr=0.1) != Training()


@pytest.mark.parametrize("training", [{"head_lr": 0.1}, "x", 5, Training])
def test__training__of_another_type_is_refused_in_words(training, tiny, texts, labels):
    clf = SVEClassifier(tiny, training=training)
    words = "The 'training' parameter of SVEClassifier must be an instance of .*Training' or None"
    with pytest.raises(ValueError, match=words):
        clf.fit(texts, labels)
    with pytest.raises(ValueError, match=words):
        clf.set_params(training__head_lr=0.1)


def test__backbone__options_may_be_set_on_a_name():
    clf = SVEClassifier("some-model").set_params(backbone__pooling="cls")
    assert (clf.backbone.source, clf.backbone.pooling) == ("some-model", "cls")


def test__adapt_blocks__may_be_an_integer_of_numpy(tiny, texts, labels):
    plain, numpy_int = (
        SVEClassifier(tiny, adapt_blocks=k, max_epochs=1, n_members=1, random_state=0)
        for k in (1, np.int64(1))
    )
    np.testing.assert_array_equal(
        plain.fit(texts, labels).predict_proba(texts),
        numpy_int.fit(texts, labels).predict_proba(texts),
    )


# -- settings_ ------------------------------------------------------------------------------------


def test__settings__say_what_auto_was_and_cannot_be_changed(tiny, texts, labels):
    clf = SVEClassifier(tiny, max_epochs=1, n_members=1).fit(texts, labels)
    words = repr(clf.settings_)
    for line in ("max_epochs      = 1\n", "lr              = 0.0164  ", "rank            = 10  "):
        assert line in words
    assert words.startswith("Settings of SVEClassifier: 12 rows, 2 classes, 2 blocks of width 16")
    assert clf.settings_.reasons["rank"].startswith("Two thirds of the pool")
    assert "max_epochs  " not in clf.settings_.chosen()
    assert max(map(len, words.splitlines())) <= 105
    assert "patience" not in words
    assert type(clf.settings_.random_state) is int
    with pytest.raises(AttributeError):
        clf.settings_.lr = 1.0
    with pytest.raises(AttributeError, match="no setting 'speed'"):
        clf.settings_.speed  # noqa: B018


def record_of(**changes):
    changes = {"weights": {"a": 1.0}} | changes
    how = {"class_weight": changes.pop("weights"), "serializer": TabularToText(), "backbone": "x"}
    return settle(**how | changes)


def test__settings__are_copies_that_cannot_be_changed():
    weights, modules = {"a": 1.0}, ["query", "value"]
    used = {"serializer": TabularToText(), "backbone": Backbone("x", target_modules=modules)}
    record = record_of(weights=weights, **used)
    known = repr(record)
    weights["a"] = 9.0
    modules.append("key")
    used["serializer"].set_params(digits=1)
    used["backbone"].pooling = "cls"
    record.backbone.pooling = "cls"
    record.serializer.digits = 1
    record.to_dict()["class_weight"]["a"] = 9.0
    with pytest.raises(TypeError):
        record.values["lr"] = 1.0
    with pytest.raises(TypeError):
        record.class_weight["a"] = 1.0
    assert repr(record) == known
    assert record == record_of(backbone=Backbone("x", target_modules=["query", "value"]))
    assert record.to_dict()["class_weight"] == {"a": 1.0}


@pytest.mark.parametrize(
    "changes", [{}, {"serializer": FunctionTransformer(str.lower)}, {"callbacks": [Callback()]}]
)
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test__settings__equal_their_copy(changes, copied, tiny):
    for pair in (tiny, Backbone(tiny, pooling="cls")):
        record = record_of(backbone=pair, **changes)
        assert (twin := copied(record)) == record
        assert hash(twin) == hash(record)


def test__settings__that_differ_are_unequal(tiny):
    other_weights = (make_tiny_backbone(random_state=1)[0], tiny[1])
    other_words = (tiny[0], make_tiny_backbone(vocab=["a"])[1])
    records = [
        record_of(backbone=tiny), record_of(backbone=other_weights), record_of(backbone=other_words),
        record_of(), record_of(weights={"a": 2.0}), record_of(lr=0.5), record_of(serializer="pair"),
        record_of(serializer=TabularToText(digits=1)), record_of(backbone=Backbone("x")),
    ]  # fmt: skip
    for one, other in itertools.combinations(records, 2):
        assert one != other


def test__repr__of_a_pair_fits_a_screen(tiny):
    words = repr(SVEClassifier(tiny, n_members=2))
    assert words == f"SVEClassifier(backbone=(BertModel, {type(tiny[1]).__name__}), n_members=2)"
    assert repr(Backbone(tiny)) == f"Backbone(source=(BertModel, {type(tiny[1]).__name__}))"
    lines = repr(
        record_of(backbone=Backbone(tiny), weights=dict.fromkeys(range(99), 1.0))
    ).splitlines()
    assert len(lines) < 40
    assert max(map(len, lines)) <= 105


REPRODUCED = {
    "SVEClassifier": {"n_members": 2, "off_diagonals": 1, "rank": 3},
    "LoRAEnsembleClassifier": {"n_members": 2},
    "FineTunedClassifier": {"early_stopping": True},
}


@pytest.mark.parametrize("name", REPRODUCED)
def test__settings__reproduce_the_fit_bit_for_bit(name, tiny, texts, labels):
    cls = getattr(baselines, name, SVEClassifier)
    clf = cls(tiny, max_epochs=2, batch_size=5, **REPRODUCED[name]).fit(texts * 2, labels * 2)
    again = cls(**clf.settings_.to_dict()).fit(texts * 2, labels * 2)
    np.testing.assert_array_equal(
        again.predict_proba_members(texts), clf.predict_proba_members(texts)
    )
    copied = pickle.loads(pickle.dumps(clf))
    assert copied.settings_ == clf.settings_


def test__bare_settings__do_not_look_at_the_number_of_members(tiny, texts):
    y = [0, 1, 2] * 4
    one, three = (
        SVEClassifier(tiny, n_members=k, precision="float64", random_state=0).fit(texts, y)
        for k in (1, 3)
    )
    assert one.settings_.values == three.settings_.values | {"n_members": 1}
    np.testing.assert_allclose(
        three.predict_proba_members(texts)[:1], one.predict_proba_members(texts), atol=1e-6
    )
    again = SVEClassifier(**three.settings_.to_dict()).fit(texts, y)
    np.testing.assert_array_equal(
        again.predict_proba_members(texts), three.predict_proba_members(texts)
    )


def test__settings__of_a_fit_with_callbacks_do_not_claim_to_reproduce_it(make, texts, labels):
    clf = make(max_epochs=1, callbacks=[Callback()]).fit(texts, labels)
    with pytest.raises(ValueError, match="with callbacks do not reproduce"):
        clf.settings_.to_dict()


def test__settings__stay_those_of_the_first_fit(tiny, texts, labels, monkeypatch):
    clf = SVEClassifier(tiny, n_members=1, max_epochs=1, warm_start=True, random_state=0)
    clf.fit(texts, labels)
    first = clf.settings_
    monkeypatch.setitem(SVE, "lr", 0.5)
    monkeypatch.setitem(SVE, "head_lr", 0.5)
    clf.set_params(n_members=2).fit(texts, labels)
    assert (clf.settings_.lr, clf.settings_.n_members) == (first.lr, 2)
    clf.partial_fit(texts * 20, labels * 20)
    assert clf.settings_.head_lr == first.head_lr
    assert (clf.settings_.facts, clf.settings_.reasons) == (first.facts, first.reasons)
    clf.set_params(lr=0.1).partial_fit(texts, labels)
    assert clf.settings_.lr == first.lr


def test__settings__are_saved_and_shown_on_the_card(tiny, texts, labels, tmp_path):
    clf = SVEClassifier(tiny, n_members=1, max_epochs=1, core="full", rank=3).fit(texts, labels)
    path = clf.save_pretrained(tmp_path / "model")
    card = (path / "README.md").read_text()
    assert "head_lr" in card
    assert "| `weight_decay` | `0.417` | 10 d / 384 (noisy) to 0 (clear) |" in card
    assert "Chosen by rules for 12 rows, 2 classes, 2 blocks of width 16." in card
    assert "'full'" in card
    again = SVEClassifier.from_pretrained(path, backbone=tiny)
    assert repr(again.settings_).splitlines()[2:] == repr(clf.settings_).splitlines()[2:]
    assert again.settings_.values == clf.settings_.values | {"backbone": tiny, "device": "auto"}
    assert (again.core, again.lr, again.random_state) == ("full", "auto", None)
    refit = SVEClassifier(**again.settings_.to_dict()).fit(texts, labels)
    np.testing.assert_array_equal(refit.predict_proba(texts), clf.predict_proba(texts))
