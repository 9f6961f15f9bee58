"""Checks that every room shares: parameters (one sentence each, every fault in one message), and X.

The constraints are scikit-learn's own (``Interval``, ``StrOptions``, ...), so that a parameter of
sksve is refused in the words a scikit-learn user already knows.
"""

from collections.abc import Iterator, Mapping, MappingView, Sequence, Set
from numbers import Real
from typing import Any

from sklearn.utils._param_validation import (
    InvalidParameterError,
    make_constraint,
)

from sksve._exceptions import NotRowsError

__all__ = ["check_container", "check_parameters"]

MOST_SHOWN = 200  # characters of a value in a message


def check_parameters(
    constraints: Mapping[str, Sequence[Any]], params: Mapping[str, Any], *, owner: str
) -> None:
    """Check every parameter and raise one error that lists all faults.

    Parameters
    ----------
    constraints : mapping of str to list
        Allowed values per parameter, as scikit-learn's ``_parameter_constraints``.
    params : mapping of str to object
        Values to check; a name without constraints is not checked.
    owner : str
        Name of the class or function, for the message.

    Raises
    ------
    ValueError
        If any value satisfies none of its constraints
        (scikit-learn's ``InvalidParameterError``, which is also a TypeError).
    """
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
    if faults:
        raise InvalidParameterError("\n".join(faults))


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
