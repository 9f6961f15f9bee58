"""Data parallelism: two processes on this machine learn what one process learns."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.base import clone

from sksve import SVEClassifier, Training
from sksve.training import Processes, Run
from tests.training.data_parallel_fits import CASES, fit, learned

ROOT = Path(__file__).parent.parent.parent
SCRIPT = ROOT / "tests" / "training" / "data_parallel_fits.py"
TORCHRUN = ("torch.distributed.run", "--nproc_per_node", "2")
ACCELERATE = ("accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
              "--mixed_precision", "no", "--dynamo_backend", "no")  # fmt: skip
LIMIT = 600  # seconds after which a deadlock is one, on a busy machine, too


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def launch(launcher, script, *arguments):
    """Run a script in two processes; return what they say, or fail when they hang."""
    option = "--master_port" if launcher is TORCHRUN else "--main_process_port"
    command = [sys.executable, "-m", *launcher, option, str(free_port()), str(script), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=LIMIT, cwd=ROOT
    )
    return done.returncode, done.stdout + done.stderr


def check(folder, name):
    alone = learned(fit(name))
    first, second = (dict(np.load(folder / f"{name}-{rank}.npz")) for rank in (0, 1))
    assert first.keys() == second.keys() == alone.keys()
    for key, value in first.items():  # every bit the same in both processes
        np.testing.assert_array_equal(second[key], value, err_msg=f"{name}: {key}")
    single = alone["proba"].dtype == np.float64 and alone["p0"].dtype == np.float64
    tolerance = 1e-8 if single else 1e-4
    for key, value in alone.items():
        # float32: a gradient that is zero but for rounding (a key's bias) is all noise to AdamW.
        if single or not key.startswith("p") or key == "proba":
            np.testing.assert_allclose(
                first[key], value, rtol=0, atol=tolerance, err_msg=f"{name}: {key}"
            )
    return alone


@pytest.mark.slow
def test_torchrun__two_processes_learn_what_one_learns(tmp_path):
    code, said = launch(TORCHRUN, SCRIPT, str(tmp_path), "stopping")
    assert code == 0, said[-3000:]
    alone = check(tmp_path, "stopping")
    stopped = np.isnan(alone["history train_loss"])
    assert stopped.any(), "no member has stopped early: the case shows nothing"
    assert not stopped[-1].all()


@pytest.mark.slow
def test_torchrun__every_case(tmp_path):
    names = [name for name in CASES if name != "stopping"]
    code, said = launch(TORCHRUN, SCRIPT, str(tmp_path), *names)
    assert code == 0, said[-3000:]
    for name in names:
        check(tmp_path, name)


@pytest.mark.slow
def test_accelerate_launch__two_processes_learn_what_one_learns(tmp_path):
    code, said = launch(ACCELERATE, SCRIPT, str(tmp_path), "shared")
    assert code == 0, said[-3000:]
    check(tmp_path, "shared")


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_torchrun__two_gpus_learn_what_one_cpu_learns(tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_PARALLEL_DEVICE", "cuda")
    code, said = launch(TORCHRUN, SCRIPT, str(tmp_path), "independent", "stopping")
    assert code == 0, said[-3000:]
    for name in ("independent", "stopping"):
        check(tmp_path, name)


FAULTS = """
import os, sys, numpy as np
from accelerate import Accelerator
from tests.training.data_parallel_fits import TEXTS, LABELS, fit, new

rank = int(os.environ["RANK"])
accelerator = Accelerator(cpu=True)  # as a script that uses Accelerate for other things has it
assert accelerator.num_processes == 2

def told(what, texts=TEXTS, labels=LABELS, **changes):
    clf = new(**{"data_parallel": True} | changes)
    try:
        clf.fit(texts, labels)
    except (ValueError, FloatingPointError) as error:
        print(f"<{what} {rank}: {type(error).__name__}: {error}>", flush=True)
    return clf

told("shards", TEXTS[6 * rank :][:6], LABELS[6 * rank :][:6])  # two classes in each
told("labels", labels=LABELS if rank else LABELS[::-1])
told("rate", lr=0.1 * (1 + rank))
told("diverged", lr=1e300, max_epochs=3)
told("n_jobs", n_jobs=2)
told("alone", labels=["pos"] * 13 if rank else LABELS)  # fails in one process, before any meets another
clf = told("begin", max_epochs=1)
try:
    clf.partial_fit(TEXTS, LABELS[:5] if rank else LABELS)
except ValueError as error:
    print(f"<further {rank}: ValueError: {error}>", flush=True)

# Fresh entropy in each process: they agree on one.
states = (None, np.random.default_rng())
seeds = [told("seed", random_state=s).settings_.random_state for s in states]
print(f"<seeds {rank}: {seeds}>", flush=True)

# verbose: the main process alone speaks, with its own voice and no other.
told("verbose", verbose=1, max_epochs=1)

