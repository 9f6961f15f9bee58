"""save_pretrained and from_pretrained: the same classifier again, or a clear error."""

import dataclasses
import pathlib
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from skorch.callbacks import Callback

from sksve import BackboneNotFoundError, IntegrityError, PersistenceError, SVEClassifier
from sksve.adapters import decompose, svd_cache
from sksve.backbones import make_tiny_backbone
from sksve.baselines import LinearProbeClassifier
from sksve.persistence import read_folder, write_folder
from sksve.preprocessing import TabularToText
from tests.making import save_tiny
from tests.persistence.manifest import put, reseal


@pytest.fixture(scope="module")
def folder(fitted, tmp_path_factory):
    return fitted.save_pretrained(tmp_path_factory.mktemp("saved") / "model", metrics={"f1": 0.5})


@pytest.fixture
def own(folder, tmp_path):
    """A copy that may be spoiled."""
    return pathlib.Path(shutil.copytree(folder, tmp_path / "copy"))


def change(folder, **tensors):
    """Write the folder again with other tensors, its hashes right."""
    saved = read_folder(folder)
    kept = {k: v for k, v in (saved.tensors | tensors).items() if v is not None}
    write_folder(folder, dataclasses.replace(saved, tensors=kept))


def assert_same(again, clf, X):
    np.testing.assert_array_equal(again.predict_proba_members(X), clf.predict_proba_members(X))
    np.testing.assert_array_equal(again.predict(X), clf.predict(X))
    assert again.predict(X).dtype == clf.predict(X).dtype
    np.testing.assert_array_equal(again.classes_, clf.classes_)
    assert again.classes_.dtype == clf.classes_.dtype


def test__round_trip__once_and_twice(folder, fitted, tiny, texts, tmp_path):
    again = SVEClassifier.from_pretrained(folder, backbone=tiny)
    assert_same(again, fitted, texts)
    ours, theirs = fitted.get_params(), again.get_params()
    assert ours.keys() == theirs.keys()
    assert all(ours[k] == theirs[k] for k in ours if k not in ("backbone", "training"))
    assert again.backbone is tiny
    assert again.adapter_report_ == fitted.adapter_report_
    assert again.n_iter_ == fitted.n_iter_
    assert again.input_kind_ == "text"
    assert [row.keys() for row in again.history_] == [row.keys() for row in fitted.history_]
    for row, other in zip(again.history_, fitted.history_):
        assert all(np.array_equal(row[k], other[k]) for k in row)
    assert set(vars(again)) == set(vars(fitted))
    np.testing.assert_array_equal(
        again.predict_uncertainty(texts).epistemic, fitted.predict_uncertainty(texts).epistemic
    )
    third = SVEClassifier.from_pretrained(again.save_pretrained(tmp_path / "b"), backbone=tiny)
    assert_same(third, fitted, texts)


