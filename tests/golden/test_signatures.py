"""Every public signature, so that none changes unnoticed.

When one is changed on purpose, write the file anew and look at the difference::

    python tests/golden/test_signatures.py
"""

import inspect
from importlib import import_module
from pathlib import Path

import sksve

FILE = Path(__file__).parent / "signatures.txt"
ROOMS = [
    name
    for name in sksve.__all__
    if name != "__version__" and inspect.ismodule(getattr(sksve, name))
]


def _signature(name, value):
    signature = inspect.signature(value)
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    return f"{name}{inspect.Signature(plain)}"


def _lines_of(name, value):
    if not (inspect.isclass(value) or inspect.isroutine(value)):
        yield f"{name}: {type(value).__name__}"
        return
    if not inspect.isclass(value):
        yield _signature(name, value)
        return
    if issubclass(value, (Exception, Warning)):
        yield f"{name}({', '.join(base.__name__ for base in value.__bases__)})"
        return
    yield _signature(name, value)
    for attribute in sorted(dir(value)):
        found = inspect.getattr_static(value, attribute)
        own = any(attribute in vars(c) and c.__module__.startswith("sksve") for c in value.__mro__)
        if attribute.startswith("_") or not own:
            continue
        if isinstance(found, (staticmethod, classmethod)):
            found = found.__func__
        if inspect.isfunction(found):
            yield _signature(f"{name}.{attribute}", found)
        elif isinstance(found, property):
            yield f"{name}.{attribute}: property"


def lines():
    for name in sorted(set(sksve.__all__) - set(ROOMS)):
        yield from _lines_of(f"sksve.{name}", getattr(sksve, name))
    for room in ROOMS:
        module = import_module(f"sksve.{room}")
        for name in sorted(module.__all__):
            yield from _lines_of(f"sksve.{room}.{name}", getattr(module, name))


def test_public_signatures_are_as_listed():
    expected = FILE.read_text(encoding="utf-8").splitlines()
    found = list(lines())
    gone = [line for line in expected if line not in set(found)]
    new = [line for line in found if line not in set(expected)]
    assert (gone, new) == ([], []), "On purpose? Then run: python tests/golden/test_signatures.py"


if __name__ == "__main__":
    FILE.write_text("\n".join(lines()) + "\n", encoding="utf-8")
