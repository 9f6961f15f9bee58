"""Replace modules of a model by dotted name: every check first, then the surgery."""

from collections.abc import Mapping

from torch import nn

__all__ = ["swap_modules"]


def swap_modules(model: nn.Module, replacements: Mapping[str, nn.Module]) -> None:
    """Put new modules where old ones were, in place, all of them or none.

    Parameters
    ----------
    model : nn.Module
        The model to change; give a copy if the original must stay.
    replacements : mapping of str to nn.Module
        Dotted name in `model` -> the module that comes there.

    Raises
    ------
    ValueError
        If a name does not exist, one name lies inside another, a module is known under two names
        (swapping one would part what is shared), a replacement is no module or is used twice, or
        its in or out features differ from the old module's. `model` is then exactly as it was.

    Examples
    --------
    >>> from torch import nn
    >>> from sksve.backbones import swap_modules
    >>> model = nn.Sequential(nn.Sequential(nn.Linear(2, 3)))
    >>> swap_modules(model, {"0.0": nn.Identity()})
    >>> model[0][0]
    Identity()
    """
    faults = _faults(model, replacements)
    if faults:
        raise ValueError("Nothing was swapped:\n" + "\n".join(f"- {fault}" for fault in faults))
    for name, module in replacements.items():
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, module)


def _faults(model: nn.Module, replacements: Mapping[str, nn.Module]) -> list[str]:
    """Everything that forbids the swap, in words."""
    modules = dict(model.named_modules(remove_duplicate=False))
    names_of: dict[int, list[str]] = {}
    for name, module in modules.items():
        names_of.setdefault(id(module), []).append(name)
    faults = []
    used: dict[int, str] = {}
    for name, new in replacements.items():
        old = modules.get(name) if name else None
        if old is None:
            faults.append(f"{name!r} is no module of {type(model).__name__}.{_near(name, modules)}")
            continue
        if not isinstance(new, nn.Module):
            faults.append(f"{name!r} must be replaced by a torch module. Got {new!r} instead.")
            continue
        if others := [n for n in names_of[id(old)] if n != name]:
            faults.append(f"{name!r} is the same module as {', '.join(map(repr, others))}.")
        if inside := [n for n in replacements if n != name and n.startswith(name + ".")]:
            faults.append(f"{name!r} contains {', '.join(map(repr, inside))}, swapped too.")
        if id(new) in used:
            faults.append(f"{name!r} and {used[id(new)]!r} have one and the same replacement.")
        used[id(new)] = name
        before, after = linear_shape(old), linear_shape(new)
        if before is not None and after is not None and before != after:
            faults.append(
                f"{name!r} maps {before[0]} to {before[1]} features, "
                f"its replacement {after[0]} to {after[1]}."
            )
    return faults


def linear_shape(module: nn.Module) -> tuple[int, int] | None:
    """Return (in features, out features) of a linear map, Conv1D included; None of others."""
    if isinstance(getattr(module, "in_features", None), int):
        return int(module.in_features), int(module.out_features)
    if is_conv1d(module):
        return int(module.nx), int(module.nf)
    return None


def is_conv1d(module: nn.Module) -> bool:
    """Whether a module is transformers' Conv1D (a linear map with the transposed weight; GPT-2)."""
    # By name: asking with isinstance would import transformers.
    kind = type(module)
    return kind.__name__ == "Conv1D" and kind.__module__.startswith("transformers.")


def _near(name: str, modules: Mapping[str, nn.Module]) -> str:
    tail = name.rpartition(".")[2]
    close = [n for n in modules if n and n.rpartition(".")[2] == tail] or [n for n in modules if n]
    return f" Near it: {', '.join(close[:5])}." if close else ""
