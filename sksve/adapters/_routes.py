"""Which of three exact ways a member's product takes: decided from shapes, before any is computed."""

from typing import Literal

__all__ = ["Route", "choose_route", "gram_pays", "route_cost"]

Route = Literal["factorised", "correction", "dense"]

# Work of touching one number of an activation once (multiply by s, add, sum), in multiply-adds of a
# matrix product: these passes wait for memory. Measured by `benchmarks/speed.py routes`.
PASS = 8


def gram_pays(o: int, i: int, k: int, tokens: int) -> bool:
    """Whether the gradient of s is cheaper through ``G = gy^T x``, as ``diag(U^T G V)``.

    The other way is ``sum over tokens of (gy U) * (x V)``. Which one is cheaper depends on the number of
    tokens alone: G costs a product of the size of the weight's own gradient, and then k * o * i once.
    """
    return tokens * o * i + k * o * i < tokens * k * (o + i) + 2 * PASS * tokens * k


def route_cost(route: Route, o: int, i: int, k: int, tokens: int, members: int = 1) -> int:
    """Work of a training step of one layer and one member, in multiply-adds.

    Parameters
    ----------
    route : {"factorised", "correction", "dense"}
        ``U diag(s) Vh x``; ``W x + U_k diag(change) Vh_k x``; or ``W_m x``, where W_m is built first.
    o, i : int
        Outputs and inputs of the layer.
    k : int
        Singular values in the product: min(o, i), or fewer with "correction" (and "dense" built
        from it).
    tokens : int
        Tokens of one member.
    members : int, default=1
        Members in one pass. A single member's dense weight is kept for the backward pass; those of
        several share one buffer and are built a second time.

    Returns
    -------
    int

    Notes
    -----
    Per token, forward and backward: ``2 k (o + i)`` factorised, ``2 o i`` more for the frozen weight of
    the correction, ``3 o i`` dense plus ``2 k o i`` once.
    """
    thin = tokens * k * (o + i)
    full = tokens * o * i
    build = k * o * i
    if route == "dense":
        builds = build if members == 1 else 2 * build
        slope = full + build if gram_pays(o, i, k, tokens) else thin + 2 * PASS * tokens * k
        return builds + 2 * full + slope
    rest = 2 * (full + PASS * tokens * o) if route == "correction" else 0
    return 2 * thin + 4 * PASS * tokens * k + rest


def choose_route(
    o: int,
    i: int,
    k: int,
    tokens: int,
    members: int = 1,
    *,
    banded: bool = False,
) -> Route:
    """Pick the cheapest exact route of a layer for a training step.

    Parameters
    ----------
    o, i : int
        Outputs and inputs of the layer.
    k : int
        Trained singular values. Below ``min(o, i) - o i / (o + i)`` the frozen weight stays at hand and
        "correction" takes the place of "factorised", which works on all min(o, i).
    tokens : int
        Tokens of one member.
    members : int, default=1
        Members in one pass.
    banded : bool, default=False
        Whether the core has off-diagonal entries: their gradient has no cheap dense way.

    Returns
    -------
    {"factorised", "correction", "dense"}

    Examples
    --------
    A square layer is cheaper rebuilt for many tokens, one of shape (4 d, d) is not:

    >>> from sksve.adapters import choose_route
    >>> [choose_route(384, 384, 384, tokens) for tokens in (32, 4096)]
    ['factorised', 'dense']
    >>> choose_route(1536, 384, 384, 4096)
    'factorised'
    >>> choose_route(384, 384, 16, 32)
    'correction'
    """
    whole = min(o, i)
    thin: Route = "correction" if keeps_weight(o, i, k) else "factorised"
    used = k if thin == "correction" else whole
    if banded:
        return thin
    dense = route_cost("dense", o, i, used, tokens, members)
    return "dense" if dense < route_cost(thin, o, i, used, tokens, members) else thin


def keeps_weight(o: int, i: int, k: int) -> bool:
    """Whether ``W x`` plus a correction of rank k takes fewer multiply-adds than ``U s Vh x``."""
    return k < min(o, i) - o * i / (o + i)
