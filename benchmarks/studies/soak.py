"""Soak: fit, save, load and predict in a loop while children that do the same are killed at random.

    python -m benchmarks.studies.soak --minutes 30

A long-lived process checks every answer bit by bit against a reference made at the start, and watches
its memory, its open files and what lies on the disk. Results hold the counts; `losses` must be 0.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

from benchmarks.common.results import write

TEXTS = [
    "good film",
    "bad film",
    "the story was great and very fun",
    "worst movie of all, boring",
] * 8
LABELS = ["pos", "neg"] * 16
OLD = 2 * 86400.0  # seconds: what is so old is nobody's any more
AGE_EVERY = 20  # rounds


def settings():
    """What is fitted in turn: each way through the caches, and one rival."""
    from sksve import SVEClassifier, Training
    from sksve.backbones import make_tiny_backbone
    from sksve.baselines import LoRAEnsembleClassifier

    told = {"n_members": 2, "max_epochs": 2, "batch_size": 8, "lr": 0.02}
    pair = make_tiny_backbone()

    def maker(kind, **own):
        return lambda **options: kind(
            pair, **told, **own, training=Training(head_lr=0.02, **options)
        )

    return pair, [
        maker(SVEClassifier, random_state=0),
        maker(SVEClassifier, adapt_blocks=1, random_state=1),
        maker(SVEClassifier, rank=4, precision="bfloat16", random_state=2),
        maker(LoRAEnsembleClassifier, random_state=3),
    ]


class Soak:
    """One process that loops, its children, and the counts of what became of them."""

    def __init__(self, home, seed):
        self.home = Path(home)
        self.rng = np.random.default_rng(seed)
        self.pair, self.makers = settings()
        self.counts, self.faults = Counter(), []
        self.models = [make().fit(TEXTS, LABELS) for make in self.makers]
        self.answers = [clf.predict_proba(TEXTS) for clf in self.models]
        self.folders = [self.home / f"model{k}" for k in range(len(self.models))]
        for clf, folder in zip(self.models, self.folders):
            clf.save_pretrained(folder)

    def same(self, found, k, what):
        """Count a check; a single bit that differs is a loss."""
        self.counts["answers checked"] += 1
        if not np.array_equal(found, self.answers[k]):
            self.lost(f"{what} of model {k}: another answer")

    def lost(self, what):
        """Count a loss."""
        self.counts["losses"] += 1
        self.faults.append(what)

    def load(self, k):
        """Load a saved model."""
        return type(self.models[k]).from_pretrained(self.folders[k], backbone=self.pair)

    def forget(self):
        """Start with cold caches in memory, and now and then on the disk."""
        from sksve.adapters import svd_cache

        svd_cache.clear(disk=bool(self.rng.integers(4) == 0))

    def round(self):
        """One of everything, in this process."""
        k = int(self.rng.integers(len(self.makers)))
        began = time.time()
        self.forget()
        clf = self.makers[k]().fit(TEXTS, LABELS)
        self.same(clf.predict_proba(TEXTS), k, "a fit")
        clf.save_pretrained(self.folders[k])
        self.same(self.load(k).predict_proba(TEXTS), k, "a save and a load")
        self.counts["rounds"] += 1
        self.seconds = time.time() - began

    # -- children --------------------------------------------------------------------------------

    def resumable(self, k):
        """Make a model whose fit goes on where a killed one was."""
        return self.makers[k](checkpoint_dir=self.home / f"checkpoints{k}")

    def child(self, k, seed, fits):
        """What a child does until it is killed; a wrong answer or an error ends it."""
        while fits:
            self.forget()
            found = self.resumable(k).fit(TEXTS, LABELS).predict_proba(TEXTS)
            if not np.array_equal(found, self.answers[k]):
                os._exit(2)
        rng = np.random.default_rng(seed)
        while True:
            self.forget()
            clf = self.makers[k]().fit(TEXTS, LABELS) if rng.integers(2) else self.models[k]
            if not np.array_equal(clf.predict_proba(TEXTS), self.answers[k]):
                os._exit(3)
            for _ in range(5):
                clf.save_pretrained(self.folders[k])
            if not np.array_equal(self.load(k).predict_proba(TEXTS), self.answers[k]):
                os._exit(4)

    def kill(self):
        """Fork a child, kill it at a random moment, and use what it leaves."""
        k = int(self.rng.integers(len(self.makers)))
        seed, seconds = int(self.rng.integers(2**31)), self.rng.uniform(0.0, 1.5 * self.seconds)
        fits = bool(self.rng.integers(2))
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            try:
                self.child(k, seed, fits)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(5)
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        self.counts["kills"] += 1
        self.counts["kills amid a fit with checkpoints"] += fits
        if not os.WIFSIGNALED(status):
            self.lost(f"a child of model {k} ended by itself, status {os.WEXITSTATUS(status)}")
        if fits:
            left = any((self.home / f"checkpoints{k}").glob("*.checkpoint"))
            self.counts["fits taken up from a checkpoint"] += left
            again = self.resumable(k).fit(TEXTS, LABELS)
            self.same(again.predict_proba(TEXTS), k, "a fit taken up again")
        self.same(self.load(k).predict_proba(TEXTS), k, "what a killed child left")

    # -- what it costs ---------------------------------------------------------------------------

    def clean(self):
        """Let what killed children left grow old; the next round must remove it."""
        places = (self.home, self.home / "cache", Path(tempfile.gettempdir()))
        left = [p for place in places for p in place.rglob("*") if leftover(p)]
        self.counts["temporary files of killed children"] += len(left)
        for path in left:
            os.utime(path, (time.time() - OLD,) * 2)
        for k, clf in enumerate(self.models):
            clf.save_pretrained(self.folders[k])
            self.resumable(k).fit(TEXTS, LABELS)
        self.forget()
        self.makers[1]().fit(TEXTS, LABELS)
        still = [path for path in left if path.exists()]
        if still:
            self.lost(f"{len(still)} temporary files stay for ever: {still[0].name}")

    def usage(self, started):
        """Minutes, memory, open files and bytes on the disk, now."""
        files = [p for p in self.home.rglob("*") if p.is_file()]
        return {
            "minutes": round((time.time() - started) / 60, 3),
            "rss_mb": round(resident_bytes() / 2**20, 2),
            # Without pages of libraries and files, which come and go with the page cache.
            "own_mb": round(resident_bytes(own=True) / 2**20, 2),
            "open_files": len(os.listdir("/proc/self/fd")),
            "disk_mb": round(sum(p.stat().st_size for p in files) / 2**20, 3),
            "files": len(files),
        }


def leftover(path):
    """Whether a file or folder is one that is to be renamed or removed, and was not."""
    name = path.name
    saving = ".saving-" in name or name.endswith((".tmp", ".features"))
    return saving or (name.startswith("members-") and stray(path))


def stray(path):
    """Whether a saved model's folder holds tensors that are not the model's."""
    manifest = path.parent / "sksve.json"
    return manifest.exists() and path.name not in manifest.read_text()


def resident_bytes(own=False):
    resident, of_files = map(int, Path("/proc/self/statm").read_text().split()[1:3])
    return (resident - own * of_files) * os.sysconf("SC_PAGE_SIZE")


def slope(samples, name):
    """Least-squares slope per hour over the second half of the samples."""
    half = samples[len(samples) // 2 :]
    if len(half) < 3:
        return None
    hours = [sample["minutes"] / 60 for sample in half]
    return round(float(np.polyfit(hours, [sample[name] for sample in half], 1)[0]), 3)


def run(minutes, seed=0):
    """Soak for so many minutes; give the counts and what was used."""
    import torch

    from sksve.adapters import svd_cache

    # Several threads add up in other orders; here every bit is compared.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    former = os.environ.get("SKSVE_CACHE"), tempfile.tempdir, svd_cache.min_disk_size
    home = tempfile.mkdtemp(prefix="soak-")
    try:
        os.environ["SKSVE_CACHE"] = str(Path(home, "cache"))
        tempfile.tempdir = home
        svd_cache.min_disk_size = 1  # the tiny backbone's matrices, too, have files
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return soak(home, minutes, seed)
    finally:
        torch.set_num_threads(threads)
        if former[0] is None:
            del os.environ["SKSVE_CACHE"]
        else:
            os.environ["SKSVE_CACHE"] = former[0]
        tempfile.tempdir, svd_cache.min_disk_size = former[1:]
        shutil.rmtree(home, ignore_errors=True)


def soak(home, minutes, seed):
    """Loop: a round, a kill, a look at what is used."""
    it, started, samples, last = Soak(home, seed), time.time(), [], 0.0
    while time.time() - started < 60 * minutes:
        it.round()
        it.kill()
        if it.counts["rounds"] % AGE_EVERY == 0:
            it.clean()
        if not samples or time.time() - last > 60 * minutes / 100:
            last = time.time()
            samples.append(it.usage(started))
    it.clean()
    samples.append(it.usage(started))
    return {
        "minutes": minutes,
        "seed": seed,
        "counts": {"losses": 0} | dict(it.counts),
        "faults": it.faults[:20],
        "start": samples[0],
        "end": samples[-1],
        **{
            f"{name}_slope_mb_per_hour": slope(samples, f"{name}_mb")
            for name in ("rss", "own", "disk")
        },
        "open_files_slope_per_hour": slope(samples, "open_files"),
        "samples": samples,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    told = parser.parse_args()
    found = run(told.minutes, told.seed)
    write("soak", found)
    for name, n in sorted(found["counts"].items()):
        print(f"{name}: {n:,}")
    for when in ("start", "end"):
        print(f"{when}: {found[when]}")
    slopes = (found[f"{name}_slope_mb_per_hour"] for name in ("rss", "own"))
    print("memory: {} MB/h over the second half, {} without files' pages".format(*slopes))
    sys.exit(1 if found["counts"]["losses"] else 0)


if __name__ == "__main__":
    main()
