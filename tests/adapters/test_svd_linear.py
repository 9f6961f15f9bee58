"""SVDLinear against dense per-member layers, in float64, by value."""

import copy
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sksve.adapters import BasisMismatchError, SVDLinear, merged_member, use_members
from tests.adapters.layers import SHAPES, generators, make_linear, shake


def reference(linear, layer, member, x):
    """Slow and obvious: the dense matrix, one entry of the core after the other."""
    W = linear.weight.detach().clone()
    U, S, Vh = torch.linalg.svd(W, full_matrices=False)
    k = layer.U.shape[1]
    # Align signs with the layer's basis: entries off the diagonal depend on them.
    sign = (U[:, :k] * layer.U).sum(0).sign()
    U, Vh = U[:, :k] * sign, Vh[:k] * sign[:, None]
    for a, b, value in zip(*layer.entries(member), layer.values[member].detach()):
        W += value * (S[a] * S[b]).sqrt() * torch.outer(U[:, a], Vh[b])
    y = x @ W.T
    if linear.bias is not None:
        y = y + linear.bias.detach()
        if layer.bias_delta is not None:
            y = y + layer.bias_delta[member].detach()
    return y


CORES = [("diagonal", 0), ("banded", 1), ("banded", 3), ("random", 1), ("top_k", 1), ("full", 0)]


@pytest.mark.parametrize(
    ("bias", "deficient"), [(True, False), (False, True)], ids=["regular", "deficient"]
)
@pytest.mark.parametrize(("core", "d"), CORES)
@pytest.mark.parametrize(
    ("rank", "pool"), [(None, None), (1, None), (3, None), (0.8, None), (1, 3), (2, 3), (3, 100)]
)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_forward__equals_dense_members(shape, rank, pool, core, d, bias, deficient):
    linear = make_linear(*shape, bias=bias, deficient=deficient)
    options = {"rank": rank, "core": core, "off_diagonals": d, "direction_pool": pool}
    layer = SVDLinear.from_linear(linear, 3, **options, generator=generators(3))
    x = torch.randn(3 * 2, 5, shape[1], dtype=torch.float64)
    torch.testing.assert_close(layer(x), linear(x), rtol=0, atol=1e-12)  # the start is the layer
    got = shake(layer)(x).reshape(3, 2, 5, -1)
    with torch.no_grad():
        torch.testing.assert_close(layer(x).reshape(got.shape), got, rtol=0, atol=1e-12)
    with use_members(layer, [2, 0]):
        some = layer(x.reshape(3, 2, 5, -1)[[2, 0]].flatten(0, 1)).reshape(2, 2, 5, -1)
        torch.testing.assert_close(some, got[[2, 0]], rtol=0, atol=1e-12)
    for m, rows in enumerate(x.reshape(3, 2, 5, -1)):
        expected = reference(linear, layer, m, rows)
        torch.testing.assert_close(got[m], expected, rtol=0, atol=1e-9)
        torch.testing.assert_close(layer.merge(m)(rows), expected, rtol=0, atol=1e-9)
        with merged_member(layer, m):
            torch.testing.assert_close(layer(rows), expected, rtol=0, atol=1e-9)


@given(
    r=st.integers(1, 9),
    d=st.integers(0, 10),
    core=st.sampled_from(["diagonal", "banded", "random", "top_k", "full"]),
    pooled=st.booleans(),
    seed=st.integers(0, 99),
)
def test_entries__are_the_patterns_and_no_entry_is_there_twice(r, d, core, pooled, seed):
    linear = make_linear(9, 12, seed=seed)
    options = {"off_diagonals": 0 if core in ("diagonal", "full") else d, "rank": r, "core": core}
    options["direction_pool"] = 9 if pooled else None
    layer = SVDLinear.from_linear(linear, 2, **options, generator=generators(2, seed))
    band = {(a, b) for a in range(r) for b in range(r) if abs(a - b) <= d}
    everything = {(a, b) for a in range(r) for b in range(r)}
    for m in range(2):
        rows, cols = layer.entries(m)
        listed = list(zip(rows.tolist(), cols.tolist()))
        assert len(set(listed)) == len(listed) == layer.values.shape[1]
        own = list(range(r)) if layer.directions is None else layer.directions[m].tolist()
        pattern = {"diagonal": {(a, a) for a in range(r)}, "banded": band, "full": everything}
        if core in pattern:
            assert set(listed) == {(own[a], own[b]) for a, b in pattern[core]}
        else:
            assert len(listed) == len(band)
            assert set(listed) <= {(own[a], own[b]) for a, b in everything}


def test_random__entries_are_drawn_evenly_and_by_each_members_generator():
    linear, options = make_linear(9, 9), {"rank": 5, "core": "random", "off_diagonals": 1}
    layer = SVDLinear.from_linear(linear, 500, **options, generator=generators(500))
    few = SVDLinear.from_linear(linear, 2, **options, generator=generators(2))
    assert torch.equal(few.positions, layer.positions[:2])
    counts = torch.bincount(layer.positions.flatten(), minlength=25)
    # Binomial(500, 13 / 25): mean 260, standard deviation 11.
    assert bool(((counts - 260).abs() < 50).all())


