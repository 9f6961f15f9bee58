"""What every result carries: versions, hardware, commit, time."""

import json
import os
import platform
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("numpy", "scipy", "scikit-learn", "torch", "transformers", "skorch")


def provenance():
    """Versions, hardware and commit, without naming the machine."""

    def git(*args):
        done = subprocess.run(
            ["git", *args], capture_output=True, text=True, cwd=Path(__file__).parent
        )
        return done.stdout.strip()

    model = ""
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), "")
    return {
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "hardware": {"cpu": model, "cores": os.cpu_count(), "machine": platform.machine()},
        "commit": git("rev-parse", "--short", "HEAD"),
        "dirty": bool(git("status", "--porcelain", "--untracked-files=no")),
        "date": time.strftime("%Y-%m-%d"),
    }


def write(name, content):
    """Write results/<name>.json whole or not at all."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    text = json.dumps({"provenance": provenance(), **content}, indent=1)
    path.with_suffix(".tmp").write_text(text + "\n")
    path.with_suffix(".tmp").replace(path)
    return path
