"""The folder: whole at every moment, and refused if a byte is not as it was."""

import os
import pathlib
import signal
import sys
import threading

import numpy as np
import pytest
from safetensors.numpy import save_file

from sksve import IntegrityError, PersistenceError, persistence
from sksve.calibration import TemperatureScaling
from sksve.persistence import SavedModel, class_named, read_folder, write_folder
from tests.persistence.manifest import put, reseal

CODE = os.path.join(persistence.__path__[0], "_folder.py")

OLD = SavedModel("Old", {"which": "old"}, {"x": np.zeros(3)})
NEW = SavedModel("New", {"which": "new", "v": [1.5, (None,)]}, {"x": np.ones((2, 2), np.float32)})


def which(folder):
    """Read the folder and check that it is one of the two models, whole."""
    found = read_folder(folder)
    expected = {"Old": OLD, "New": NEW}[found.class_name]
    assert found.content == expected.content
    assert list(found.tensors) == list(expected.tensors)
    for name, value in expected.tensors.items():
        assert found.tensors[name].dtype == value.dtype
        np.testing.assert_array_equal(found.tensors[name], value)
    return found.class_name


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "model", OLD, card="old card")


def tensor_file(folder):
    [path] = folder.glob("*.safetensors")
    return path


def test__round_trip(folder):
    assert which(folder) == "Old"
    assert (folder / "README.md").read_text() == "old card"
    assert len(list(folder.iterdir())) == 3


def test__round_trip__of_views_and_empty_arrays(tmp_path):
    tensors = {"t": np.arange(6.0).reshape(2, 3).T, "e": np.zeros((3, 0)), "s": np.arange(9)[::2]}
    write_folder(tmp_path / "a", SavedModel("New", {}, tensors))
    found = read_folder(tmp_path / "a").tensors
    for name, value in tensors.items():
        np.testing.assert_array_equal(found[name], value)


def test__round_trip__of_arrays_objects_and_models_inside(tmp_path):
    inner = SavedModel("Inner", {"big": np.arange(300)}, {"x": np.zeros(3), "content": np.ones(1)})
    scaling = TemperatureScaling(input="logits").fit(
        [[1.0, 2.0], [0.5, 0.0], [0.0, 1.0]], [0, 0, 1]
    )
    content = {"inner": inner, "x": np.arange(300.0), "scaling": [scaling], "inner.x": {"a": None}}
    saved = SavedModel("Outer", content, {"x": np.ones(2), "inner.x": np.full(1, 7)})
    found = read_folder(write_folder(tmp_path / "a", saved))
    assert sorted(found.tensors) == ["inner.x", "x"]
    np.testing.assert_array_equal(found.tensors["inner.x"], [7])
    np.testing.assert_array_equal(found.content["x"], np.arange(300.0))
    assert found.content["inner"].class_name == "Inner"
    np.testing.assert_array_equal(found.content["inner"].content["big"], np.arange(300))
    np.testing.assert_array_equal(found.content["inner"].tensors["x"], np.zeros(3))
    np.testing.assert_array_equal(found.content["inner"].tensors["content"], np.ones(1))
    [again] = found.content["scaling"]
    assert type(again) is TemperatureScaling
    assert vars(again).keys() == vars(scaling).keys()
    assert (again.input, again.temperature_) == ("logits", scaling.temperature_)


def test__write__refuses_what_it_cannot_hold_before_anything_is_written(tmp_path):
    with pytest.raises(PersistenceError, match=r"^a\.b\[0\] is an object of class"):
        write_folder(tmp_path / "a", SavedModel("New", {"a": {"b": [object()]}}, {}))
    assert list(tmp_path.iterdir()) == []


def test__write__makes_parents_and_takes_an_empty_folder(tmp_path):
    assert which(write_folder(tmp_path / "a" / "b" / "c", NEW)) == "New"
    (tmp_path / "empty").mkdir()
    assert which(write_folder(str(tmp_path / "empty"), NEW)) == "New"


def test__write__replaces_a_saved_model_and_keeps_what_others_put_there(folder):
    (folder / "notes.txt").write_text("mine")
    write_folder(folder, NEW, card="new card")
    assert which(folder) == "New"
    assert (folder / "README.md").read_text() == "new card"
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        ["README.md", "notes.txt", "sksve.json", tensor_file(folder).name]
    )


@pytest.mark.parametrize("name", ["thesis.tex", "sksve.json", "README.md"])
def test__write__refuses_a_folder_of_other_things(name, tmp_path):
    (tmp_path / name).write_text('{"format": "other"}')
    with pytest.raises(FileExistsError, match=r"Choose|choose"):
        write_folder(tmp_path, NEW)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == '{"format": "other"}'