SETTINGS = {
    "band": {"off_diagonals": 2, "n_members": 2},
    "few": {"rank": 3, "n_members": 2},
    "few, band": {"rank": 5, "off_diagonals": 1, "n_members": 2},
    "own directions": {"rank": 3, "direction_pool": 6, "n_members": 2},
    "own directions, core": {
        "rank": 3, "off_diagonals": 2, "direction_pool": 6, "n_members": 2, "precision": "float32",
    },
    "random": {"rank": 4, "core": "random", "off_diagonals": 1, "n_members": 2},
    "own directions, top k": {
        "rank": 4, "core": "top_k", "off_diagonals": 1, "direction_pool": 6, "n_members": 2,
    },
    "share": {"rank": 0.6, "adapt_blocks": 1, "n_members": 1},
    "float32": {"precision": "float32", "train_bias": False, "pooling": "cls"},
    "bfloat16": {"precision": "bfloat16", "n_members": 1},
    "weights": {
        "class_weight": {np.str_("neg"): np.float64(2.0), "pos": 1}, "target_modules": ["query"],
        "max_grad_norm": None, "n_members": 1,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", SETTINGS)
def test__round_trip__of_settings(name, make, tiny, texts, labels, tmp_path):
    clf = make(max_epochs=1, **SETTINGS[name]).fit(texts, labels)
    again = SVEClassifier.from_pretrained(clf.save_pretrained(tmp_path), backbone=tiny)
    assert_same(again, clf, texts)
    assert repr(again.get_params()["class_weight"]) == repr(clf.class_weight)


LABELS = {
    "int": [3, 7] * 6,
    "float": [1.0, 2.0] * 6,
    "bool": [False, True] * 6,
    "object": np.array(["nein", "ja"] * 6, dtype=object),
    "three": [0, 1, 2] * 4,
}


@pytest.mark.parametrize("kind", LABELS)
def test__round_trip__of_labels(kind, tiny, texts, tmp_path):
    clf = LinearProbeClassifier(tiny, n_members=2, random_state=0)
    clf.fit(texts, LABELS[kind])
    again = LinearProbeClassifier.from_pretrained(clf.save_pretrained(tmp_path), backbone=tiny)
    assert_same(again, clf, texts)


@pytest.mark.parametrize("family", ["gpt2", "deberta-v2", "llama", "roberta"])
def test__round_trip__of_families(family, make, texts, labels, tmp_path):
    backbone = make_tiny_backbone(family)
    clf = make(backbone, n_members=2, max_epochs=1).fit(texts, labels)
    again = SVEClassifier.from_pretrained(clf.save_pretrained(tmp_path), backbone=backbone)
    assert_same(again, clf, texts)


def test__round_trip__of_a_table(tiny, tmp_path):
    X = pd.DataFrame({"age": [39, 47, None, 20] * 2, "job": ["nurse", None, "cook", "cook"] * 2})
    serializer = TabularToText(
        "The {name} is {value}.", names={"job": "work"}, columns=["job", "age"]
    )
    clf = LinearProbeClassifier(tiny, serializer=serializer, random_state=0)
    clf.fit(X, [0, 1] * 4)
    again = LinearProbeClassifier.from_pretrained(clf.save_pretrained(tmp_path), backbone=tiny)
    assert_same(again, clf, X)
    assert again.serializer.get_params() == serializer.get_params()
    assert again.n_features_in_ == 2
    np.testing.assert_array_equal(again.feature_names_in_, clf.feature_names_in_)
    with pytest.raises(ValueError, match="feature names"):
        again.predict(X.rename(columns={"age": "years"}))
    again.set_params(warm_start=True, n_members=2).fit(X, [0, 1] * 4)  # the serializer is the same
    np.testing.assert_array_equal(
        again.predict_proba_members(X)[0], clf.predict_proba_members(X)[0]
    )


@pytest.mark.parametrize("family", ["vit", "dinov2"])
def test__round_trip__of_images(family, make, labels, tmp_path):
    X = np.random.default_rng(0).integers(0, 255, (12, 30, 20, 3)).astype(np.uint8)
    model, processor = make_tiny_backbone(family)
    clf = make((model, processor), n_members=2, max_epochs=1).fit(X, labels)
    saved = clf.save_pretrained(tmp_path)
    again = SVEClassifier.from_pretrained(saved, backbone=(model, processor))
    assert_same(again, clf, X)
    pixels = processor(list(X), return_tensors="pt", input_data_format="channels_last")
    with torch.no_grad():
        got = clf.to_torch(1)(pixels["pixel_values"].double()).softmax(dim=-1)
    np.testing.assert_allclose(got, clf.predict_proba_members(X)[1], atol=1e-6)
    other = type(processor).from_dict({**processor.to_dict(), "image_mean": [0.1, 0.2, 0.3]})
    with pytest.raises(ValueError, match="tokenizer or image processor is not the one"):
        SVEClassifier.from_pretrained(saved, backbone=(model, other))


def test__round_trip__of_pairs(make, tiny, texts, labels, tmp_path):
    X = np.array([texts, texts[::-1]], dtype=object).T
    clf = make(n_members=2, max_epochs=1, serializer="pair").fit(X, labels)
    again = SVEClassifier.from_pretrained(clf.save_pretrained(tmp_path), backbone=tiny)
    assert_same(again, clf, X)
    assert again.serializer == "pair"
    batch = tiny[1](X[:, 0].tolist(), X[:, 1].tolist(), padding=True, return_tensors="pt")
    inputs = [batch[k] for k in ("input_ids", "attention_mask", "token_type_ids") if k in batch]
    with torch.no_grad():
        got = clf.to_torch(1)(*inputs).softmax(dim=-1)
    np.testing.assert_allclose(got, clf.predict_proba_members(X)[1], atol=1e-9)


def test__warm_start__goes_on_after_loading(folder, fitted, tiny, make, texts, labels):
    again = SVEClassifier.from_pretrained(folder, backbone=tiny)
    with pytest.raises(ValueError, match="rank cannot change"):
        again.set_params(warm_start=True, n_members=4, rank=2).fit(texts, labels)
    again.set_params(rank=fitted.rank).fit(texts, labels)
    np.testing.assert_array_equal(
        again.predict_proba_members(texts)[:3], fitted.predict_proba_members(texts)
    )
    four = make(n_members=4).fit(texts, labels)
    np.testing.assert_allclose(
        again.predict_proba_members(texts), four.predict_proba_members(texts), atol=1e-6
    )


def test__parameters_changed_after_fit__are_those_saved_and_the_classifier_stays(
    make, tiny, texts, labels, tmp_path
):
    clf = make(n_members=2, max_epochs=1, rank=3, off_diagonals=1).fit(texts, labels)
    clf.set_params(rank=7, n_members=9, random_state=None)
    before, names = clf.predict_proba_members(texts), set(vars(clf))
    again = SVEClassifier.from_pretrained(clf.save_pretrained(tmp_path), backbone=tiny)
    np.testing.assert_array_equal(clf.predict_proba_members(texts), before)
    assert set(vars(clf)) == names
    assert_same(again, clf, texts)
    assert (again.rank, again.n_members, again.random_state) == (7, 9, None)


def test__by_name__the_backbone_is_found_again_or_asked_for(make, texts, labels, tmp_path):
    home = save_tiny(tmp_path / "backbone")
    clf = make(home, n_members=1, max_epochs=1).fit(texts, labels)
    saved = clf.save_pretrained(tmp_path / "model")
    again = SVEClassifier.from_pretrained(saved)
    assert again.backbone == home
    assert_same(again, clf, texts)
    assert str(home) not in (saved / "README.md").read_text()  # nobody's disk on the hub
    moved = home.rename(tmp_path / "elsewhere")
    with pytest.raises(BackboneNotFoundError, match="backbone"):
        SVEClassifier.from_pretrained(saved)
    assert_same(SVEClassifier.from_pretrained(saved, backbone=moved), clf, texts)


# -- another LAPACK ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["band", "few, band"])
def test__other_signs_of_singular_vectors__are_turned_back(
    name, make, tiny, texts, labels, tmp_path, monkeypatch
):
    clf = make(max_epochs=1, **SETTINGS[name]).fit(texts, labels)
    saved = clf.save_pretrained(tmp_path)

    def flipped(weight, key=None):
        U, S, Vh = decompose(weight)
        sign = torch.tensor([1.0, -1.0], dtype=S.dtype).repeat(len(S))[: len(S)]
        return U * sign, S, Vh * sign[:, None]

    monkeypatch.setattr(svd_cache, "get", flipped)
    again = SVEClassifier.from_pretrained(saved, backbone=tiny)
    np.testing.assert_allclose(
        again.predict_proba_members(texts), clf.predict_proba_members(texts), atol=1e-12
    )


def test__wrong_singular_vectors__raise(folder, tiny, monkeypatch):
    def shifted(weight, key=None):
        U, S, Vh = decompose(weight)
        return U.roll(1, dims=1), S, Vh.roll(1, dims=0)

    monkeypatch.setattr(svd_cache, "get", shifted)
    with pytest.raises(PersistenceError, match=r"encoder\.layer\.0\..*singular vectors"):
        SVEClassifier.from_pretrained(folder, backbone=tiny)


# -- what cannot be saved ------------------------------------------------------------------------


class Shout(BaseEstimator):
    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return [str(row) for row in X]


class Cased(TabularToText):
    pass


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"training__callbacks": [Callback()]}, r"set_params\(training__callbacks=None\)"),
        ({"serializer": Shout()}, "Shout.*Pipeline"),
        ({"serializer": Cased()}, "Cased"),
        ({"random_state": np.random.RandomState(0)}, r"^parameters\.random_state is an object"),
    ],
    ids=["callbacks", "foreign serializer", "subclass", "random state"],
)
def test__save__refuses_before_anything_is_written(changes, words, make, tmp_path):
    clf = make(n_members=1, max_epochs=1, side_features=None).set_params(**changes)
    clf.fit(np.eye(4, 2), [0, 1] * 2)
    with pytest.raises(PersistenceError, match=words):
        clf.save_pretrained(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test__save__wants_a_fitted_classifier_and_finite_numbers(
    make, tiny, fitted, texts, labels, tmp_path
):
    clf = LinearProbeClassifier(tiny, random_state=0).fit(texts, labels)
    with torch.no_grad():
        clf.net_.module_.heads.bias[0, 0] = float("nan")
    with pytest.raises(PersistenceError, match="diverged"):
        clf.save_pretrained(tmp_path / "model")
    with pytest.raises(NotFittedError):
        make().save_pretrained(tmp_path / "model")
    with pytest.raises(ValueError, match="'metrics'"):
        fitted.save_pretrained(tmp_path / "model", metrics={"f1": "good"})
    assert list(tmp_path.iterdir()) == []


# -- what must not be loaded ---------------------------------------------------------------------


def test__pair_and_device__are_checked_before_the_backbone_is_looked_for(folder):
    with pytest.raises(ValueError, match="'device'"):
        SVEClassifier.from_pretrained(folder, device="abacus")
    with pytest.raises(PersistenceError, match=r"BertModel.*backbone=\(model, processor\)"):
        SVEClassifier.from_pretrained(folder)


def other_weights(name):
    model, tokenizer = make_tiny_backbone()
    with torch.no_grad():
        model.get_parameter(name).mul_(1.001)
    return model, tokenizer


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("encoder.layer.1.output.dense.weight", r"differ in: encoder\.layer\.1\.output\.dense\."),
        ("embeddings.word_embeddings.weight", "embeddings, norms"),
        ("encoder.layer.0.output.dense.bias", "not adapted"),
    ],
    ids=["adapted", "embeddings", "bias"],
)
def test__other_weights(name, words, folder):
    with pytest.raises(PersistenceError, match=words):
        SVEClassifier.from_pretrained(folder, backbone=other_weights(name))


