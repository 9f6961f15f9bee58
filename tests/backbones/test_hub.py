"""The hub as a last resort: what its client raises becomes a reason, never a traceback."""

from fnmatch import fnmatch

import huggingface_hub
import pytest
from huggingface_hub.utils import are_progress_bars_disabled

from tests.private import resolve


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub that answers; gives the calls of its download."""
    calls = []

    def snapshot_download(repository, **options):
        calls.append((repository, options, are_progress_bars_disabled()))
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda self, name, timeout: None)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return calls


def test_download__gives_the_snapshot_and_fetches_no_code(hub, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert resolve.download_from_hub("a/b") == (tmp_path, "")
    [(repository, options, silent)] = hub
    assert (repository, silent) == ("a/b", True)
    assert options["cache_dir"] == resolve.hub_cache_folder()
    for unwanted in ("modeling_own.py", "pytorch_model.bin"):
        assert not any(fnmatch(unwanted, pattern) for pattern in options["allow_patterns"])
    assert not are_progress_bars_disabled()


def test_download__without_weights_says_so(hub):
    folder, reason = resolve.download_from_hub("a/b")
    assert folder is None
    assert reason == "it has no config.json with safetensors weights"


def test_download__unreachable_hub_is_a_reason_in_one_line(hub, monkeypatch):
    def refuse(self, name, timeout):
        assert timeout <= 10
        raise ConnectionError("no route\nto the hub")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", refuse)
    assert resolve.download_from_hub("a/b") == (None, "ConnectionError: no route")
    assert hub == []


@pytest.mark.parametrize(
    ("value", "expected"), [("1", True), ("true", True), ("0", False), ("", False)]
)
def test_offline__is_read_from_the_environment_at_each_call(value, expected, monkeypatch):
    monkeypatch.delenv("TRANSFORMERS_OFFLINE", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    assert resolve.hub_is_offline() is expected


def test_cache_folder__follows_the_environment(monkeypatch, tmp_path):
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert resolve.hub_cache_folder() == tmp_path / "x" / "huggingface" / "hub"
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    assert resolve.hub_cache_folder() == tmp_path / "home" / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    assert resolve.hub_cache_folder() == tmp_path / "cache"