def test__write__refuses_a_file(tmp_path):
    (tmp_path / "model").write_text("x")
    with pytest.raises(FileExistsError, match="is a file"):
        write_folder(tmp_path / "model", NEW)


# -- a fault or a kill at every moment -----------------------------------------------------------


def at_line(n, action):
    """Trace the code that writes and call `action` before its n-th line runs; count the lines."""
    count = 0

    def trace(frame, event, _):
        nonlocal count
        if frame.f_code.co_filename != CODE:
            return None
        if event == "line":
            count += 1
            if count == n:
                action()
        return trace

    return trace, lambda: count


def count_lines(save):
    before = sys.gettrace()
    trace, count = at_line(0, None)
    sys.settrace(trace)
    try:
        save()
    finally:
        sys.settrace(before)
    return count()


def killed_at(n, save):
    """Run `save` in a child process that kills itself before line n; whether it was killed."""
    child = os.fork()
    if child == 0:
        trace, _ = at_line(n, lambda: os.kill(os.getpid(), signal.SIGKILL))
        sys.settrace(trace)
        save()
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


# All moments in the slow suite, some of them always.
every_line = pytest.mark.parametrize("step", [17, pytest.param(1, marks=pytest.mark.slow)])
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")


@needs_fork
@every_line
@pytest.mark.parametrize("before", ["model", "nothing", "empty folder"])
def test__killed_at_every_line__whole_or_as_before(before, step, tmp_path):
    def start(name):
        if before == "model":
            write_folder(tmp_path / name, OLD)
        elif before == "empty folder":
            (tmp_path / name).mkdir()
        return tmp_path / name

    folder = start("count")
    n = count_lines(lambda: write_folder(folder, NEW))
    seen = []
    for line in range(n, 0, -step):
        folder = start(f"model{line}")
        assert killed_at(line, lambda folder=folder: write_folder(folder, NEW))
        try:
            seen.append(which(folder))
        except (FileNotFoundError, PersistenceError):  # no folder, or no manifest in it
            assert not (folder / "sksve.json").exists()
            seen.append("nothing")
        assert which(write_folder(folder, OLD)) == "Old"  # what is left does not stand in the way
    assert n >= 50
    assert seen == sorted(seen)  # once the new model is there, it stays
    assert set(seen) == ({"Old", "New"} if before == "model" else {"New", "nothing"})


class Interrupted(BaseException):
    pass


@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
@every_line
def test__interrupted_at_every_line__old_or_new_is_there_whole(step, folder):
    n = count_lines(lambda: write_folder(folder, OLD))

    def interrupt():
        raise Interrupted

    for line in range(n, 0, -step):
        before = sys.gettrace()
        trace, _ = at_line(line, interrupt)
        sys.settrace(trace)
        try:
            write_folder(folder, NEW)
        except Interrupted:
            pass
        finally:
            sys.settrace(before)
        which(folder)
        write_folder(folder, OLD)
    assert n > 50


@pytest.mark.parametrize("call", ["fsync", "replace", "rename", "mkdir"])
@pytest.mark.parametrize("there", [True, False])
def test__full_disk__leaves_no_trace(call, there, tmp_path, monkeypatch):
    if there:
        write_folder(tmp_path / "model", OLD)
    before = sorted(p.name for p in tmp_path.rglob("*"))
    fails = OSError(28, "No space left on device")

    def fail(*args, **kwargs):
        raise fails

    target = pathlib.Path if call == "mkdir" else os
    monkeypatch.setattr(target, call, fail)
    if (call in {"rename", "mkdir"} and there) or (call == "replace" and not there):
        return  # that way does not take this step
    with pytest.raises(OSError, match="No space left"):
        write_folder(tmp_path / "model", NEW)
    monkeypatch.undo()
    assert sorted(p.name for p in tmp_path.rglob("*")) == before
    if there:
        assert which(tmp_path / "model") == "Old"


def test__stale_leftovers_go_after_an_hour(folder):
    names = ["members-0123456789abcdef.safetensors", ".saving-0123456789abcdef"]
    beside = folder.with_name(f".{folder.name}.saving-0123456789abcdef")
    for path in [folder / n for n in names]:
        path.write_text("x")
    write_folder(folder, OLD)
    assert all((folder / n).exists() for n in names)  # perhaps another process is still writing
    for path in [folder / n for n in names]:
        os.utime(path, (1, 1))
    write_folder(folder, OLD)
    assert not any((folder / n).exists() for n in names)
    beside.mkdir()
    os.utime(beside, (1, 1))
    write_folder(folder.with_name("other"), OLD)
    assert beside.exists()  # the leftover of another model's save