@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4)])
@pytest.mark.parametrize("pool", [None, 4])
def test_top_k__entries_are_the_best_aligned_pairs(shape, pool):
    linear = make_linear(*shape)
    layer = SVDLinear.from_linear(
        linear,
        2,
        rank=3,
        core="top_k",
        off_diagonals=1,
        direction_pool=pool,
        generator=generators(2),
    )
    U, _, Vh = torch.linalg.svd(linear.weight.detach(), full_matrices=False)
    for m in range(2):
        own = [0, 1, 2] if pool is None else layer.directions[m].tolist()
        aligned = {
            (a, b): abs(float(sum(u * v for u, v in zip(U[:, a], Vh[b])))) for a in own for b in own
        }
        best = sorted(aligned, key=aligned.get)[-7:]
        assert set(best) == set(zip(*(t.tolist() for t in layer.entries(m))))


@pytest.mark.parametrize("core", ["diagonal", "full", "top_k"])
def test_own_directions__of_the_whole_pool_are_the_leading_ones(core):
    linear, options = make_linear(9, 8), {"rank": 4, "core": core}
    plain = shake(SVDLinear.from_linear(linear, 2, **options))
    layer = shake(SVDLinear.from_linear(linear, 2, **options, direction_pool=4))
    x = torch.randn(2, 3, 8, dtype=torch.float64)
    torch.testing.assert_close(layer(x), plain(x), rtol=0, atol=1e-12)
    assert layer.directions.tolist() == [[0, 1, 2, 3]] * 2


def test_own_directions__are_drawn_evenly_and_by_each_members_generator():
    linear = make_linear(20, 20)
    options = {"rank": 4, "core": "full", "direction_pool": 10}
    layer = SVDLinear.from_linear(linear, 500, **options, generator=generators(500))
    few = SVDLinear.from_linear(linear, 2, **options, generator=generators(2))
    assert torch.equal(few.directions, layer.directions[:2])
    assert bool((layer.directions.diff(dim=1) > 0).all())
    counts = torch.bincount(layer.directions.flatten(), minlength=20)
    assert not counts[10:].any()
    # Binomial(500, 0.4): mean 200, standard deviation 11.
    assert bool(((counts[:10] - 200).abs() < 50).all())
    assert "direction_pool=10" in repr(layer)


@pytest.mark.parametrize(("name", "limit"), [("directions", 4), ("positions", 9)])
def test_align__takes_over_directions_and_entries_or_refuses_them(name, limit):
    options = {"rank": 3, "direction_pool": 4, "core": "random", "off_diagonals": 1}
    linear = make_linear(6, 6)
    one = SVDLinear.from_linear(linear, 2, **options, generator=generators(2))
    other = SVDLinear.from_linear(linear, 2, **options, generator=generators(2, seed=7))
    right, before = getattr(one, name), getattr(other, name).clone()
    assert not torch.equal(right, before)
    saved = {**one.saved_tensors(), name: right}
    for bad in (right + 9, right - 9, right.flip(1), right * 0, right[:1], right.long()):
        with pytest.raises(BasisMismatchError, match=rf"'{name}' must be .* range \[0, {limit}\)"):
            other.align({**saved, name: bad})
    assert torch.equal(getattr(other, name), before)
    other.align(saved)
    assert torch.equal(getattr(other, name), right)


@pytest.mark.parametrize("pool", [None, 4])
@pytest.mark.parametrize(
    ("core", "d"), [("diagonal", 0), ("banded", 1), ("random", 1), ("full", 0)]
)
@pytest.mark.parametrize("shape", [(5, 6), (9, 4)])
def test_gradients__are_those_of_the_function(shape, core, d, pool):
    options = {"core": core, "off_diagonals": d, "direction_pool": pool}
    linear = make_linear(*shape)
    for rank in (2, None) if pool is None else (2,):
        layer = shake(
            SVDLinear.from_linear(linear, 2, rank=rank, **options, generator=generators(2))
        )
        x = torch.randn(4, shape[1], dtype=torch.float64, requires_grad=True)
        names, values = zip(*layer.named_parameters())

        def run(rows, *values, names=names, layer=layer):
            return torch.func.functional_call(layer, dict(zip(names, values)), (rows,))

        assert torch.autograd.gradcheck(run, (x, *[v.detach().requires_grad_() for v in values]))


