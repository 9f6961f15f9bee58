"""Results: files of JSON lines, one run a line, each with versions, hardware, commit and time."""

import fcntl
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

__all__ = ["RESULTS", "Row", "Table", "provenance", "read", "write"]

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = ("numpy", "scipy", "scikit-learn", "torch", "transformers", "skorch")
Row = dict[str, Any]


class Table:
    """Runs by name in one file, which several processes may read and write at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[Any, dict[str, Row]] = (None, {})

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.stem

    def rows(self) -> dict[str, Row]:
        """All runs; the file is read again when it has changed."""
        if not self.path.exists():
            return {}
        status = self.path.stat()
        stamp = status.st_mtime_ns, status.st_size, status.st_ino
        if self._seen[0] != stamp:
            lines = self.path.read_text("utf-8").splitlines()
            self._seen = stamp, {row.pop("name"): row for row in map(json.loads, lines)}
        return self._seen[1]

    def get(self, name: str) -> Row | None:
        """One run; None if there is none."""
        return self.rows().get(name)

    def put(self, name: str, content: Row) -> None:
        """Write a run in place of an older one of that name; the file is replaced in one step."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._locked():
            rows = {**self.rows(), name: json.loads(json.dumps(content))}
            lines = [json.dumps({"name": n, **r}, separators=(",", ":")) for n, r in rows.items()]
            temporary = self.path.with_suffix(f".{os.getpid()}.tmp")
            temporary.write_text("\n".join(lines) + "\n", "utf-8")
            temporary.replace(self.path)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with open(self.path.with_suffix(".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def read(table: str, name: str | None = None) -> Row:
    """One run of a table of benchmarks/results; the table's own name is that of an only run."""
    return Table(RESULTS / f"{table}.jsonl").rows()[name or table]


def write(table: str, content: Row, name: str | None = None) -> None:
    """Write a run, with its provenance, into a table of benchmarks/results."""
    row = {"provenance": provenance(), **content}
    Table(RESULTS / f"{table}.jsonl").put(name or table, row)


def provenance(**more: Any) -> Row:
    """Versions, hardware and commit, without naming the machine.

    "dirty" tells of uncommitted changes to what the run executes: sksve, the benchmarks' shared code and
    the benchmarks' modules that are loaded. Documents and results do not count.
    """
    return {
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "hardware": {"cpu": _cpu(), "cores": os.cpu_count(), "machine": platform.machine()},
        "commit": _git("rev-parse", "--short", "HEAD"),
        "dirty": bool(_git("status", "--porcelain", "--", *_executed())),
        "date": time.strftime("%Y-%m-%d"),
        **more,
    }


def _executed() -> list[str]:
    own = ROOT / "benchmarks"
    files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    loaded = {str(Path(f).relative_to(ROOT)) for f in files if f and Path(f).is_relative_to(own)}
    return ["sksve", "benchmarks/common", "benchmarks/evidence/configs", *sorted(loaded)]


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], capture_output=True, text=True, cwd=ROOT, check=False)
    return done.stdout.strip()


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), "")
