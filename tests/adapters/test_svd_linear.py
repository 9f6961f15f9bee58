"""SVDLinear against dense per-member layers, in float64, by value."""

import copy
import pickle

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from sksve.adapters import BasisMismatchError, SVDLinear, band_size, merged_member, use_members

SHAPES = {"square": (7, 7), "wide": (4, 9), "tall": (9, 4), "one_row": (1, 5)}


def make_linear(o, i, *, bias=True, deficient=False, seed=0):
    g = torch.Generator().manual_seed(seed)
    linear = nn.Linear(i, o, bias=bias, dtype=torch.float64)
    with torch.no_grad():
        weight = torch.randn(o, i, generator=g, dtype=torch.float64)
        if deficient:  # the last direction is missing
            U, S, Vh = torch.linalg.svd(weight, full_matrices=False)
            S[-1] = 0.0
            weight = U @ torch.diag(S) @ Vh
        linear.weight.copy_(weight)
        if bias:
            linear.bias.copy_(torch.randn(o, generator=g, dtype=torch.float64))
    return linear


def shake(layer, seed=1):
    """Give every parameter an arbitrary value, as training would."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(torch.randn(p.shape, generator=g, dtype=torch.float64))
    return layer


def reference(linear, layer, member, x):
    """Slow and obvious: build the core entry by entry, then the dense matrix."""
    W = linear.weight.detach()
    U, S, Vh = torch.linalg.svd(W, full_matrices=False)
    # Align signs with the layer's basis: a banded core depends on them.
    sign = (U * layer.U).sum(0).sign()
    U, Vh = U * sign, Vh * sign[:, None]
    core = torch.diag(S)
    r = layer.rank
    own = range(r) if layer.directions is None else layer.directions[member].tolist()
    for a in range(r):
        core[own[a], own[a]] = S[own[a]] * (1.0 + layer.delta[member, a].detach())
    entries = iter([] if layer.band is None else layer.band[member].detach().tolist())
    for d in range(1, layer.off_diagonals + 1):
        for a in range(r - d):
            core[own[a], own[a + d]] = next(entries) * (S[own[a]] * S[own[a + d]]).sqrt()
        for a in range(r - d):
            core[own[a + d], own[a]] = next(entries) * (S[own[a]] * S[own[a + d]]).sqrt()
    assert next(entries, None) is None
    y = x @ (U @ core @ Vh).T
    if linear.bias is not None:
        y = y + linear.bias.detach()
        if layer.bias_delta is not None:
            y = y + layer.bias_delta[member].detach()
    return y


@pytest.mark.parametrize("deficient", [False, True], ids=["regular", "deficient"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no_bias"])
@pytest.mark.parametrize("off_diagonals", [0, 1, 3])
@pytest.mark.parametrize("rank", [None, 1, 2, 3, 0.8, 100])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_forward__equals_dense_members(shape, rank, off_diagonals, bias, deficient):
    linear = make_linear(*shape, bias=bias, deficient=deficient)
    layer = shake(SVDLinear.from_linear(linear, 3, rank=rank, off_diagonals=off_diagonals))
    x = torch.randn(3 * 2, 5, shape[1], dtype=torch.float64)
    got = layer(x).reshape(3, 2, 5, -1)
    for m, rows in enumerate(x.reshape(3, 2, 5, -1)):
        expected = reference(linear, layer, m, rows)
        torch.testing.assert_close(got[m], expected, rtol=0, atol=1e-9)
        torch.testing.assert_close(layer.merge(m)(rows), expected, rtol=0, atol=1e-9)
        with merged_member(layer, m):
            torch.testing.assert_close(layer(rows), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("deficient", [False, True], ids=["regular", "deficient"])
@pytest.mark.parametrize("off_diagonals", [0, 1, 3])
@pytest.mark.parametrize(("rank", "pool"), [(1, 1), (1, 3), (2, 3), (3, 4), (3, 100), (100, 100)])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_own_directions__equal_dense_members(shape, rank, pool, off_diagonals, deficient):
    linear = make_linear(*shape, deficient=deficient)
    told = {"rank": rank, "off_diagonals": off_diagonals, "direction_pool": pool}
    layer = shake(SVDLinear.from_linear(linear, 3, **told, generator=generators(3)))
    x = torch.randn(3, 5, shape[1], dtype=torch.float64)
    got = layer(x)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), got, rtol=0, atol=1e-12)
    with use_members(layer, [2, 0]):
        torch.testing.assert_close(layer(x[[2, 0]]), got[[2, 0]], rtol=0, atol=1e-12)
    for m, rows in enumerate(x):
        expected = reference(linear, layer, m, rows)
        torch.testing.assert_close(got[m], expected, rtol=0, atol=1e-9)
        torch.testing.assert_close(layer.merge(m)(rows), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("off_diagonals", [0, 2])
def test_own_directions__of_the_whole_pool_are_the_leading_ones(off_diagonals):
    linear, told = make_linear(9, 8), {"rank": 4, "off_diagonals": off_diagonals}
    plain = shake(SVDLinear.from_linear(linear, 2, **told))
    layer = shake(SVDLinear.from_linear(linear, 2, **told, direction_pool=4))
    x = torch.randn(2, 3, 8, dtype=torch.float64)
    torch.testing.assert_close(layer(x), plain(x), rtol=0, atol=1e-12)
    assert layer.directions.tolist() == [[0, 1, 2, 3]] * 2


def test_own_directions__are_drawn_evenly_and_by_each_members_generator():
    linear = make_linear(20, 20)
    told = {"rank": 4, "off_diagonals": 3, "direction_pool": 10}
    layer = SVDLinear.from_linear(linear, 500, **told, generator=generators(500))
    few = SVDLinear.from_linear(linear, 2, **told, generator=generators(2))
    assert torch.equal(few.directions, layer.directions[:2])
    assert bool((layer.directions.diff(dim=1) > 0).all())
    counts = torch.bincount(layer.directions.flatten(), minlength=20)
    assert not counts[10:].any()
    # Binomial(500, 0.4): mean 200, standard deviation 11.
    assert bool(((counts[:10] - 200).abs() < 50).all())
    assert "direction_pool=10" in repr(layer)


@pytest.mark.parametrize("off_diagonals", [0, 1])
def test_own_directions__gradients_are_those_of_the_dense_layer(off_diagonals):
    told = {"rank": 2, "off_diagonals": off_diagonals, "direction_pool": 4}
    linear = make_linear(5, 6)
    layer = shake(SVDLinear.from_linear(linear, 2, **told, generator=generators(2)))
    x = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    names, values = zip(*layer.named_parameters())

    def run(rows, *values):
        return torch.func.functional_call(layer, dict(zip(names, values)), (rows,))

    assert torch.autograd.gradcheck(run, (x, *[v.detach().requires_grad_() for v in values]))


def test_own_directions__are_taken_over_with_the_basis_or_refused():
    told = {"rank": 2, "direction_pool": 4}
    linear = make_linear(6, 6)
    one = SVDLinear.from_linear(linear, 2, **told, generator=generators(2))
    other = SVDLinear.from_linear(linear, 2, **told, generator=generators(2, seed=7))
    assert not torch.equal(one.directions, other.directions)
    saved = {**one.saved_tensors(), "directions": one.directions}
    other.align(saved)
    assert torch.equal(one.directions, other.directions)
    for bad in (one.directions + 3, one.directions - 4, one.directions.flip(1), one.directions[:1]):
        with pytest.raises(
            BasisMismatchError, match=r"'directions' must be .* in the range \[0, 4\)"
        ):
            other.align({**saved, "directions": bad})
    assert torch.equal(one.directions, other.directions)


@pytest.mark.parametrize("off_diagonals", [0, 2])
@pytest.mark.parametrize("rank", [None, 1, 3, 0.5])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_from_linear__zero_noise_is_the_linear(shape, rank, off_diagonals):
    linear = make_linear(*shape)
    layer = SVDLinear.from_linear(linear, 4, rank=rank, off_diagonals=off_diagonals)
    x = torch.randn(3, shape[1], dtype=torch.float64)
    expected = linear(x).repeat(4, 1)
    torch.testing.assert_close(layer(x.repeat(4, 1)), expected, rtol=0, atol=1e-12)


def test_gradients__are_those_of_the_dense_layer():
    layer = shake(SVDLinear.from_linear(make_linear(5, 6), 2, rank=3, off_diagonals=1))
    full = shake(SVDLinear.from_linear(make_linear(5, 6), 2, off_diagonals=1))
    x = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    for one in (layer, full):
        names, values = zip(*one.named_parameters())

        def run(rows, *values, names=names, one=one):
            return torch.func.functional_call(one, dict(zip(names, values)), (rows,))

        assert torch.autograd.gradcheck(run, (x, *[v.detach().requires_grad_() for v in values]))


@pytest.mark.parametrize("rank", [None, 2])
def test_negative_singular_value__keeps_its_gradient(rank):
    layer = SVDLinear.from_linear(make_linear(4, 4), 1, rank=rank)
    with torch.no_grad():
        layer.delta.fill_(-1.5)  # S (1 + delta) < 0: the published clamp would kill the gradient
    layer(torch.randn(3, 4, dtype=torch.float64)).square().sum().backward()
    assert (layer.delta.grad.abs() > 1e-6).all()


def test_rank__frozen_remainder_is_kept():
    linear = make_linear(6, 6)
    layer = SVDLinear.from_linear(linear, 1, rank=2)
    with torch.no_grad():
        layer.delta.fill_(-1.0)  # switch the two trained directions off
    U, S, Vh = torch.linalg.svd(linear.weight.detach())
    rest = U[:, 2:] @ torch.diag(S[2:]) @ Vh[2:]
    torch.testing.assert_close(layer.merge(0).weight.detach(), rest, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("rank", "expected"), [(None, 4), (1, 1), (4, 4), (9, 4), (0.99, 3), (0.5, 1)]
)
def test_rank__is_resolved_and_capped(rank, expected):
    linear = nn.Linear(4, 5, bias=False, dtype=torch.float64)
    with torch.no_grad():
        linear.weight.copy_(torch.eye(5, 4) * torch.tensor([10.0, 4.0, 2.0, 0.5]))
    assert SVDLinear.from_linear(linear, 2, rank=rank).rank == expected


def test_rank__arbitrary_directions_are_not_trained():
    assert SVDLinear.from_linear(make_linear(6, 5, deficient=True), 1).rank == 4


def test_zero_matrix__has_nothing_to_train_but_its_bias():
    linear = make_linear(3, 2)
    with torch.no_grad():
        linear.weight.zero_()
    layer = SVDLinear.from_linear(linear, 2, off_diagonals=1)
    assert layer.rank == 0
    x = torch.randn(2, 2, dtype=torch.float64)
    torch.testing.assert_close(layer(x), linear.bias.expand(2, 3))


@pytest.mark.parametrize(("r", "d"), [(5, 0), (5, 1), (5, 4), (5, 9), (1, 3)])
def test_band_size__counts_the_entries(r, d):
    by_hand = sum(1 for a in range(r) for b in range(r) if a != b and abs(a - b) <= d)
    assert band_size(r, d) == by_hand


def test_conv1d__is_the_transposed_linear():
    conv = Conv1D(5, 3).double()  # 3 inputs, 5 outputs
    with torch.no_grad():
        conv.bias.normal_()
    layer = SVDLinear.from_linear(conv, 2)
    x = torch.randn(4, 3, dtype=torch.float64)
    torch.testing.assert_close(layer(x.repeat(2, 1)), conv(x).repeat(2, 1), rtol=0, atol=1e-12)
    torch.testing.assert_close(layer.merge(1)(x), conv(x), rtol=0, atol=1e-12)


def test_merge__is_never_stale():
    layer = SVDLinear.from_linear(make_linear(4, 4), 2, init_scale=0.1)
    x = torch.randn(3, 4, dtype=torch.float64)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    before = layer.merge(1)
    layer(x.repeat(2, 1)).square().sum().backward()
    optimizer.step()
    after = layer.merge(1)
    assert (before.weight - after.weight).abs().max() > 1e-3
    torch.testing.assert_close(after(x), layer(x.repeat(2, 1))[3:], rtol=0, atol=1e-12)


def test_merge__shares_no_memory():
    layer = SVDLinear.from_linear(make_linear(4, 4), 1)
    merged = layer.merge(0)
    with torch.no_grad():
        merged.weight.zero_()
        merged.bias.zero_()
    torch.testing.assert_close(layer.merge(0).weight, make_linear(4, 4).weight, atol=1e-12, rtol=0)
    assert layer.bias.abs().max() > 0


def generators(n, seed=5):
    return [torch.Generator().manual_seed(seed + k) for k in range(n)]


def test_start__has_the_stated_law():
    linear = make_linear(40, 60)
    layer = SVDLinear.from_linear(linear, 50, init_scale=0.3, generator=generators(50))
    for p in (layer.delta, layer.bias_delta):
        assert abs(p.mean().item()) < 0.02
        assert p.std().item() == pytest.approx(0.3, rel=0.05)


def test_start__of_the_band_has_its_own_scale_and_moves_nothing_else():
    linear = make_linear(40, 60)
    told = {"rank": 12, "off_diagonals": 11, "init_scale": 0.3}
    plain = SVDLinear.from_linear(linear, 50, **told, generator=generators(50))
    layer = SVDLinear.from_linear(
        linear, 50, **told, band_init_scale=0.05, generator=generators(50)
    )
    assert not plain.band.any()
    assert abs(layer.band.mean().item()) < 0.003
    assert layer.band.std().item() == pytest.approx(0.05, rel=0.05)
    assert torch.equal(layer.delta, plain.delta)
    assert torch.equal(layer.bias_delta, plain.bias_delta)
    few = SVDLinear.from_linear(linear, 2, **told, band_init_scale=0.05, generator=generators(2))
    assert torch.equal(few.band, layer.band[:2])


def test_start__member_does_not_depend_on_how_many_there_are():
    linear = make_linear(4, 6)
    few = SVDLinear.from_linear(linear, 2, init_scale=0.3, generator=generators(2))
    many = SVDLinear.from_linear(linear, 5, init_scale=0.3, generator=generators(5))
    assert torch.equal(few.delta, many.delta[:2])
    assert torch.equal(few.bias_delta, many.bias_delta[:2])
    assert not torch.equal(many.delta[0], many.delta[1])


def test_start__float32_and_float64_draw_alike():
    linear = make_linear(4, 6)
    double = SVDLinear.from_linear(linear, 2, init_scale=0.3, generator=generators(2))
    linear = copy.deepcopy(linear).float()
    single = SVDLinear.from_linear(linear, 2, init_scale=0.3, generator=generators(2))
    assert single.delta.dtype == torch.float32
    torch.testing.assert_close(single.delta.double(), double.delta, rtol=1e-6, atol=0)


def test_start__leaves_the_global_generator_alone():
    linear = make_linear(4, 6)
    before = torch.random.get_rng_state()
    SVDLinear.from_linear(linear, 2, init_scale=0.3, generator=generators(2))
    assert torch.equal(before, torch.random.get_rng_state())


def test_buffers__are_frozen_and_the_source_is_untouched():
    linear = make_linear(4, 6)
    weight = linear.weight.detach().clone()
    layer = shake(SVDLinear.from_linear(linear, 2, rank=1))
    assert {n for n, _ in layer.named_buffers()} >= {"U", "S", "Vh", "bias"}
    assert {n for n, p in layer.named_parameters() if p.requires_grad} == {"delta", "bias_delta"}
    assert [p.shape[0] for p in layer.member_parameters()] == [2, 2]
    layer.bias.zero_()
    layer.weight.zero_()
    assert torch.equal(linear.weight, weight)
    assert linear.bias.abs().max() > 0
    # The cache hands the same decomposition to the next layer: ours must be a copy.
    layer.U.zero_()
    torch.testing.assert_close(
        SVDLinear.from_linear(linear, 1).merge(0).weight, linear.weight, rtol=0, atol=1e-12
    )


def test_train_bias_off__every_member_keeps_the_bias():
    linear = make_linear(4, 6)
    layer = SVDLinear.from_linear(linear, 2, init_scale=0.3, train_bias=False)
    assert layer.bias_delta is None
    assert torch.equal(layer.merge(1).bias, linear.bias)


def test_use_members__runs_them_in_the_order_given():
    layer = shake(SVDLinear.from_linear(make_linear(4, 6), 3, off_diagonals=1))
    x = torch.randn(2, 6, dtype=torch.float64)
    whole = layer(x.repeat(3, 1)).reshape(3, 2, 4)
    with use_members(nn.Sequential(layer), [2, 0]):
        part = layer(x.repeat(2, 1)).reshape(2, 2, 4)
    assert torch.equal(part, whole[[2, 0]])
    torch.testing.assert_close(layer(x.repeat(3, 1)).reshape(3, 2, 4), whole)


def test_switches__are_undone_by_an_exception():
    layer = SVDLinear.from_linear(make_linear(4, 6), 3)
    with pytest.raises(RuntimeError, match="boom"), merged_member(layer, 0):
        raise RuntimeError("boom")
    with pytest.raises(RuntimeError, match="boom"), use_members(layer, [1]):
        raise RuntimeError("boom")
    assert layer._merged is None
    assert layer._members is None


@pytest.mark.parametrize("copy_of", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_copies__compute_the_same(copy_of):
    layer = shake(SVDLinear.from_linear(make_linear(4, 6), 2, off_diagonals=1))
    x = torch.randn(4, 6, dtype=torch.float64)
    assert torch.equal(copy_of(layer)(x), layer(x))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"n_members": 0}, "'n_members' must be an int in the range .* Got 0"),
        ({"rank": 0}, "'rank' parameter must be None, an int .* Got 0 instead"),
        ({"rank": 1.0}, "Got 1.0 instead"),
        ({"rank": True}, "Got True instead"),
        ({"rank": "all"}, "Got 'all' instead"),
        ({"off_diagonals": -1}, "'off_diagonals' must be .* Got -1"),
        ({"direction_pool": 2}, "Got direction_pool=2 with rank=None"),
        ({"rank": 3, "direction_pool": 2}, "Got direction_pool=2 with rank=3"),
        ({"rank": 0.5, "direction_pool": 2}, "must then be an int"),
        ({"rank": 1, "direction_pool": True}, "Got direction_pool=True"),
        ({"init_scale": -0.1}, "'init_scale' must be .* Got -0.1"),
        ({"init_scale": float("nan")}, "Got nan"),
        ({"band_init_scale": -0.1}, "'band_init_scale' must be .* Got -0.1"),
        ({"init_scale": 0.1, "generator": generators(3)}, "or 2, one per member. Got 3"),
    ],
)
def test_from_linear__bad_argument(kwargs, message):
    with pytest.raises(ValueError, match=message):
        SVDLinear.from_linear(make_linear(3, 3), **{"n_members": 2, **kwargs})


def test_from_linear__foreign_layer():
    with pytest.raises(TypeError, match="Got Conv2d instead"):
        SVDLinear.from_linear(nn.Conv2d(1, 1, 1), 2)


def test_forward__rows_that_cannot_be_shared():
    layer = SVDLinear.from_linear(make_linear(3, 3), 2)
    with pytest.raises(ValueError, match="5 rows, which 2 members cannot share"):
        layer(torch.randn(5, 3, dtype=torch.float64))


def test_merge__member_out_of_range():
    with pytest.raises(ValueError, match=r"range \[0, 2\). Got 2"):
        SVDLinear.from_linear(make_linear(3, 3), 2).merge(2)
