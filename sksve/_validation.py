"""Checks that every room shares: parameters (one sentence each, every fault in one message), and X.

The constraints are scikit-learn's own (``Interval``, ``StrOptions``, ...), so that a parameter of
sksve is refused in the words a scikit-learn user already knows.
"""

from collections.abc import Callable, Iterator, Mapping, MappingView, Sequence, Set
from dataclasses import Field, field, fields
from numbers import Integral, Real
from types import MethodType
from typing import Any, Literal

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    InvalidParameterError,
    make_constraint,
)

from sksve._exceptions import NotRowsError

MOST_SHOWN = 200  # characters of a value in a message

#: What a parameter decides: what a member is, how it is trained, or only how the work is done.
Scope = Literal["member", "training", "run"]


class Number(Interval):
    """An interval of numbers; scikit-learn's takes True for 1."""

    def is_satisfied_by(self, val: Any) -> bool:
        return not isinstance(val, bool) and super().is_satisfied_by(val)


#: Constraints of a `random_state`; scikit-learn's takes True for 1.
SEED = (Number(Integral, 0, 2**32 - 1, closed="both"), np.random.RandomState, None)


class ListOf(HasMethods):
    """A list of objects or classes with these methods, each alone or as (name, object)."""

    def is_satisfied_by(self, val: Any) -> bool:
        return isinstance(val, (list, tuple)) and all(
            super(ListOf, self).is_satisfied_by(self._without_name(item)) for item in val
        )

    @staticmethod
    def _without_name(item: Any) -> Any:
        named = isinstance(item, (list, tuple)) and len(item) == 2 and isinstance(item[0], str)
        return item[1] if named else item

    def __str__(self) -> str:
        return "a list of skorch callbacks or of (name, callback) pairs"


def parameter(default: Any, *allowed: Any, scope: Scope = "training", saved: bool = True) -> Any:
    """Declare a parameter of an estimator: a dataclass field that knows what it may be.

    A value must satisfy one of the `allowed`, scikit-learn constraints. Scope "member": other members come of
    another value, so that ``partial_fit`` and a warm start refuse a change; "training": a warm start alone
    does; "run": a change is always allowed. What is not `saved` is passed again when a saved model is loaded.
    """
    about = {"allowed": allowed, "scope": scope, "saved": saved}
    return field(default=default, metadata=about)


def declared(owner: Any) -> dict[str, Field]:
    """Return the declared parameters of a class or an instance, by name."""
    return {each.name: each for each in fields(owner) if "allowed" in each.metadata}


def check_declared(*estimators: Any) -> None:
    """Check every declared parameter of the estimators, as :func:`check_parameters`."""
    faults = []
    for one in estimators:
        known = declared(one)
        allowed = {name: each.metadata["allowed"] for name, each in known.items()}
        values = {name: getattr(one, name) for name in known}
        faults += _faults(allowed, values, owner=type(one).__name__)
    if faults:
        raise InvalidParameterError("\n".join(faults))


def check_parameters(
    constraints: Mapping[str, Sequence[Any]], params: Mapping[str, Any], *, owner: str
) -> None:
    """Raise one InvalidParameterError that lists every value which satisfies none of its constraints.

    `constraints` are as scikit-learn's ``_parameter_constraints``; a name without any is not checked. `owner`
    is the class or function, for the message.
    """
    if faults := _faults(constraints, params, owner=owner):
        raise InvalidParameterError("\n".join(faults))


def _faults(
    constraints: Mapping[str, Sequence[Any]], params: Mapping[str, Any], *, owner: str
) -> list[str]:
    faults = []
    for name, value in params.items():
        allowed = [make_constraint(c) for c in constraints.get(name, ())]
        if not allowed or any(_satisfies(value, c) for c in allowed):
            continue
        words = [str(c) for c in allowed if not getattr(c, "hidden", False)]
        options = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
        faults.append(
            f"The {name!r} parameter of {owner} must be {options}. Got {_shown(value)} instead."
        )
    return faults


def _satisfies(value: Any, constraint: Any) -> bool:
    try:
        if not constraint.is_satisfied_by(value):
            return False
        if getattr(constraint, "type", None) is Real:
            float(value)  # an int of a thousand digits is in every interval, and no float holds it
        return True
    except (TypeError, ValueError, OverflowError):
        # numpy cannot ask an integer of a thousand digits whether it is NaN; pandas' NA is no bool.
        return False


def _shown(value: Any) -> str:
    """Print a value in a message: some cannot be, others would fill the screen."""
    try:
        words = repr(value)
    except Exception:  # whatever a stranger's class does here
        return f"an object of class {type(value).__name__}"
    return words if len(words) <= MOST_SHOWN else f"{words[:MOST_SHOWN]}..."


class _Name:
    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


def brief(value: Any) -> Any:
    """Return what to print for a value: of a model or tokenizer in a pair, the name of its class."""
    if not isinstance(value, tuple | list):
        return value
    lines = [(item, repr(item).count("\n")) for item in value]
    return type(value)(
        _Name(type(item).__name__) if n and not isinstance(item, BaseEstimator) else item
        for item, n in lines
    )


class _Offered:
    """The descriptor of :func:`offered_unless`."""

    def __init__(self, method: Callable[..., Any], why_not: Callable[[Any], str]) -> None:
        self.method, self.why_not = method, why_not
        self.__doc__ = method.__doc__

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self.method
        if why_not := self.why_not(instance):
            raise AttributeError(f"{owner.__name__} has no {self.method.__name__}: {why_not}.")
        return MethodType(self.method, instance)


def offered_unless(why_not: Callable[[Any], str]) -> Callable[[Any], Any]:
    """Make a method that an instance lacks where `why_not` of it gives a reason, which the error says."""
    return lambda method: _Offered(method, why_not)


def check_container(X: Any) -> None:
    """Refuse an `X` that holds no rows in order, or can be read only once: a dict, a set, an iterator."""
    if hasattr(X, "shape") or not isinstance(X, (Mapping, MappingView, Set, Iterator)):
        return  # a sparse array, too, may be a dict
    cure = "list(X)"
    if isinstance(X, Set) and not isinstance(X, MappingView):
        cure = "a list, in an order of your choice"
    elif isinstance(X, Mapping):
        cure = (
            "pandas.DataFrame(X) if it holds columns, list(X.values()) if its values are the rows"
        )
    raise NotRowsError(
        "X must be a list, an array, a frame, or another sequence whose rows have an order and can be read "
        f"more than once. Got {type(X).__name__} instead: pass {cure}."
    )
