"""The product of whole cores against dense members in float64, by value and by gradient."""

import pytest
import torch

from sksve.adapters import SVDLinear, _core_product
from sksve.adapters._core_product import _coordinates, core_product, merging_pays

BIASES = ["none", "shared", "own"]


@pytest.fixture(params=[False, True], ids=["one_basis", "own_bases"])
def own(request):
    """Whether each member has directions of its own."""
    return request.param


@pytest.fixture(params=[False, True], ids=["small_products", "merged"])
def merged(request, monkeypatch):
    """Whether a training step builds each member's matrix, whatever the shapes, dtype and device."""
    monkeypatch.setattr(_core_product, "_merges", lambda x, weight: request.param)
    return request.param


def factors(bias, own, *, o=5, i=7, r=3, m=2, n=4, dtype=torch.float64):
    g = torch.Generator().manual_seed(1)

    def draw(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64).to(dtype)

    found = {
        "x": draw(m, n, i), "weight": draw(o, i), "U": draw(m, o, r) if own else draw(o, r),
        "core": draw(m, r, r), "Vh": draw(m, r, i) if own else draw(r, i),
        "bias": {"none": None, "shared": draw(o), "own": draw(m, o)}[bias],
    }  # fmt: skip
    for name in ("x", "core", "bias"):
        if found[name] is not None:
            found[name].requires_grad_()
    return found


def reference(x, weight, U, core, Vh, bias):
    """Member by member, through the dense matrix."""
    outs = []
    for m, rows in enumerate(x.double()):
        left, right = (f[m] if f.ndim == 3 else f for f in (U, Vh))
        y = rows @ (weight.double() + left.double() @ core[m].double() @ right.double()).T
        if bias is not None:
            y = y + (bias if bias.ndim == 1 else bias[m]).double()
        outs.append(y)
    return torch.stack(outs)