def test__other_configuration_family_or_tokenizer(folder, tiny):
    model, tokenizer = make_tiny_backbone()
    model.config.hidden_act = "relu"
    with pytest.raises(ValueError, match=r"hidden_act: 'gelu' then, 'relu' now"):
        SVEClassifier.from_pretrained(folder, backbone=(model, tokenizer))
    with pytest.raises(ValueError, match="model_type: 'bert' then, 'gpt2' now"):
        SVEClassifier.from_pretrained(folder, backbone=make_tiny_backbone("gpt2"))
    tokenizer.add_tokens(["zebra"])
    with pytest.raises(ValueError, match=r"ids up to 230 .* embeddings for 230"):
        SVEClassifier.from_pretrained(folder, backbone=(tiny[0], tokenizer))


def test__pooler__is_not_used_and_not_asked_for(folder, fitted, texts):
    model, tokenizer = make_tiny_backbone()
    model.pooler = None
    assert_same(SVEClassifier.from_pretrained(folder, backbone=(model, tokenizer)), fitted, texts)


def test__another_class(folder, tiny):
    with pytest.raises(PersistenceError, match=r"Load it with SVEClassifier\.from_pretrained"):
        LinearProbeClassifier.from_pretrained(folder, backbone=tiny)


DELTA = "split.model.encoder.layer.0.output.dense.values"
BASIS = "split.model.encoder.layer.0.output.dense.projected_U"


