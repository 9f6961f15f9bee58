"""How one case is judged: what may be raised, how long it may take, what must not have changed."""

import faulthandler
import re
import signal
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning, NotFittedError

from sksve import CalibrationWarning, SksveError, TruncationWarning

__all__ = [
    "DOCUMENTED",
    "FUZZ",
    "Refusal",
    "Source",
    "Stuck",
    "attempt",
    "frozen",
    "fuzz",
    "run_cases",
]


class Refusal(RuntimeError):
    """What an object that was given raises by itself: it comes through as it is."""


#: What a call may raise, whatever it is given.
DOCUMENTED = (ValueError, TypeError, NotFittedError, SksveError, ImportError, Refusal)
#: A TypeError or ValueError with these words was not raised on purpose: nobody checked the input.
ACCIDENTS = re.compile(
    r"unsupported operand|not supported between|object is not (iterable|subscriptable|callable)"
    r"|has no len\(\)|'NoneType' object|could not be broadcast|could not broadcast"
    r"|unhashable type|out of bounds|object cannot be interpreted|truth value of an array"
    r"|must be real number, not|len\(\) of unsized|setting an array element|bad operand type"
    r"|boolean value of NA is ambiguous|cannot convert float NaN|missing \d required"
    r"|zero-size array|need at least one array|codec can't|not enough values to unpack"
    r"|too many values to unpack|iteration over a 0-d|ufunc '|cannot unpack|invalid literal for"
    r"|Cannot cast|tuple indices|list indices|exceeds the limit \(\d+ digits\)|not aligned"
)
#: Warnings that documentation tells of; of plain UserWarnings, those that say this.
WARNINGS = (TruncationWarning, CalibrationWarning, ConvergenceWarning, DataConversionWarning)
TOLD = re.compile(
    r"unique classes is greater than 50%|The least populated class|Warm-start fitting"
    r"|does not have valid feature names|X has feature names, but|A single label was found"
    r"|X has no column of free text|singular directions that a layer|laplace-torch|does not have the SHA-256"
)
SECONDS = 5  # of this process's own CPU time; ten times what the slowest case takes


class Stuck(BaseException):
    """A case took too long; no `except Exception` of the library can swallow it."""


def _stop(number: int, frame: Any) -> None:
    raise Stuck(f"more than {SECONDS} s of CPU time")


@contextmanager
def deadline() -> Iterator[None]:
    """Stop after a few seconds of CPU time, and dump all stacks after half an hour by the clock.

    CPU time, because a machine that is busy with other things does not make a case slow.
    """
    before = signal.signal(signal.SIGPROF, _stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    faulthandler.dump_traceback_later(1800, exit=True)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
        faulthandler.cancel_dump_traceback_later()


def frozen(thing: Any) -> Any:
    """Everything of a value that a call could change, in a form that compares."""
    if isinstance(thing, np.ndarray):
        content = [repr(v) for v in thing.ravel()] if thing.dtype.hasobject else thing.tobytes()
        return thing.dtype, thing.shape, thing.flags.writeable, content
    if isinstance(thing, dict):
        return [(repr(k), frozen(v)) for k, v in thing.items()]
    if isinstance(thing, (list, tuple)):
        return type(thing), [frozen(v) for v in thing]
    if hasattr(thing, "iloc") and hasattr(thing, "dtypes"):
        return repr(thing.dtypes), repr(thing.index), repr(thing.to_numpy().tolist())
    if hasattr(thing, "get_params") and not isinstance(thing, type):
        return {k: id(v) for k, v in vars(thing).items()}
    return type(thing), repr(thing)


def attempt(
    call: Callable[..., Any],
    *args: Any,
    also: tuple[type[BaseException], ...] = (),
    strict: bool = True,
    theirs: bool = False,
    watch: tuple[Any, ...] = (),
    **options: Any,
) -> tuple[bool, Any]:
    """Call; whether it returned, and what, or what it raised. Fails on what no documentation promises.

    Parameters
    ----------
    also : exceptions that this call documents beyond `DOCUMENTED`.
    strict : a message of Python's or numpy's own, about an operand nobody checked, is a fault, too.
    theirs : what scikit-learn itself warns of is allowed, for it answers here.
    watch : more objects (estimators) that must be the same afterwards.
    """
    watched = [*args, *options.values(), *watch]
    before = [frozen(thing) for thing in watched]
    with warnings.catch_warnings(record=True) as seen, deadline():
        warnings.simplefilter("always")
        try:
            result, raised = call(*args, **options), None
        except DOCUMENTED + also as error:
            result, raised = None, error
    for warning in seen:
        known = issubclass(warning.category, WARNINGS)
        told = warning.category is UserWarning and TOLD.search(str(warning.message))
        foreign = theirs and ("sklearn" in warning.filename or "numpy" in warning.filename)
        assert known or told or foreign, (
            f"undocumented warning {warning.category}: {warning.message}"
        )
    if raised is not None and strict:
        known = isinstance(raised, also) or isinstance(raised, SksveError)
        assert known or str(raised), f"{type(raised).__name__} without a word"
        if not known and ACCIDENTS.search(str(raised)):
            raise AssertionError(f"by accident: {type(raised).__name__}: {raised}") from raised
    after = [frozen(thing) for thing in watched]
    assert before == after, "the call changed what it was given"
    return raised is None, result if raised is None else raised


class Source:
    """What a case is made of; hypothesis draws, and makes the failing case smaller."""

    def __init__(self, draw: Callable[[Any], Any]) -> None:
        self.draw = draw
        self._rng: np.random.Generator | None = None

    @property
    def rng(self) -> np.random.Generator:
        if self._rng is None:
            self._rng = np.random.default_rng(self.int(0, 2**16))
        return self._rng

    def int(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def one_of(self, options: Any) -> Any:
        return self.draw(st.sampled_from(list(options)))

    def seldom(self, one_in: int = 4) -> bool:
        return self.int(1, one_in) == one_in

    def build(self, makers: dict[str, Callable[..., Any]], *args: Any) -> Any:
        """Call one of the named makers: the name is what hypothesis prints."""
        with np.errstate(all="ignore"):
            return makers[self.one_of(makers)](*args)


#: public name -> (what runs one case, share of the cases it gets)
FUZZ: dict[str, tuple[Callable[[Source, Any], None], float]] = {}


def fuzz(*names: str, share: float = 1.0) -> Callable[[Any], Any]:
    """Register a case for public names, written "room.name"; it may be told the name."""

    def register(case: Any) -> Any:
        for name in names:
            assert name not in FUZZ, name
            FUZZ[name] = (case, share)
        return case

    return register


def run_cases(name: str, world: Any, n: int) -> int:
    """Run n cases of one public name; how many ran."""
    case, share = FUZZ[name]
    count = 0

    @settings(
        max_examples=max(2, round(share * n)),
        deadline=None,
        derandomize=False,  # which would draw the same cases for every name that shares a maker
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @seed(zlib.crc32(name.encode()))
    @given(st.data())
    def one(data: Any) -> None:
        nonlocal count
        count += 1
        world.name = name.partition(".")[2]
        case(Source(data.draw), world)

    one()
    return count