@pytest.mark.parametrize("r", [1, 3, 16, 17])
@pytest.mark.parametrize("n", [0, 1, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_coordinates__in_either_order_of_the_product(r, n, dtype, own):
    """Ranks that fill a CPU's vectors take one, others the other."""
    g = torch.Generator().manual_seed(0)
    rows = torch.randn(2, n, 20, generator=g).to(dtype)
    factor = torch.randn(*([2] if own else []), 20, r, generator=g).to(dtype)
    found = _coordinates(rows, factor)
    assert (found.shape, found.dtype) == ((2, n, r), dtype)
    loose = (
        {"rtol": 1e-2, "atol": 1e-2} if dtype == torch.bfloat16 else {"rtol": 1e-5, "atol": 1e-5}
    )
    torch.testing.assert_close(found.double(), rows.double() @ factor.double(), **loose)


@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("n", [2, 4], ids=["few_rows", "more_rows_than_directions"])
def test_core_product__values_and_gradients_of_dense_members(n, bias, dtype, own, merged):
    f = factors(bias, own, n=n, dtype=dtype)
    wanted = [f[name] for name in ("x", "core", "bias") if f[name] is not None]
    y, expected = core_product(**f), reference(**f)
    gy = torch.randn(y.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    tolerance = {"rtol": 0, "atol": 2e-5 if dtype == torch.float32 else 1e-12}
    torch.testing.assert_close(y.double(), expected, **tolerance)
    got = torch.autograd.grad(y, wanted, gy.to(dtype))
    for a, b in zip(got, torch.autograd.grad(expected, wanted, gy), strict=True):
        assert a.dtype == dtype
        torch.testing.assert_close(a, b, **tolerance)
    with torch.no_grad():
        exactly = tolerance if merged else {"rtol": 0, "atol": 0}
        torch.testing.assert_close(core_product(**f), y, **exactly)


@pytest.mark.parametrize("bias", BIASES)
def test_core_product__passes_gradcheck(bias, own, merged):
    f = factors(bias, own)
    learned = {name: f.pop(name) for name in ("x", "core", "bias") if f[name] is not None}
    rest = f  # bias=None stays here

    def run(*values):
        return core_product(**rest, **dict(zip(learned, values)))

    assert torch.autograd.gradcheck(run, tuple(learned.values()))


@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("n", [2, 4], ids=["few_rows", "more_rows_than_directions"])
def test_core_product__of_a_known_product(n, bias, own, merged):
    f = factors(bias, own, n=n)
    learned = [f[name] for name in ("x", "core", "bias") if f[name] is not None]
    known = (f["x"] @ f["weight"].T).detach()
    before = known.clone()
    expected, got = core_product(**f), core_product(**f, known=known)
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)
    gy = torch.randn(got.shape, generator=torch.Generator().manual_seed(2), dtype=got.dtype)
    slopes = (torch.autograd.grad(y, learned, gy) for y in (got, expected))
    torch.testing.assert_close(*slopes, rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(core_product(**f, known=known), got, rtol=0, atol=0)
        moved = core_product(**f, known=known + 1.0)
    torch.testing.assert_close(moved, got + 1.0, rtol=1e-12, atol=1e-12)
    assert torch.equal(known, before)
    with torch.autocast("cpu", torch.bfloat16):
        low = core_product(**f, known=known)
    assert low.dtype == torch.float64  # autocast leaves float64 alone


@pytest.mark.parametrize("needed", ["x", "core", "bias"])
def test_core_product__computes_only_gradients_that_are_needed(needed, own, merged):
    f = factors("own", own)
    for name in ("x", "core", "bias"):
        f[name].requires_grad_(name == needed)
    core_product(**f).square().sum().backward()
    assert [name for name, t in f.items() if t.grad is not None] == [needed]


def test_core_product__double_backward_is_refused(merged):
    f = factors("none", False)
    (slope,) = torch.autograd.grad(core_product(**f).square().sum(), f["core"], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


@pytest.mark.parametrize("bias", BIASES)
def test_core_product__autocast_computes_in_bfloat16_and_learns_in_float32(bias, own, merged):
    f = factors(bias, own, o=24, i=16, r=6, n=8, dtype=torch.float32)
    exact = reference(**f)
    with torch.autocast("cpu", torch.bfloat16):
        y = core_product(**f)
    assert y.dtype == torch.bfloat16
    assert (y.double() - exact).abs().max() < 0.03 * exact.abs().max()
    y.float().sum().backward()
    assert f["core"].grad.dtype == torch.float32
    (expected,) = torch.autograd.grad(exact.sum(), f["core"])
    assert (f["core"].grad - expected).abs().max() < 0.03 * expected.abs().max()


@pytest.mark.parametrize(
    ("dtype", "n", "frozen_x", "merges"),
    [
        (torch.float32, 20, False, True),
        (torch.float32, 4, False, False),  # few rows
        (torch.float32, 20, True, True),
        (torch.float32, 9, False, True),
        (torch.float32, 9, True, False),  # nothing to be spared in the backward pass
        (torch.float64, 20, False, False),
    ],
)
def test_core_product__merges_where_that_pays(monkeypatch, dtype, n, frozen_x, merges):
    taken = []
    for name in ("_Core", "_Merged"):
        real = getattr(_core_product, name)

        class Spy(real):
            def forward(ctx, *args, name=name, real=real):
                taken.append(name)
                return real.forward(ctx, *args)

        monkeypatch.setattr(_core_product, name, Spy)
    f = factors("shared", True, n=n, dtype=dtype)
    f["x"].requires_grad_(not frozen_x)
    core_product(**f)
    assert taken == ["_Merged" if merges else "_Core"]
    assert merging_pays(5, 7, n, not frozen_x) == (merges or dtype == torch.float64)


def test_merging_pays__keeps_no_more_than_the_rows_are():
    for o, i in ((384, 384), (1536, 384), (384, 1536), (4096, 11008)):
        fewest = next(n for n in range(1, 10**5) if merging_pays(o, i, n, True))
        assert o * i < fewest * (o + i)


def test_layer__takes_it_when_the_weight_stays_at_hand(monkeypatch):
    calls = []

    def spy(*args):
        calls.append(args)
        return core_product(*args)

    monkeypatch.setattr("sksve.adapters._svd_linear.core_product", spy)
    linear = torch.nn.Linear(12, 12)
    x = torch.randn(3, 12)
    for rank, taken in ((4, 1), (None, 0), (12, 0)):
        calls.clear()
        SVDLinear.from_linear(linear, 1, rank=rank, off_diagonals=2)(x)
        assert len(calls) == taken