@pytest.mark.parametrize(
    ("name", "spoil", "words"),
    [
        (DELTA, lambda v: v[:1], "must be float64 of shape"),
        (DELTA, lambda v: v.astype(np.float32), "got float32"),
        (DELTA, lambda v: v * np.nan, "NaN or infinity"),
        (DELTA, lambda v: None, "is missing"),
        ("heads.bias", lambda v: v[:, :, None], "heads.bias has shape"),
        ("heads.more", lambda v: np.zeros(1), "belongs to no part"),
        (BASIS, lambda v: v[:4], r"projected_U and projected_V of shape \(8, r\)"),
        (BASIS, lambda v: v + 1e-4, "singular vectors"),
    ],
    ids=["shape", "dtype", "nan", "missing", "dimensions", "extra", "rows", "mismatch"],
)
def test__tensors_that_do_not_fit(name, spoil, words, own, tiny):
    value = read_folder(own).tensors.get(name)
    change(own, **{name: spoil(value)})
    with pytest.raises(PersistenceError, match=words):
        SVEClassifier.from_pretrained(own, backbone=tiny)


@pytest.mark.parametrize(
    "spoil",
    [
        put(["content", "parameters", "unheard_of"], 1),
        put(["content", "parameters", "rank"], {"$eval": "1"}),
        put(["content", "settings", "rank"], "many"),
        put(["content", "members"], [0, -1]),
        put(["content", "members"], []),
        put(["content", "members"], "012"),
        put(["content", "attributes", "classes_"], ["neg", "pos"]),
        put(["content", "settings", "random_state"], "0"),
        put(["content", "attributes", "predict"], 1),
        put(["content", "attributes", "__class__"], 1),
        put(["content", "attributes", "net_"], 1),
        put(["content", "backbone"], None),
        put(["content", "backbone", "frozen"], None),
        put(["content", "serializer", "parameter"], {"$object": ["os.system", {}, {}]}),
        put(["content", "serializer"], 1),
        lambda manifest: manifest["content"].pop("attributes"),
        lambda manifest: manifest["content"]["attributes"].pop("classes_"),
    ],
    ids=[
        "unknown parameter", "unknown mark", "bad value", "negative", "none", "text", "list", "seed",
        "method", "class", "derived", "no backbone", "no hashes", "foreign class", "no serializer",
        "no attributes", "no classes",
    ],
)  # fmt: skip
def test__content_that_is_not_ours(spoil, own, tiny):
    reseal(own, spoil)
    with pytest.raises(ValueError):
        SVEClassifier.from_pretrained(own, backbone=tiny)


