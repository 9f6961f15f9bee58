"""A list of jobs that several processes work off together, and that can be interrupted at any time.

A job is done when its table has its run and that is current, and taken while its lock exists and the process
that made it lives.
"""

import os
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common.results import Table

__all__ = ["CONFIGS", "Cell", "Job", "planned", "read_config", "work_off"]

CONFIGS = Path(__file__).parent / "configs"
Cell = tuple[str, str, int | None, int]


def read_config(config: str | Path) -> dict[str, Any]:
    """Read a grid's config, by name or path; what it does not have is that of the file it is `like`."""
    path = CONFIGS / f"{config}.toml" if isinstance(config, str) else config
    own = tomllib.loads(path.read_text())
    base = read_config(path.parent / own.pop("like")) if "like" in own else {}
    return {**base, **own}


def planned(config: dict[str, Any]) -> list[Cell]:
    """(data set, method, rows, seed) of a grid's stages, in order; rows None: all."""
    found = [
        (dataset, method, stage["rows"] or None, seed)  # 0: all
        for stage in config["stages"]
        for seed in stage["seeds"]
        for dataset in stage.get("datasets", config["datasets"])
        for method in stage["methods"]
    ]
    return list(dict.fromkeys(found))


@dataclass(frozen=True)
class Job:
    """One piece of work; `run` must put the run of that name into the table."""

    table: Table
    name: str
    run: Callable[[], None]
    seconds: Callable[[], float]  # estimate
    needs: tuple["Job", ...] = ()
    current: Callable[[], bool] = lambda: True  # whether the run is what the config asks for now

    @property
    def done(self) -> bool:
        """Whether there is nothing to do."""
        return self.table.get(self.name) is not None and self.current()

    @property
    def ready(self) -> bool:
        """Whether what it needs is done."""
        return all(job.done for job in self.needs)

    @property
    def lock(self) -> Path:
        """A file that holds the number of the process that works on it."""
        return self.table.path.with_suffix("") / f"{self.name.replace('/', '.')}.lock"


def work_off(jobs: list[Job], *, seconds: float | None, say: Callable[[str], None] = print) -> bool:
    """Run what is not done, in the order given; return whether everything is done.

    A job that needs a run which another process is making right now waits for it; the others go on.
    No job is begun that is expected to outlast the time limit.
    """
    start = time.monotonic()
    failed: set[str] = set()
    while True:
        waiting = False
        for job in jobs:
            if job.name in failed or job.done:
                continue
            if not job.ready:
                waiting = waiting or any(_taken(need.lock) for need in job.needs)
                continue
            spent = time.monotonic() - start
            if seconds is not None and spent + job.seconds() > seconds:
                continue
            with _locked(job.lock) as mine:
                if not mine or job.done:
                    continue
                begin = time.monotonic()
                try:
                    job.run()
                except Exception as error:  # the others are worth having all the same
                    failed.add(job.name)
                    say(f"FAILED {job.name}: {type(error).__name__}: {error}")
                else:
                    say(f"{job.name}: {time.monotonic() - begin:.0f} s")
                    if not job.done:  # else it would be made again and again
                        failed.add(job.name)
                        say(f"FAILED {job.name}: made, but not what the config asks for")
            break  # from the front again: what was waited for may be ready
        else:
            if not waiting:
                return all(job.done for job in jobs)
            if seconds is not None and time.monotonic() - start > seconds:
                return False
            time.sleep(2)


def _taken(lock: Path) -> bool:
    """Whether a living process works on this job; the lock of a dead one is taken away."""
    try:
        pid = int(lock.read_text() or "0")
    except FileNotFoundError:
        return False
    if pid == 0:  # made this instant, the number is not written yet
        return time.time() - lock.stat().st_mtime < 10
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        lock.unlink(missing_ok=True)
        return False
    except PermissionError:
        pass
    return True


@contextmanager
def _locked(lock: Path) -> Iterator[bool]:
    """Take the job if nobody has."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    _taken(lock)
    try:
        handle = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        yield False
        return
    with os.fdopen(handle, "w") as file:
        file.write(str(os.getpid()))
    try:
        yield True
    finally:
        lock.unlink(missing_ok=True)
