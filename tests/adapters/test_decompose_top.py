"""Leading triplets against the full decomposition, and the certificate against things that are not so."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sksve.adapters import SVDCache, SVDLinear, decompose, decompose_top
from sksve.adapters import _cache as cache_module
from sksve.adapters import _decompose_top as top
from sksve.adapters._rank import needed_rank


def matrix(o, i, values, seed=0):
    """A matrix with given singular values."""
    g = torch.Generator().manual_seed(seed)
    k = len(values)
    U = torch.linalg.qr(torch.randn(o, k, generator=g, dtype=torch.float64))[0]
    V = torch.linalg.qr(torch.randn(i, k, generator=g, dtype=torch.float64))[0]
    return (U * torch.as_tensor(values, dtype=torch.float64)) @ V.T


def slow(k):
    """Values like those of a trained weight: some large ones, then a long slope."""
    j = torch.arange(k, dtype=torch.float64)
    return 3.0 * torch.exp(-j / 4.0) + 1.5 - j / k


@settings(deadline=None, max_examples=25)
@given(
    st.sampled_from([(120, 80), (80, 120), (90, 90)]),
    st.integers(1, 30),
    st.sampled_from([torch.float64, torch.float32]),
    st.integers(0, 99),
)
def test_top__is_the_leading_part_of_the_whole(shape, rank, dtype, seed):
    weight = matrix(*shape, slow(min(shape)), seed).to(dtype)
    found = top._leading(weight.double(), rank, 1e-10)
    assert found is not None  # no fallback: the fast way itself is meant
    U, S, Vh, error = decompose_top(weight, rank)
    full_U, full_S, full_Vh = decompose(weight)
    r = len(S)
    assert rank <= r < rank + top.EXTRA
    assert torch.equal(S, found.S)
    assert float((S - full_S[:r]).abs().max() / full_S[0]) <= error <= 1e-10
    eye = torch.eye(r, dtype=torch.float64)
    torch.testing.assert_close(U.T @ U, eye, rtol=0, atol=1e-12)
    torch.testing.assert_close(Vh @ Vh.T, eye, rtol=0, atol=1e-12)
    gap = float((full_S[:r] - full_S[1 : r + 1]).min())
    torch.testing.assert_close(U, full_U[:, :r], rtol=0, atol=1e-12 / gap)
    torch.testing.assert_close(Vh, full_Vh[:r], rtol=0, atol=1e-12 / gap)


@pytest.mark.parametrize("hidden", [0, 3, 9])
def test_certificate__sees_a_missing_triplet(hidden):
    W = matrix(90, 60, slow(60))
    _, S, Vh = decompose(W)
    keep = [j for j in range(20) if j != hidden]
    V, gram = Vh.T, W.T @ W
    assert top._none_missed(W, gram, S, V[:, :20], 10)
    # As if ARPACK had overlooked one of the leading ones.
    assert not top._none_missed(W, gram, S[keep], V[:, keep], 10)


@pytest.mark.parametrize("size", [1e-9, 1e-6, 1e-2])
def test_certificate__error_holds_for_wrong_vectors_and_values(size):
    W = matrix(90, 60, slow(60))
    U, S, Vh = decompose(W)
    g = torch.Generator().manual_seed(0)
    noise = size * torch.randn(60, 10, generator=g, dtype=torch.float64)
    for wrong_S, wrong_V in ((S[:10], Vh[:10].T + noise), (S[:10] * (1 + size), Vh[:10].T)):
        error, residual = top._value_error(W, U[:, :10], wrong_S, wrong_V)
        assert error >= float((wrong_S - S[:10]).abs().max() / S[0])
        assert error * float(wrong_S[0]) >= residual >= size / 10
    assert max(top._value_error(W, U[:, :10], S[:10], Vh[:10].T)) < 1e-11


def lost(monkeypatch, columns):
    """Let ARPACK overlook leading vectors."""
    whole = top._lanczos

    def careless(gram, p):
        V = whole(gram, p + len(columns))  # smallest first
        keep = [j for j in range(V.shape[1]) if V.shape[1] - 1 - j not in columns]
        return V[:, keep]

    monkeypatch.setattr(top, "_lanczos", careless)


@pytest.mark.parametrize("columns", [[0], [2], [0, 1, 4]])
def test_top__what_arpack_misses_is_found_out(monkeypatch, columns):
    weight = matrix(120, 90, slow(90))
    expected = decompose(weight)
    lost(monkeypatch, columns)
    assert top._leading(weight, 8, 1e-10) is None
    U, S, Vh, error = decompose_top(weight, 8)
    r = len(S)
    assert error < 1e-10
    for got, wanted in zip((U, S, Vh), (expected[0][:, :r], expected[1][:r], expected[2][:r])):
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-12)
    for got, wanted in zip(top.leading_basis(weight, 8), expected):
        assert torch.equal(got, wanted)


def test_top__iterates_on_from_poor_vectors(monkeypatch):
    values = torch.cat([torch.arange(30.0, 10.0, -1.0), torch.linspace(1e-3, 0, 70)])
    weight = matrix(120, 90, values)
    whole = top._lanczos

    def poor(gram, p):
        V = whole(gram, p)
        g = torch.Generator().manual_seed(0)
        noise = torch.randn(V.shape, generator=g, dtype=torch.float64)
        return torch.linalg.qr(V + 1e-6 * noise)[0]

    monkeypatch.setattr(top, "_lanczos", poor)
    with monkeypatch.context() as m:
        m.setattr(top, "STEPS", 1)
        assert top._leading(weight, 16, 1e-10) is None
    found = top._leading(weight, 16, 1e-10)
    assert found is not None
    assert found.error < 1e-10
    torch.testing.assert_close(found.S[:16], values[:16].double(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("last", [6, 12, 20])
def test_top__a_cluster_at_the_cut(last):
    """Values 5 ... `last` are equal: the cut goes behind them, or the matrix is decomposed whole."""
    values = slow(90).clone()
    values[4:last] = values[4]
    weight = matrix(120, 90, values)
    U, S, Vh = top.leading_basis(weight, 6)
    r = len(S)
    assert (r == 90) is (last > 6 + top.EXTRA - 1)
    assert r >= last
    full_U, full_S, full_Vh = decompose(weight)
    torch.testing.assert_close(S, full_S[:r], rtol=0, atol=1e-12)
    # What a rotation among equal values leaves alone: the projectors on their spaces.
    for part in (slice(0, 4), slice(4, last)):
        for got, wanted in ((U[:, part], full_U[:, part]), (Vh[part].T, full_Vh[part].T)):
            torch.testing.assert_close(got @ got.T, wanted @ wanted.T, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "weight",
    [
        torch.zeros(80, 60),
        torch.eye(60),
        torch.ones(80, 60),
        torch.randn(5, 4),
        1e-200 * matrix(80, 60, slow(60)),
        1e150 * matrix(80, 60, slow(60)),
    ],
    ids=["zero", "identity", "rank_one", "small", "tiny", "huge"],
)
@pytest.mark.parametrize("rank", [1, 4, 100])
def test_top__awkward_matrices(weight, rank):
    U, S, Vh, error = decompose_top(weight, rank)
    full_S = decompose(weight)[1]
    r = len(S)
    assert min(rank, *weight.shape) <= r
    assert float((S - full_S[:r]).abs().max()) <= error * float(full_S[0])
    assert error < 1e-10
    back = weight.double() @ Vh.T
    torch.testing.assert_close(back, U * S, rtol=0, atol=1e-12 * max(float(full_S[0]), 1e-300))


def test_top__is_pure_and_repeats_itself():
    weight = matrix(120, 90, slow(90)).float()
    before, state = weight.clone(), torch.random.get_rng_state()
    first, second = decompose_top(weight, 8), decompose_top(weight, 8)
    assert all(torch.equal(a, b) for a, b in zip(first[:3], second[:3]))
    assert first[3] == second[3]
    assert torch.equal(weight, before)
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"rank": 0}, "'rank' must be an int in the range .* Got 0"),
        ({"rank": 2.0}, "Got 2.0"),
        ({"rank": True}, "Got True"),
        ({"rank": 2, "tol": 0.0}, "'tol' must be a float > 0. Got 0.0"),
        ({"rank": 2, "tol": float("nan")}, "Got nan"),
    ],
)
def test_top__bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        decompose_top(torch.eye(4), **kwargs)


def test_needed_rank__large_weights_and_few_values_only():
    assert needed_rank(3072, 768, 16) == 16
    for case in (
        (384, 384, 16),
        (3072, 768, 300),
        (3072, 768, 0.5),
        (3072, 768, None),
        (768, 768, True),
    ):
        assert needed_rank(*case) is None


# -- the layer ---------------------------------------------------------------------------------------


@pytest.fixture
def every_size(monkeypatch, tmp_path):
    """Take the short way for small layers, too; count what is computed; keep entries apart."""
    monkeypatch.setattr(top, "MIN_SIDE", 1)
    monkeypatch.setattr(top, "MAX_SHARE", 1 / 3)
    calls = []

    def counting(weight, rank):
        calls.append(rank)
        return top.leading_basis(weight, rank)

    monkeypatch.setattr(cache_module, "leading_basis", counting)
    monkeypatch.setattr(cache_module, "svd_cache", SVDCache(folder=tmp_path, min_disk_size=1))
    return calls


def make_linear(values, shape=(60, 48)):
    linear = nn.Linear(shape[1], shape[0], dtype=torch.float64)
    g = torch.Generator().manual_seed(3)
    with torch.no_grad():
        linear.weight.copy_(matrix(*shape, values))
        linear.bias.copy_(torch.randn(shape[0], generator=g, dtype=torch.float64))
    return linear


def shake(layer):
    g = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(torch.randn(p.shape, generator=g, dtype=torch.float64))
    return layer


def both(linear, monkeypatch, **kwargs):
    """The layer made the short way, and the one made from the full decomposition."""
    short = shake(SVDLinear.from_linear(linear, 3, **kwargs))
    with monkeypatch.context() as m:
        m.setattr(top, "MIN_SIDE", 10**6)
        whole = shake(SVDLinear.from_linear(linear, 3, **kwargs))
    assert short.S.shape[0] < whole.S.shape[0] == min(linear.weight.shape)
    return short, whole


@pytest.mark.parametrize("off_diagonals", [0, 2])
@pytest.mark.parametrize("shape", [(60, 48), (48, 60), (50, 50)])
def test_layer__equals_the_one_of_the_full_decomposition(
    every_size, monkeypatch, shape, off_diagonals
):
    linear = make_linear(slow(min(shape)), shape)
    kwargs = {"rank": 5, "off_diagonals": off_diagonals}
    short, whole = both(linear, monkeypatch, **kwargs)
    x = torch.randn(3 * 2, 4, shape[1], dtype=torch.float64, requires_grad=True)
    for got, wanted in (
        (short(x), whole(x)),
        (short.merge(1).weight, whole.merge(1).weight),
        (short.pretrained_weight(), linear.weight),
    ):
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-11)
    gradients = [
        torch.autograd.grad(layer(x).square().sum(), [x, *layer.parameters()])
        for layer in (short, whole)
    ]
    for got, wanted in zip(*gradients):
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-8)
    assert short.multiply_adds(64) == whole.multiply_adds(64)
    assert short.route(64) == whole.route(64)


@pytest.mark.parametrize("off_diagonals", [0, 2])
@pytest.mark.parametrize("cluster", [False, True], ids=["distinct", "cluster_at_the_cut"])
@pytest.mark.parametrize("turned", [False, True], ids=["as_is", "turned"])
def test_layer__saved_one_way_loads_the_other(
    every_size, monkeypatch, off_diagonals, cluster, turned
):
    values = slow(48).clone()
    if cluster:
        values[3:8] = values[3]  # the fifth trained value has equals that are not trained
    linear = make_linear(values)
    pair = both(linear, monkeypatch, rank=5, off_diagonals=off_diagonals)
    x = torch.randn(3 * 2, 48, dtype=torch.float64)
    for old, new in (pair, pair[::-1]):
        with torch.no_grad():
            expected = old(x)
            saved = {name: value.clone() for name, value in old.saved_tensors().items()}
            if turned:
                new.U.neg_()
                new.Vh.neg_()
            new.align(saved)
            torch.testing.assert_close(new(x), expected, rtol=0, atol=1e-9)


def test_layer__fixed_by_the_weight_not_by_what_the_cache_holds(every_size, monkeypatch):
    linear = make_linear(slow(48))
    first = SVDLinear.from_linear(linear, 1, rank=4)
    SVDLinear.from_linear(linear, 1)  # now the whole decomposition is at hand
    SVDLinear.from_linear(linear, 1, rank=0.5)
    again = SVDLinear.from_linear(linear, 1, rank=4)
    assert every_size == [4]
    assert torch.equal(first.U, again.U)
    assert first.weight_hash == SVDLinear.from_linear(linear, 1).weight_hash


def test_layer__rank_above_the_numerical_one(every_size):
    values = torch.cat([torch.tensor([3.0, 2.0]), torch.zeros(46)])
    layer = SVDLinear.from_linear(make_linear(values), 2, rank=4)
    assert layer.rank == 2


def test_cache__leading_triplets_are_an_entry_of_their_own(every_size, tmp_path):
    weight = matrix(60, 48, slow(48))
    cache = SVDCache(folder=tmp_path / "svd", min_disk_size=1)
    whole, part = cache.get(weight), cache.get(weight, 4)
    assert len(cache) == 2
    assert len(whole[1]) == 48
    assert 4 <= len(part[1]) < 12
    other = SVDCache(folder=tmp_path / "svd", min_disk_size=1)  # another process
    assert all(torch.equal(a, b) for a, b in zip(other.get(weight, 4), part))
    assert all(torch.equal(a, b) for a, b in zip(other.get(weight), whole))
    assert every_size == [4]