def test__damaged_file_or_a_backbone_in_the_saved_folder__is_refused(own, tiny):
    for part in tiny:
        part.save_pretrained(own / "inside")
    reseal(own, put(["content", "backbone", "given"], str(own / "inside")))
    with pytest.raises(PersistenceError, match="lies inside"):
        SVEClassifier.from_pretrained(own)
    [path] = own.glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(IntegrityError, match="truncated"):
        SVEClassifier.from_pretrained(own, backbone=tiny)


# -- the hub -------------------------------------------------------------------------------------


def test__push_to_hub__uploads_what_can_be_loaded(fitted, tiny, texts, tmp_path, monkeypatch):
    class Api:
        def __init__(self, token=None):
            pass

        def create_repo(self, *args, **kwargs):
            pass

        def upload_folder(self, *, folder_path, **kwargs):
            shutil.copytree(folder_path, tmp_path / "hub")
            return "done"

    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    assert fitted.push_to_hub("me/model", metrics={"accuracy": 0.9}) == "done"
    assert_same(SVEClassifier.from_pretrained(tmp_path / "hub", backbone=tiny), fitted, texts)
    assert "accuracy" in (tmp_path / "hub" / "README.md").read_text()


# -- size ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test__five_members_of_the_real_backbone__take_under_2_percent(tmp_path, texts, labels):
    from sksve.backbones import fetch_backbone

    home = fetch_backbone("all-MiniLM-L6-v2")
    clf = SVEClassifier(max_epochs=1, random_state=0).fit(texts, labels)
    saved = clf.save_pretrained(tmp_path / "model")
    size = sum(path.stat().st_size for path in saved.iterdir())
    assert size < 0.02 * (home / "model.safetensors").stat().st_size
    assert_same(SVEClassifier.from_pretrained(saved), clf, texts)


def test__saved__goes_on_where_partial_fit_stopped(make, texts, labels, tmp_path):
    clf = make().fit(texts, labels).partial_fit(texts[:8], labels[:8])
    loaded = type(clf).from_pretrained(clf.save_pretrained(tmp_path), backbone=clf.backbone)
    for each in (clf, loaded):
        each.partial_fit(texts, labels)
    np.testing.assert_array_equal(loaded.predict_proba(texts), clf.predict_proba(texts))


def test__saved__keeps_words_for_numbers_and_free_text(make, tiny, tmp_path):
    notes = [f"a long remark number {i} in plain words" for i in range(12)]
    frame = pd.DataFrame({"note": notes, "amount": np.arange(12) ** 2})
    clf = make(serializer=TabularToText(digits=3, text_columns=["note"])).fit(frame, [0, 1] * 6)
    loaded = SVEClassifier.from_pretrained(clf.save_pretrained(tmp_path), backbone=tiny)
    assert_same(loaded, clf, frame)


def test__saved__soft_labels_and_their_names(make, tiny, texts, tmp_path):
    soft = pd.DataFrame({"bad": [0.2, 0.9] * 6, "good": [0.8, 0.1] * 6})
    clf = make().fit(texts, soft)
    loaded = SVEClassifier.from_pretrained(clf.save_pretrained(tmp_path), backbone=tiny)
    assert loaded.classes_.tolist() == ["bad", "good"]
    assert_same(loaded, clf, texts)
    assert loaded.score(texts, soft) == clf.score(texts, soft)
