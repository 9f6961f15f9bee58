"""A list of jobs that several processes work off together, and that can be interrupted at any time.

A job is done when its file exists and is current, and taken while its lock exists and the process that made
it lives.
"""

import os
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Cell", "Job", "planned", "read_config", "work_off"]

Cell = tuple[str, str, int | None, int]


def read_config(path: Path) -> dict[str, Any]:
    """Read a grid's config; what it does not have is that of the file it is `like`."""
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
    """One piece of work; `run` must write `path`, whole or not at all."""

    path: Path
    run: Callable[[], None]
    seconds: Callable[[], float]  # estimate
    needs: tuple["Job", ...] = ()
    current: Callable[[], bool] = lambda: True  # whether the file is what the config asks for now

    @property
    def done(self) -> bool:
        return self.path.exists() and self.current()

    @property
    def ready(self) -> bool:
        return all(job.done for job in self.needs)


def work_off(jobs: list[Job], *, seconds: float | None, say: Callable[[str], None] = print) -> bool:
    """Run what is not done, in the order given; return whether everything is done.

    A job that needs a file which another process is making right now waits for it; the others go on.
    No job is begun that is expected to outlast the time limit.
    """
    start = time.monotonic()
    failed: set[Path] = set()
    while True:
        waiting = False
        for job in jobs:
            if job.done or job.path in failed:
                continue
            if not job.ready:
                waiting = waiting or any(_taken(need.path) for need in job.needs)
                continue
            spent = time.monotonic() - start
            if seconds is not None and spent + job.seconds() > seconds:
                continue
            with _lock(job.path) as mine:
                if not mine or job.done:
                    continue
                begin = time.monotonic()
                try:
                    job.run()
                except Exception as error:  # the others are worth having all the same
                    failed.add(job.path)
                    say(f"FAILED {_name(job.path)}: {type(error).__name__}: {error}")
                else:
                    say(f"{_name(job.path)}: {time.monotonic() - begin:.0f} s")
                    if not job.done:  # else it would be made again and again
                        failed.add(job.path)
                        say(f"FAILED {_name(job.path)}: made, but not what the config asks for")
            break  # from the front again: what was waited for may be ready
        else:
            if not waiting:
                return all(job.done for job in jobs)
            if seconds is not None and time.monotonic() - start > seconds:
                return False
            time.sleep(2)


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def _lock_of(path: Path) -> Path:
    return path.with_suffix(".lock")


def _taken(path: Path) -> bool:
    """Whether a living process works on this file; the lock of a dead one is taken away."""
    lock = _lock_of(path)
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
def _lock(path: Path) -> Iterator[bool]:
    """Take the job if nobody has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _taken(path)
    try:
        handle = os.open(_lock_of(path), os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        yield False
        return
    with os.fdopen(handle, "w") as file:
        file.write(str(os.getpid()))
    try:
        yield True
    finally:
        _lock_of(path).unlink(missing_ok=True)
