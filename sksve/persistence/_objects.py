"""Objects of a few known classes: their parameters and what they have learned, as plain values."""

import re
from collections.abc import Mapping, MutableMapping
from typing import Any

import numpy as np

from sksve._exceptions import PersistenceError
from sksve.persistence._values import decode, encode

__all__ = ["check_learned_name", "decode_object", "encode_object"]

_LEARNED = re.compile(r"_?[A-Za-z][A-Za-z0-9_]*")


def check_learned_name(name: str, owner: type) -> None:
    """Check that a saved name may be set as a learned attribute: it hides nothing of the class.

    Raises
    ------
    sksve.PersistenceError
    """
    if not _LEARNED.fullmatch(name) or hasattr(owner, name):
        raise PersistenceError(f"{name!r:.60} is no learned attribute of {owner.__name__}.")


def encode_object(
    thing: Any, *, name: str, tensors: MutableMapping[str, np.ndarray] | None = None
) -> dict[str, Any]:
    """Turn a scikit-learn object into plain values: its class's name, parameters and learned attributes.

    Parameters
    ----------
    thing : estimator
        Whose ``get_params`` and attributes that end in an underscore are the whole of it.
    name : str
        What a message calls it.
    tensors : mutable mapping, optional
        As for :func:`encode`.

    Returns
    -------
    dict

    Raises
    ------
    sksve.PersistenceError
        If a value cannot be held.
    """
    params = thing.get_params(deep=False)
    learned = {k: v for k, v in vars(thing).items() if k not in params and k.endswith("_")}
    return {
        "class": type(thing).__name__,
        "parameters": {
            k: encode(v, name=f"{name}.{k}", tensors=tensors) for k, v in params.items()
        },
        "attributes": {
            k: encode(v, name=f"{name}.{k}", tensors=tensors) for k, v in learned.items()
        },
    }


def decode_object(
    told: Any, allowed: Mapping[str, Any], tensors: Mapping[str, np.ndarray] | None = None
) -> Any:
    """Make the object again that :func:`encode_object` turned into plain values.

    Parameters
    ----------
    told : dict
    allowed : mapping of str to type
        The only classes that are ever called.
    tensors : mapping, optional

    Returns
    -------
    object

    Raises
    ------
    sksve.PersistenceError
        If the class is not allowed, or has no such parameter or learned attribute.
    """
    if not isinstance(told, dict) or set(told) != {"class", "parameters", "attributes"}:
        raise PersistenceError(f"{str(told)!r:.60} describes no object.")
    kind = allowed.get(told["class"]) if isinstance(told["class"], str) else None
    if kind is None:
        raise PersistenceError(
            f"A saved object must be one of {', '.join(allowed)} here. Got {told['class']!r:.60}."
        )
    if not isinstance(told["parameters"], dict) or not isinstance(told["attributes"], dict):
        raise PersistenceError(f"{str(told)!r:.60} describes no object.")
    params = {k: decode(v, tensors) for k, v in told["parameters"].items()}
    if unknown := set(params) - set(kind._get_param_names()):
        raise PersistenceError(
            f"This version's {kind.__name__} has no parameter {', '.join(sorted(unknown))}."
        )
    thing = kind(**params)
    for name, value in told["attributes"].items():
        check_learned_name(name, kind)
        setattr(thing, name, decode(value, tensors))
    return thing
