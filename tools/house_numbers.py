"""Print how big the house is: lines, files, and what one fit enters. Compare by running it on two trees.

python tools/house_numbers.py [TREE]
"""

import ast
import gc
import hashlib
import inspect
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

TREE = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent).resolve()
TEXTS = ["good film", "bad film", "the story was great", "dull and boring"] * 4
LABELS = ["pos", "neg"] * 8


def lines_and_files(folder):
    files = sorted((TREE / folder).rglob("*.py"))
    return sum(len(f.read_text(encoding="utf-8").splitlines()) for f in files), len(files)


def underscore_imports():
    """Import statements in tests that name a private module of sksve."""
    count = 0
    for path in (TREE / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            count += any(re.match(r"sksve(\.\w+)*\._[a-z]", name) for name in names)
    return count


def names_in_all():
    count = 0
    for path in (TREE / "sksve").glob("*/__init__.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Assign) and any(
                isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets
            ):
                count += len(node.value.elts)
    return count


def files_that_spell(word):
    files = (TREE / "sksve").rglob("*.py")
    return sum(bool(re.search(rf"\b{word}\b", f.read_text(encoding="utf-8"))) for f in files)


class Trace:
    """Functions of sksve in the order of their first call."""

    def __init__(self):
        self.seen = {}

    def __call__(self, frame, event, arg):
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(str(TREE / "sksve")):
            self.seen.setdefault((name, frame.f_code.co_qualname), len(self.seen))

    def run(self, function, *args):
        self.seen.clear()
        sys.setprofile(self)
        try:
            return function(*args)
        finally:
            sys.setprofile(None)

    @property
    def files(self):
        return {name for name, _ in self.seen}

    @property
    def returns(self):
        """How often a function called for the first time lies in a file that was left before."""
        left, current, count = set(), None, 0
        for name, _ in self.seen:
            if name == current:
                continue
            count += name in left
            left.add(current)
            current = name
        return count


class Copies:
    """Most backbones with weights of their own that were alive at a step of training."""

    most = 0

    def on_batch_end(self, net, **kwargs):
        from transformers import PreTrainedModel

        models = [m for m in gc.get_objects() if issubclass(type(m), PreTrainedModel)]
        alive = {m.get_input_embeddings().weight.data_ptr() for m in models}
        Copies.most = max(Copies.most, len(alive))


def count_copies():
    from skorch.callbacks import Callback

    class Count(Copies, Callback):
        pass

    clf = make()
    if "callbacks" in clf.get_params():
        clf.set_params(callbacks=[Count()])
    else:
        clf.set_params(training__callbacks=[Count()])
    clf.fit(TEXTS, LABELS)
    return Copies.most


class Hashed:
    """Bytes given to hash functions of hashlib."""

    def __init__(self):
        self.bytes = 0

    def patch(self):
        real = hashlib.sha256

        class Counting:
            def __init__(this, data=b"", **kwargs):
                this._real = real(**kwargs)
                this.update(data)

            def update(this, data):
                self.bytes += memoryview(data).nbytes
                this._real.update(data)

            def __getattr__(this, name):
                return getattr(this._real, name)

        for name in ("sha256", "sha1", "blake2b", "md5"):
            setattr(hashlib, name, Counting)


def make(**changes):
    from sksve import SVEClassifier

    settings = {"n_members": 2, "max_epochs": 2, "adapt_blocks": 1, "random_state": 0} | changes
    return SVEClassifier(str(FOLDER), **settings)


def main():
    global FOLDER
    sys.path.insert(0, str(TREE))
    os.environ["HF_HUB_OFFLINE"] = "1"
    FOLDER = Path(tempfile.mkdtemp()) / "tiny"
    os.environ["SKSVE_CACHE"] = str(FOLDER.parent / "cache")
    import sksve

    assert Path(sksve.__file__).parent == TREE / "sksve"
    from sksve import SVEClassifier
    from sksve.backbones import make_tiny_backbone

    for part in make_tiny_backbone("bert", hidden_size=64, intermediate_size=128):
        part.save_pretrained(FOLDER)
    numbers = {}
    for folder in ("sksve", "tests", "benchmarks"):
        numbers[f"lines of {folder}/"], numbers[f"files of {folder}/"] = lines_and_files(folder)
    numbers["imports of underscore modules in tests"] = underscore_imports()
    numbers["names in rooms' __all__"] = names_in_all()
    numbers["parameters of SVEClassifier"] = len(inspect.signature(SVEClassifier).parameters)
    numbers["files that spell head_lr"] = files_that_spell("head_lr")
    numbers["result files of benchmarks"] = sum(
        1 for f in (TREE / "benchmarks").rglob("*.json*") if f.is_file()
    )
    make().fit(TEXTS, LABELS)  # imports, caches
    trace, clf = Trace(), make()
    trace.run(clf.fit, TEXTS, LABELS)
    numbers["files that one fit enters"] = len(trace.files)
    numbers["returns to a file already left (fit)"] = trace.returns
    trace.run(clf.predict_proba, TEXTS)
    numbers["files that predict_proba enters"] = len(trace.files)
    del clf
    gc.collect()
    numbers["copies of the backbone alive in a fit"] = count_copies()
    weights = (FOLDER / "model.safetensors").stat().st_size
    script = "import sys; sys.path.insert(0, {tools!r}); import house_numbers as h; h.hash_second({folder!r})"
    out = subprocess.run(  # nosec B603 # the command is ours, there is no shell
        [sys.executable, "-c", script.format(tools=str(Path(__file__).parent), folder=str(FOLDER))],
        env=os.environ | {"SKSVE_TREE": str(TREE)},
        capture_output=True,
        text=True,
        check=True,
    )
    share = int(out.stdout.split()[-1]) / weights
    numbers["hashed in a second fit, share of the weights"] = round(share, 2)
    print(json.dumps(numbers, indent=1))


def hash_second(folder):
    """In a process of its own: hash functions are replaced before sksve is imported."""
    global FOLDER, TREE
    FOLDER, TREE = Path(folder), Path(os.environ["SKSVE_TREE"])
    sys.path.insert(0, str(TREE))
    hashed = Hashed()
    hashed.patch()
    make().fit(TEXTS, LABELS)
    hashed.bytes = 0
    make().fit(TEXTS, LABELS)
    print(hashed.bytes)


if __name__ == "__main__":
    main()
