"""Tables out of pickled pandas frames, without unpickling.

A pickle is a program. Here it is never run: its instructions are read one by one (``pickletools`` only
names them), those that put plain data together are followed, and whatever asks for a function or class
becomes a note of its name and arguments. A frame of numbers and strings is then read off these notes. So
no code that a file asks for is ever looked up, and a new pandas cannot stumble over an old file.
"""

import pickletools  # nosec B403 # names instructions, runs none
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["read_pickled_frame"]

# What a frame is written with, by old and new versions.
_NAMES = frozenset(
    {
        "pandas.core.frame.DataFrame",
        "pandas.DataFrame",
        "pandas.core.internals.managers.BlockManager",
        "pandas._libs.internals._unpickle_block",
        "pandas.core.indexes.base._new_Index",
        "pandas.core.indexes.base.Index",
        "pandas.core.indexes.range.RangeIndex",
        "pandas.Index",
        "pandas.RangeIndex",
        "numpy.core.numeric._frombuffer",
        "numpy.core.multiarray._reconstruct",
        "numpy._core.numeric._frombuffer",
        "numpy._core.multiarray._reconstruct",
        "numpy.dtype",
        "numpy.ndarray",
        "builtins.slice",
    }
)
_DTYPE = re.compile(r"[biuf][1248]|O8?|[SU][0-9]{1,4}")
_MARK = object()


class _Note:
    """Something that was asked for: its name, what it was called with, the state it was given."""

    __slots__ = ("args", "name", "state")

    def __init__(self, name: str, args: tuple[Any, ...] | None = None) -> None:
        self.name, self.args, self.state = name, args, None