def test__reader_beside_a_writer__always_sees_a_whole_model(folder):
    done = threading.Event()
    faults = []

    def read():
        while not done.is_set():
            try:
                which(folder)
            except Exception as error:
                faults.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for k in range(40):
        write_folder(folder, (OLD, NEW)[k % 2])
    done.set()
    reader.join()
    assert faults == []


@pytest.mark.parametrize("look", [1, 2, 3, 4])
def test_reader__a_save_between_any_two_looks_at_a_file(folder, monkeypatch, look):
    looks, stat = [], os.stat

    def stat_and_save(path, *args, **kwargs):
        found = stat(path, *args, **kwargs)
        if str(path).startswith(str(folder) + os.sep):
            looks.append(path)
            if len(looks) == look:
                write_folder(folder, NEW)
        return found

    monkeypatch.setattr(os, "stat", stat_and_save)
    assert which(folder) in ("Old", "New")
    assert len(looks) >= min(look, 3)


# -- reading what is not as it was ---------------------------------------------------------------


@pytest.mark.parametrize("part", ["tensors", "manifest"])
def test__every_flipped_bit_is_seen(part, folder):
    path = tensor_file(folder) if part == "tensors" else folder / "sksve.json"
    data = path.read_bytes()
    for place in range(0, len(data), 7):
        changed = bytearray(data)
        changed[place] ^= 1 << (place % 8)
        path.write_bytes(bytes(changed))
        with pytest.raises((PersistenceError, IntegrityError)) as raised:
            read_folder(folder)
        assert str(folder) in str(raised.value)
    path.write_bytes(data)
    assert which(folder) == "Old"


@pytest.mark.parametrize("part", ["tensors", "manifest"])
def test__truncated(part, folder):
    path = tensor_file(folder) if part == "tensors" else folder / "sksve.json"
    data = path.read_bytes()
    for size in (0, 1, len(data) // 2, len(data) - 2):
        path.write_bytes(data[:size])
        with pytest.raises(ValueError, match=r"truncated|strict JSON"):
            read_folder(folder)


def test__missing_tensors(folder):
    tensor_file(folder).unlink()
    with pytest.raises(IntegrityError, match="is missing"):
        read_folder(folder)


def test__other_tensors_of_the_same_size(folder):
    save_file({"x": np.ones(3)}, tensor_file(folder))
    with pytest.raises(IntegrityError, match="SHA-256"):
        read_folder(folder)


def test__newer_schema__is_said_before_anything_else(folder):
    reseal(folder, lambda m: m.update(schema_version=2, sksve_version="9.0", other={}))
    with pytest.raises(PersistenceError, match=r"written by sksve 9\.0.*Install a newer sksve"):
        read_folder(folder)


@pytest.mark.parametrize("schema", [0, -1, "1", None, True, 1.0])
def test__impossible_schema(schema, folder):
    reseal(folder, put(["schema_version"], schema))
    with pytest.raises(PersistenceError, match="never existed"):
        read_folder(folder)


@pytest.mark.parametrize(
    "changes",
    [{"more": 1}, {"tensors": []}, {"tensors": {"file": "x"}}, {"class": 3}, {"content": []}],
    ids=["key", "list", "keys", "class", "content"],
)
def test__a_manifest_of_another_form(changes, folder):
    reseal(folder, lambda m: m.update(changes))
    with pytest.raises(PersistenceError):
        read_folder(folder)


@pytest.mark.parametrize("text", ["[]", "3", '{"format": "onnx"}', "null"])
def test__no_manifest_of_ours(text, folder):
    (folder / "sksve.json").write_text(text)
    with pytest.raises(PersistenceError, match="is not the manifest"):
        read_folder(folder)


def test__no_such_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="snapshot_download"):
        read_folder(tmp_path / "none")
    with pytest.raises(PersistenceError, match=r"holds no sksve\.json"):
        read_folder(tmp_path)


def test__tensors_that_are_no_safetensors(folder):
    reseal(folder, tensors=b"not what it says")
    with pytest.raises(PersistenceError, match="cannot be read"):
        read_folder(folder)


@pytest.mark.parametrize("name", ["os.system", "Popen", "sksve.SVEClassifier", "", None, ["a"]])
def test__class_named__is_a_closed_list(name):
    with pytest.raises(PersistenceError, match="may hold SVEClassifier"):
        class_named(name)