# A process on its own beside the others.
if rank == 1:
    fit("independent", data_parallel=False)
accelerator.wait_for_everyone()
print(f"<end {rank}>", flush=True)
"""


def spoken(said, what, rank):
    """What a process has said; two of them may write on one line."""
    (words,) = re.findall(rf"<{what} {rank}: ([^>]*)>", said)
    return words


@pytest.mark.slow
def test_faults__are_told_by_all_processes_and_nobody_waits(tmp_path):
    script = tmp_path / "faults.py"
    script.write_text(FAULTS)
    code, said = launch(TORCHRUN, script)
    assert code == 0, said[-3000:]
    for rank in (0, 1):
        for what, words in [
            ("shards", "other rows of X"),
            ("labels", "other targets"),
            ("rate", "other parameters"),
            ("diverged", "NonFiniteLossError"),
            ("n_jobs", "use one of the two"),
            ("alone", ("Process 1 of 2 could not: ValueError", "Got only one class")[rank]),
            ("further", ("Process 1 of 2 could not: ValueError", "inconsistent numbers")[rank]),
        ]:
            assert words in spoken(said, what, rank)
        assert f"<end {rank}>" in said
    assert spoken(said, "seeds", 0) == spoken(said, "seeds", 1)
    # The table's head; "train_loss=" is of the progress bar, which a slow machine shows.
    assert len(re.findall(r"train_loss(?!=)", said)) == 1


# -- in one process ------------------------------------------------------------------------------


def test_data_parallel__in_a_script_started_plainly__does_nothing():
    alone, with_it = fit("independent"), fit("independent", data_parallel=True)
    np.testing.assert_array_equal(
        with_it.predict_proba_members(["good film"]), alone.predict_proba_members(["good film"])
    )
    assert type(with_it.net_) is type(alone.net_)


def test_data_parallel__is_a_parameter_like_others(tmp_path):
    clf = SVEClassifier(training=Training(data_parallel=True))
    assert clone(clf).get_params()["training__data_parallel"] is True
    with pytest.raises(ValueError, match="'data_parallel' parameter of Training"):
        clf.set_params(training__data_parallel="auto").fit(["a", "b"], [0, 1])


def test_join_processes__alone_under_torchrun_unless_told(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert Processes.join(False, "cpu") == Processes(0, 1, None)


def test_join_processes__members_and_data_parallel_fits_exclude_each_other():
    with pytest.raises(ValueError, match="n_jobs=2 splits members over tasks"):
        Processes.join(True, "cpu", 2)


def test_processes__one_that_fails_tells_the_others(monkeypatch):
    said = []
    monkeypatch.setattr(Processes, "gather", lambda self, value: said.append(value))
    with pytest.raises(KeyError, match="y"), Processes(1, 2).expected():
        raise KeyError("y")
    assert said == [{"error": "KeyError: 'y'"}]
    with Processes(1, 2).expected():
        pass
    assert len(said) == 1, "no word where nothing has failed"

    monkeypatch.setattr(Processes, "gather", lambda self, own: [own, *said])
    settings = SimpleNamespace(of_scope=lambda *scopes: {}, random_state=0)
    with pytest.raises(ValueError, match="Process 1 of 2 could not: KeyError: 'y'"):
        Processes(0, 2).share(settings, Run(2), [])


def test_join_processes__names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(ImportError, match=r"sksve\[accelerate\]"):
        Processes.join(True, "cpu")


RESUMED = """
import os, sys, warnings, numpy as np
from skorch.callbacks import Callback
from tests.training.data_parallel_fits import learned, fit

rank, folder, name = int(os.environ["RANK"]), sys.argv[1], "stopping"

class Dead(Exception):
    pass

class Die(Callback):
    steps = 0

    def on_batch_end(self, net, training=False, **kwargs):
        Die.steps += training
        if Die.steps == 5:
            raise Dead

same = {"data_parallel": True, "checkpoint_dir": folder}
try:
    fit(name, callbacks=[Die()], **same)
except Dead:
    print(f"<dead {rank}: {len(os.listdir(folder))} files>", flush=True)
learning = learned(fit(name, **same))
np.savez(os.path.join(os.path.dirname(folder), f"{name}-{rank}.npz"), **learning)
print(f"<left {rank}: {sorted(os.listdir(folder))}>", flush=True)
"""


@pytest.mark.slow
def test_checkpoint__all_processes_go_on_from_what_the_main_one_wrote(tmp_path):
    script = tmp_path / "resumed.py"
    script.write_text(RESUMED)
    (tmp_path / "checkpoints").mkdir()
    code, said = launch(TORCHRUN, script, str(tmp_path / "checkpoints"))
    assert code == 0, said[-3000:]
    for rank in (0, 1):
        assert f"<dead {rank}:" in said
        assert f"<dead {rank}: 0 files>" not in said
        assert f"<left {rank}: []>" in said
    check(tmp_path, "stopping")
