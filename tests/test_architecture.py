"""The rooms: who may import whom (CONTRIBUTING.md, "The house"). Read from the source, not at run time."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import sksve

PACKAGE = Path(sksve.__file__).parent

# room -> rooms of sksve it may import. Files that start with an underscore (_validation, _exceptions,
# _registry, ...) stand beside the rooms: every room may use them, they use no room.
ALLOWED = {
    "metrics": set(),
    "adapters": set(),
    "datasets": set(),
    "novelty": set(),
    "preprocessing": set(),
    "backbones": {"adapters"},
    "inputs": {"preprocessing", "backbones"},
    "training": {"backbones", "adapters", "persistence"},
    "persistence": set(),
    "diagnostics": {"backbones", "adapters"},
    "plotting": {"metrics", "diagnostics"},
    "calibration": {"metrics", "persistence", "onnx"},
    "comparison": {"calibration", "metrics", "plotting"},
    "onnx": {"adapters", "novelty"},
    "estimators": {
        "training",
        "inputs",
        "preprocessing",
        "novelty",
        "onnx",
        "persistence",
        "backbones",
        "adapters",
        "metrics",
    },
    "cli": {"backbones", "metrics"},
    "baselines": {
        "estimators",
        "training",
        "inputs",
        "persistence",
        "backbones",
        "adapters",
        "metrics",
    },
}

# third party -> rooms that may import it anywhere in a file (inside functions too).
FOREIGN = {
    "torch": {
        "adapters",
        "backbones",
        "training",
        "estimators",
        "baselines",
        "diagnostics",
        "cli",
        "onnx",
    },
    "transformers": {"backbones", "inputs"},
    "skorch": {"training"},
    "accelerate": {"training"},
    "matplotlib": {"plotting", "comparison"},
    "netcal": {"calibration"},
    "laplace": {"baselines"},
    "PIL": {"inputs"},
    "onnx": {"onnx"},
}


def imports_of(path):
    """Yield the absolute name of everything a source file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def faults_of(path, room):
    found = []
    for name in imports_of(path):
        head, _, tail = name.partition(".")
        if head == "sksve":
            target = tail.partition(".")[0]
            inside = target in ALLOWED and target != room
            if inside and (room is None or target not in ALLOWED[room]):
                found.append(f"{room or path.name} -> {target}")
        elif head in FOREIGN and room not in FOREIGN[head]:
            found.append(f"{room or path.name} -> {head}")
    return found


def source_files():
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).parts
        room = parts[0].removesuffix(".py") if parts[0] != "__init__.py" else None
        yield path, None if room and room.startswith("_") else room


@pytest.mark.parametrize(
    ("path", "room"),
    [pytest.param(p, r, id=str(p.relative_to(PACKAGE))) for p, r in source_files()],
)
def test_arrows__point_one_way(path, room):
    assert room is None or room in ALLOWED, f"{room} is a new room: give it its arrows here"
    assert faults_of(path, room) == []


def test_arrows__a_forbidden_import_is_seen(tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text("def f():\n    from sksve.training import x\n    import torch\n")
    assert faults_of(bad, "metrics") == [
        "metrics -> training",
        "metrics -> training",
        "metrics -> torch",
    ]


# What is imported one after the other in one process -> what may not be loaded by then.
HEAVY = {"torch", "transformers", "skorch", "matplotlib", "polars", "netcal", "pyro"}
LIGHT = [
    "sksve", "sksve.calibration", "sksve.comparison", "sksve.datasets", "sksve.metrics",
    "sksve.persistence", "sksve.plotting", "sksve.preprocessing",
]  # fmt: skip


def test_import__loads_no_heavy_package():
    names = [*LIGHT, "sksve.adapters", "sksve.backbones"]
    code = f"""
import importlib, sys
for name in {names}:
    importlib.import_module(name)
    print(name, *sorted({HEAVY} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    assert loaded == {name: [] if name in LIGHT else ["torch"] for name in names}
