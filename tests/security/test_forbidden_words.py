"""What no file of sksve may say: read from the sources, so that no path through them is missed."""

import ast
from pathlib import Path

import pytest

import sksve

PACKAGE = Path(sksve.__file__).parent

# Whoever imports one of these can run what a file says.
MODULES = {
    "pickle",
    "_pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "marshal",
    "shelve",
    "yaml",
    "code",
    "codeop",
}
BUILTINS = {"eval", "exec", "compile", "__import__", "execfile", "breakpoint"}
# Functions of modules, by the last two names.
CALLS = {
    "torch.load", "torch.jit.load", "jit.load", "np.load", "numpy.load", "np.fromregex", "joblib.load",
    "os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "tempfile.mktemp",
    "pd.read_pickle", "pandas.read_pickle", "pd.eval", "shutil.unpack_archive", "hub.load",
}  # fmt: skip
# Keyword arguments that must be the constant on the right.
KEYWORDS = {"trust_remote_code": False, "allow_pickle": False, "shell": False, "weights_only": True}


def faults_of(source):
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names if a.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom):
            if (node.module or "").split(".")[0] in MODULES:
                found.append(node.module)
            found += [n for n in (f"{node.module}.{a.name}" for a in node.names) if n in CALLS]
        elif isinstance(node, ast.Name) and node.id in BUILTINS:
            found.append(node.id)
        elif isinstance(node, ast.Attribute):
            named = ast.unparse(node)
            found += [named] if ".".join(named.split(".")[-2:]) in CALLS else []
        elif isinstance(node, ast.Call):
            for keyword in node.keywords:
                if keyword.arg in KEYWORDS and not _is(keyword.value, KEYWORDS[keyword.arg]):
                    found.append(ast.unparse(keyword))
        elif isinstance(node, ast.Dict):  # keywords that are passed as **told
            for key, value in zip(node.keys, node.values):
                name = key.value if isinstance(key, ast.Constant) else None
                if name in KEYWORDS and not _is(value, KEYWORDS[name]):
                    found.append(f"{name}={ast.unparse(value)}")
    return found


def _is(node, constant):
    return isinstance(node, ast.Constant) and node.value is constant


@pytest.mark.parametrize(
    "path", [pytest.param(p, id=str(p.relative_to(PACKAGE))) for p in sorted(PACKAGE.rglob("*.py"))]
)
def test_sources__run_nothing_that_a_file_says(path):
    assert faults_of(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from pickle import loads",
        "import yaml",
        "x = eval('1')",
        "exec(code)",
        "f = __import__",
        "torch.load(path)",
        "from torch import load",
        "np.load(path)",
        "os.system('ls')",
        "AutoModel.from_pretrained(x, trust_remote_code=True)",
        "AutoModel.from_pretrained(x, trust_remote_code=given)",
        "told = {'trust_remote_code': True}",
        "subprocess.run(x, shell=True)",
        "open_it(x, weights_only=False)",
        "tempfile.mktemp()",
    ],
)
def test_sources__each_of_these_would_be_seen(line):
    assert faults_of(line)


def test_sources__no_weights_but_safetensors():
    """Every call that loads a transformers model says so."""
    source = (PACKAGE / "backbones" / "_load.py").read_text(encoding="utf-8")
    assert '"use_safetensors": True' in source
    callers = {
        (path.name, ast.unparse(node.func.value))
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "from_pretrained"
    }
    assert callers == {
        ("_load.py", "kind"),
        ("_load.py", "AutoConfig"),
        ("_resolve.py", "AutoConfig"),
    }
