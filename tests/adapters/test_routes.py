"""Every route of a training step against dense members in float64, by value and by gradient."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sksve.adapters import SVDLinear, choose_route
from sksve.adapters._autograd import dense_product, thin_product
from sksve.adapters._routes import gram_pays, keeps_weight, route_cost

SHAPES = {"square": (8, 8), "wide": (6, 11), "tall": (11, 6)}
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


def make_layer(shape, members, rank, dtype, *, bias=True):
    g = torch.Generator().manual_seed(3)
    linear = nn.Linear(shape[1], shape[0], bias=bias, dtype=torch.float64)
    with torch.no_grad():
        for p in linear.parameters():
            p.copy_(torch.randn(p.shape, generator=g, dtype=torch.float64) / shape[1] ** 0.5)
    layer = SVDLinear.from_linear(linear.to(dtype), members, rank=rank)
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(torch.randn(p.shape, generator=g, dtype=torch.float64) * 0.5)
    return layer


def dense_reference(layer, x, gy):
    """Outputs and gradients of members held as dense float64 matrices, built entry by entry."""
    r = layer.rank
    U, S, Vh = (t.double() for t in (layer.U, layer.S, layer.Vh))
    delta = layer.delta.detach().double().requires_grad_()
    change = None
    if layer.bias_delta is not None:
        change = layer.bias_delta.detach().double().requires_grad_()
    x = x.detach().double().requires_grad_()
    outs = []
    for m in range(layer.n_members):
        W = (U * S) @ Vh
        if layer.weight is not None:
            W = layer.weight.double()
        W = W + sum(delta[m, a] * S[a] * torch.outer(U[:, a], Vh[a]) for a in range(r))
        y = x[m] @ W.T
        if layer.bias is not None:
            y = y + layer.bias.double() + (0.0 if change is None else change[m])
        outs.append(y)
    y = torch.stack(outs)
    y.backward(gy.double())
    return [y.detach(), x.grad, delta.grad, None if change is None else change.grad]


def run(layer, x, gy, route, monkeypatch):
    monkeypatch.setattr(SVDLinear, "route", lambda self, *a: route)
    x = x.detach().clone().requires_grad_()
    layer.zero_grad()
    y = layer(x)
    y.backward(gy)
    bias = None if layer.bias_delta is None else layer.bias_delta.grad
    return [y.detach(), x.grad, layer.delta.grad, bias]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no_bias"])
@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("rank", [None, 2])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize("n", [2, 60])
def test_routes__equal_dense_members(shape, rank, members, bias, dtype, n, monkeypatch):
    layer = make_layer(shape, members, rank, dtype, bias=bias)
    g = torch.Generator().manual_seed(9)
    x = torch.randn(members, n, shape[1], generator=g, dtype=torch.float64).to(dtype)
    gy = (torch.randn(members, n, shape[0], generator=g, dtype=torch.float64) / n).to(dtype)
    expected = dense_reference(layer, x, gy)
    scale = max(1.0, *(float(e.abs().max()) for e in expected if e is not None))
    for route in ("thin", "dense"):
        got = run(layer, x, gy, route, monkeypatch)
        for a, b in zip(got, expected, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                atol = TOLERANCE[dtype] * scale
                torch.testing.assert_close(a.double(), b, rtol=0, atol=atol)


def factors(o, i, k, m, *, frozen):
    g = torch.Generator().manual_seed(1)

    def draw(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    x, s, bias = (t.requires_grad_() for t in (draw(m, 3, i), draw(m, k), draw(m, o)))
    return x, draw(o, k), s, draw(k, i), bias, draw(o, i) if frozen else None


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("product", [thin_product, dense_product])
def test_products__pass_gradcheck(product, members, frozen):
    x, U, s, Vh, bias, weight = factors(4, 5, 3, members, frozen=frozen)
    assert torch.autograd.gradcheck(
        lambda x, s, bias: product(x, U, s, Vh, bias, weight), (x, s, bias)
    )
    shared = bias.detach()[0].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda b: product(x, U, s, Vh, b, weight), (shared,))


@pytest.mark.parametrize("tokens", [1, 500])
def test_dense_product__both_ways_to_the_slope_are_taken(tokens):
    # 500 tokens go through G = gy^T x, one token through the sum over tokens.
    assert gram_pays(6, 6, 6, tokens) == (tokens == 500)
    _, U, s, Vh, _, _ = factors(6, 6, 6, 1, frozen=False)
    x = torch.randn(1, tokens, 6, dtype=torch.float64)
    grads = []
    for product in (thin_product, dense_product):
        own = s.detach().clone().requires_grad_()
        product(x, U, own, Vh, None, None).square().sum().backward()
        grads.append(own.grad)
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("product", [thin_product, dense_product])
def test_products__double_backward_is_refused(product):
    x, U, s, Vh, bias, _ = factors(4, 5, 3, 1, frozen=False)
    y = product(x, U, s, Vh, bias, None).square().sum()
    (gs,) = torch.autograd.grad(y, s, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gs.sum().backward()


@pytest.mark.parametrize("product", [thin_product, dense_product])
def test_products__keep_no_gradient_for_what_is_frozen(product):
    x, U, s, Vh, _, _ = factors(4, 5, 3, 2, frozen=False)
    product(x.detach(), U, s, Vh, None, None).sum().backward()
    assert s.grad is not None
    assert x.grad is None
    assert U.grad is None


@pytest.mark.parametrize("product", [thin_product, dense_product])
def test_products__autocast_computes_in_bfloat16_and_learns_in_float32(product):
    x, U, s, Vh, bias, _ = factors(24, 16, 16, 2, frozen=False)
    x, U, s, Vh, bias = (t.detach().float() for t in (x, U, s, Vh, bias))
    s.requires_grad_()
    exact = product(x.double(), U.double(), s.double(), Vh.double(), bias.double(), None)
    with torch.autocast("cpu", torch.bfloat16):
        y = product(x, U, s, Vh, bias, None)
    assert y.dtype == torch.bfloat16
    assert (y.double() - exact).abs().max() < 0.03 * exact.abs().max()
    y.float().sum().backward()
    assert s.grad.dtype == torch.float32
    (expected,) = torch.autograd.grad(exact.sum(), s)
    assert (s.grad - expected).abs().max() < 0.03 * expected.abs().max()


@given(
    st.sampled_from([(384, 384), (1536, 384), (384, 1536), (768, 768)]),
    st.integers(1, 20_000),
    st.integers(1, 8),
    st.integers(1, 768),
)
def test_choose_route__is_the_cheapest(shape, tokens, members, k):
    o, i = shape
    k = min(k, o, i)
    chosen = choose_route(o, i, k, tokens, members)
    thin = "correction" if keeps_weight(o, i, k) else "factorised"
    used = k if thin == "correction" else min(o, i)
    costs = {r: route_cost(r, o, i, used, tokens, members) for r in (thin, "dense")}
    assert costs[chosen] == min(costs.values())
    # The banded core has no cheap dense way.
    assert choose_route(o, i, k, tokens, members, banded=True) == thin


def test_choose_route__square_layers_rebuild_near_two_d_tokens():
    routes = {n: choose_route(384, 384, 384, n) for n in range(32, 4097, 32)}
    first = min(n for n, route in routes.items() if route == "dense")
    assert 384 < first <= 768
    assert all((route == "dense") == (n >= first) for n, route in routes.items())
    assert choose_route(384, 384, 384, 2000, members=5) == "dense"
    assert choose_route(1536, 384, 384, 10**6) == "factorised"


def test_route__of_a_layer_follows_its_shape_and_rank():
    square = SVDLinear.from_linear(nn.Linear(32, 32), 2)
    assert [square.route(n) for n in (4, 4000)] == ["factorised", "dense"]
    low = SVDLinear.from_linear(nn.Linear(32, 32), 2, rank=8)
    assert low.route(1) == "correction"
    banded = SVDLinear.from_linear(nn.Linear(32, 32), 2, off_diagonals=1)
    assert banded.route(4000) == "factorised"