class _Reader:
    """The stack and the memo of a pickle, with nothing on them but plain data and notes."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def read(self, raw: bytes) -> Any:
        for opcode, arg, _ in pickletools.genops(raw):
            if opcode.name == "STOP":
                return self.stack.pop()
            if opcode.name in _LITERALS:
                self.stack.append(arg)
            else:
                _STEPS[opcode.name](self, arg)
        raise ValueError("it has no end")

    def pop(self, n: int) -> tuple[Any, ...]:
        taken = tuple(self.stack[len(self.stack) - n :])
        if len(taken) < n or any(value is _MARK for value in taken):
            raise ValueError("it takes what is not there")
        del self.stack[len(self.stack) - n :]
        return taken

    def pop_to_mark(self) -> list[Any]:
        taken = []
        while (value := self.stack.pop()) is not _MARK:
            taken.append(value)
        return taken[::-1]

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def name(self, module: Any, name: Any) -> None:
        full = f"{module}.{name}"
        if full not in _NAMES:
            raise ValueError(f"it asks for {full:.200}")
        self.stack.append(_Note(full))

    def call(self) -> None:
        note, args = self.pop(2)
        if not isinstance(note, _Note) or note.args is not None or type(args) is not tuple:
            raise ValueError("it calls what is no function")
        self.stack.append(_Note(note.name, args))

    def build(self) -> None:
        note, state = self.pop(2)
        if not isinstance(note, _Note) or note.args is None:
            raise ValueError("it gives a state to plain data")
        note.state = state
        self.stack.append(note)

    def extend(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise ValueError("it appends to what is no list")
        self.stack[-1].extend(items)

    def update(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not dict or len(items) % 2:
            raise ValueError("it sets items of what is no dict")
        self.stack[-1].update(zip(items[::2], items[1::2]))


# Instructions that push their argument.
_LITERALS = {
    "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE",
    "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
_STEPS: dict[str, Callable[[_Reader, Any], Any]] = {
    "PROTO": lambda r, arg: None,
    "FRAME": lambda r, arg: None,
    "NONE": lambda r, arg: r.push(None),
    "NEWTRUE": lambda r, arg: r.push(True),
    "NEWFALSE": lambda r, arg: r.push(False),
    "MARK": lambda r, arg: r.push(_MARK),
    "EMPTY_TUPLE": lambda r, arg: r.push(()),
    "EMPTY_LIST": lambda r, arg: r.push([]),
    "EMPTY_DICT": lambda r, arg: r.push({}),
    "TUPLE1": lambda r, arg: r.push(r.pop(1)),
    "TUPLE2": lambda r, arg: r.push(r.pop(2)),
    "TUPLE3": lambda r, arg: r.push(r.pop(3)),
    "TUPLE": lambda r, arg: r.push(tuple(r.pop_to_mark())),
    "APPEND": lambda r, arg: r.extend(list(r.pop(1))),
    "APPENDS": lambda r, arg: r.extend(r.pop_to_mark()),
    "SETITEM": lambda r, arg: r.update(list(r.pop(2))),
    "SETITEMS": lambda r, arg: r.update(r.pop_to_mark()),
    "MEMOIZE": lambda r, arg: r.memo.__setitem__(len(r.memo), r.stack[-1]),
    "BINPUT": lambda r, arg: r.memo.__setitem__(arg, r.stack[-1]),
    "LONG_BINPUT": lambda r, arg: r.memo.__setitem__(arg, r.stack[-1]),
    "BINGET": lambda r, arg: r.push(r.memo[arg]),
    "LONG_BINGET": lambda r, arg: r.push(r.memo[arg]),
    "GLOBAL": lambda r, arg: r.name(*arg.split(" ", 1)),
    "STACK_GLOBAL": lambda r, arg: r.name(*r.pop(2)),
    "REDUCE": lambda r, arg: r.call(),
    "NEWOBJ": lambda r, arg: r.call(),
    "BUILD": lambda r, arg: r.build(),
}


def read_pickled_frame(raw: bytes) -> dict[str, NDArray[Any]]:
    """Columns, in order, of a pickled DataFrame of numbers and strings; ValueError if it is anything else."""
    try:
        frame = _Reader().read(raw)
        blocks, axes = frame.state["_mgr"].args
        names = [str(name) for name in _array(axes[0].args[1]["data"])]
        columns: dict[str, NDArray[Any]] = {}
        for block in blocks:
            values, placement, _ = block.args
            values = _array(values)
            for row, position in enumerate(np.arange(len(names))[_place(placement)]):
                columns[names[position]] = values[row]
        return {name: columns[name] for name in names}
    except (ValueError, LookupError, AttributeError, TypeError, OverflowError) as error:
        raise ValueError(f"This is no pickled frame of numbers and strings: {error}.") from error


def _place(node: Any) -> Any:
    if node.name == "builtins.slice":
        return slice(*node.args)
    return _array(node)


def _dtype(node: Any) -> np.dtype[Any]:
    if node.name != "numpy.dtype" or not _DTYPE.fullmatch(node.args[0]):
        raise ValueError("it has a dtype of another kind")
    dtype = np.dtype(node.args[0])
    # The state's second entry is the byte order.
    return dtype.newbyteorder(">") if node.state is not None and node.state[1] == ">" else dtype


def _array(node: Any) -> NDArray[Any]:
    """Make an array of a note, as numpy would have; its bytes must be as many as its shape says."""
    kind = node.name.rpartition(".")[2]
    order: Any
    if kind == "_frombuffer":
        data, dtype, shape, order = node.args
        dtype = _dtype(dtype)
    elif kind == "_reconstruct":
        _, shape, dtype, fortran, data = node.state
        dtype, order = _dtype(dtype), "F" if fortran else "C"
    else:
        raise ValueError(f"{node.name} is no array")
    if dtype.hasobject:
        return _objects(data).reshape(shape, order=order)
    return np.frombuffer(data, dtype).reshape(shape, order=order)


def _objects(cells: Any) -> NDArray[Any]:
    if type(cells) is not list or any(
        type(c) not in {str, int, float, bool, type(None)} for c in cells
    ):
        raise ValueError("it holds objects other than numbers and strings")
    array = np.empty(len(cells), dtype=object)
    array[:] = cells
    return array
