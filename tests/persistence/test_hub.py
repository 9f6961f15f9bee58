"""Upload through huggingface_hub's own client, which is replaced: no test asks the network."""

import sys
from types import SimpleNamespace

import pytest

from sksve import PersistenceError
from sksve.persistence import class_named, push_folder


class FakeApi:
    calls: list = []  # noqa: RUF012

    def __init__(self, token=None):
        self.calls.append(("token", token))

    def create_repo(self, repo_id, **rest):
        self.calls.append(("create", repo_id, rest))

    def upload_folder(self, **rest):
        self.calls.append(("upload", rest))
        return SimpleNamespace(commit_url="address of the commit")


def test__push_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(FakeApi, "calls", [])
    monkeypatch.setattr("huggingface_hub.HfApi", FakeApi)
    got = push_folder(tmp_path, "me/model", private=True, token="secret", revision="dev")
    assert got == "address of the commit"
    (_, token), (_, repo, made), (_, sent) = FakeApi.calls
    assert (token, repo) == ("secret", "me/model")
    assert made == {"repo_type": "model", "private": True, "exist_ok": True}
    assert sent["folder_path"] == str(tmp_path)
    assert sent["revision"] == "dev"
    # The tensors of the model that was there go; those just uploaded are not matched first.
    assert sent["delete_patterns"] == ["members-*.safetensors"]


def test__fake_takes_what_the_real_client_takes():
    import inspect

    from huggingface_hub import HfApi

    create = inspect.signature(HfApi.create_repo).parameters
    upload = inspect.signature(HfApi.upload_folder).parameters
    assert {"repo_id", "repo_type", "private", "exist_ok"} <= set(create)
    assert {
        "repo_id", "repo_type", "folder_path", "commit_message", "revision", "delete_patterns"
    } <= set(upload)  # fmt: skip


def test__without_huggingface_hub(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match="pip install huggingface_hub"):
        push_folder(tmp_path, "me/model")


@pytest.mark.parametrize("name", ["os.system", "Popen", "sksve.SVEClassifier", "", None, ["a"]])
def test__class_named__is_a_closed_list(name):
    with pytest.raises(PersistenceError, match="may hold SVEClassifier"):
        class_named(name)