def test_gradients__double_backward_is_refused():
    layer = SVDLinear.from_linear(make_linear(4, 4), 1)
    y = layer(torch.randn(3, 4, dtype=torch.float64)).square().sum()
    (slope,) = torch.autograd.grad(y, layer.values, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


def test_gradients__entries_first_listed_without_them_serve_a_backward_pass():
    layer = SVDLinear.from_linear(make_linear(23, 23), 1, rank=22, core="banded", off_diagonals=5)
    x = torch.randn(3, 23, dtype=torch.float64)
    with torch.inference_mode():
        layer(x)
    layer(x).sum().backward()
    assert (layer.values.grad != 0).all()


@pytest.mark.parametrize("core", ["diagonal", "full"])
@pytest.mark.parametrize("rank", [None, 16])
def test_autocast__computes_in_bfloat16_and_learns_in_float32(rank, core):
    linear = make_linear(24, 32).float()
    layer = SVDLinear.from_linear(linear, 2, rank=rank, core=core, init_scale=0.3)
    exact = copy.deepcopy(layer).double()
    x = torch.randn(40, 32)
    expected = exact(x.double())
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.bfloat16
    assert (y.double() - expected).abs().max() < 0.03 * expected.abs().max()
    y.float().sum().backward()
    expected.sum().backward()
    for p, q in zip(layer.parameters(), exact.parameters()):
        assert p.grad.dtype == torch.float32
        assert (p.grad - q.grad).abs().max() < 0.03 * q.grad.abs().max()


@pytest.mark.parametrize("rank", [None, 2])
def test_negative_singular_value__keeps_its_gradient(rank):
    layer = SVDLinear.from_linear(make_linear(4, 4), 1, rank=rank)
    with torch.no_grad():
        layer.values.fill_(-1.5)  # S (1 + delta) < 0: the published clamp would kill the gradient
    layer(torch.randn(3, 4, dtype=torch.float64)).square().sum().backward()
    assert (layer.values.grad.abs() > 1e-6).all()


def test_rank__frozen_remainder_is_kept():
    linear = make_linear(6, 6)
    layer = SVDLinear.from_linear(linear, 1, rank=2)
    with torch.no_grad():
        layer.values.fill_(-1.0)  # switch the two trained directions off
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
    layer = SVDLinear.from_linear(linear, 2, core="banded", off_diagonals=1)
    assert layer.rank == 0
    x = torch.randn(2, 2, dtype=torch.float64)
    torch.testing.assert_close(layer(x), linear.bias.expand(2, 3))


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


def test_start__has_the_stated_law():
    linear = make_linear(40, 60)
    layer = SVDLinear.from_linear(linear, 50, init_scale=0.3, generator=generators(50))
    for p in (layer.values, layer.bias_delta):
        assert abs(p.mean().item()) < 0.02
        assert p.std().item() == pytest.approx(0.3, rel=0.05)


@pytest.mark.parametrize(("core", "d"), CORES)
def test_start__is_noise_on_the_diagonal_only_and_the_same_for_every_core(core, d):
    linear, options = make_linear(12, 16), {"rank": 7, "init_scale": 0.3}
    plain = SVDLinear.from_linear(linear, 3, **options, generator=generators(3))
    drawn = generators(3)
    if core == "random":  # its entries are drawn before
        for g in drawn:
            torch.randperm(49, generator=g)
        plain = SVDLinear.from_linear(linear, 3, **options, generator=drawn)
    options |= {"core": core, "off_diagonals": d}
    layer = SVDLinear.from_linear(linear, 3, **options, generator=generators(3))
    assert torch.equal(layer.bias_delta, plain.bias_delta)
    for m in range(3):
        for a, b, value in zip(*layer.entries(m), layer.values[m]):
            assert value == (plain.values[m, a] if a == b else 0.0)


def test_start__float32_and_float64_draw_alike():
    linear = make_linear(4, 6)
    double = SVDLinear.from_linear(linear, 2, init_scale=0.3, generator=generators(2))
    linear = copy.deepcopy(linear).float()
    single = SVDLinear.from_linear(linear, 2, init_scale=0.3, generator=generators(2))
    assert single.values.dtype == torch.float32
    torch.testing.assert_close(single.values.double(), double.values, rtol=1e-6, atol=0)


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
    assert {n for n, p in layer.named_parameters() if p.requires_grad} == {"values", "bias_delta"}
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


def test_switches__are_undone_by_an_exception():
    layer = SVDLinear.from_linear(make_linear(4, 6), 3)
    with pytest.raises(RuntimeError, match="boom"), merged_member(layer, 0):
        raise RuntimeError("boom")
    with pytest.raises(RuntimeError, match="boom"), use_members(layer, [1]):
        raise RuntimeError("boom")
    assert layer._merged is None
    assert layer._members is None


@pytest.mark.parametrize("copy_of", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
@pytest.mark.parametrize(("core", "d"), CORES)
def test_copies__compute_the_same(copy_of, core, d):
    options = {"rank": 3, "core": core, "off_diagonals": d, "direction_pool": 4}
    layer = shake(SVDLinear.from_linear(make_linear(4, 6), 2, **options))
    x = torch.randn(4, 6, dtype=torch.float64)
    assert torch.equal(copy_of(layer)(x), layer(x))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
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
        ({"core": "svft"}, "'core' parameter must be one of 'diagonal', .* Got 'svft'"),
        ({"core": torch.arange(3)}, "'core' parameter must be one of"),
        ({"off_diagonals": 2}, "Got off_diagonals=2 with core='diagonal'"),
        ({"off_diagonals": 1, "core": "full"}, "Got off_diagonals=1 with core='full'"),
    ],
)
def test_from_linear__bad_argument(kwargs, message):
    with pytest.raises(ValueError, match=message):
        SVDLinear.from_linear(make_linear(3, 3), **{"n_members": 2, **kwargs})
