"""Parameter checks that stay upright whatever they are given."""

from numbers import Integral, Real

import numpy as np
import pandas as pd
import pytest
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from sksve._validation import check_parameters

CONSTRAINTS = {
    "n": [Interval(Integral, 1, None, closed="left"), None],
    "x": [Interval(Real, 0, 1, closed="both")],
    "how": [StrOptions({"a", "b"})],
    "thing": [HasMethods(["fit"])],
    "flag": ["boolean"],
}


class Dumb:
    def __repr__(self):
        raise RuntimeError("no words")


ODD = [
    10**400,
    -(10**400),
    10**5000,
    pd.NA,
    np.array([1, 2]),
    np.array([]),
    {},
    [],
    Dumb(),
    "\ud800",
    1j,
    int,
]


@pytest.mark.parametrize("position", range(len(ODD)))
@pytest.mark.parametrize("name", ["x", "how", "thing", "flag"])
def test_check__names_the_parameter_whatever_the_value(name, position):
    with pytest.raises(ValueError, match=f"^The '{name}' parameter of f must be .* Got "):
        check_parameters(CONSTRAINTS, {name: ODD[position]}, owner="f")


def test_check__numbers_of_any_size():
    check_parameters({"n": [Integral]}, {"n": 10**400}, owner="f")


def test_check__a_real_number_is_one_that_a_float_can_hold():
    unbounded = {"lr": [Interval(Real, 0, None, closed="neither")]}
    check_parameters(unbounded, {"lr": 10**300}, owner="f")
    with pytest.raises(ValueError, match="'lr' parameter of f must be a float in the range"):
        check_parameters(unbounded, {"lr": 10**400}, owner="f")


def test_check__a_long_value_is_cut():
    with pytest.raises(ValueError, match=r"a{50}\.\.\. instead") as info:
        check_parameters(CONSTRAINTS, {"how": "a" * 10**6}, owner="f")
    assert len(str(info.value)) < 400
