"""A cell's text depends on its value only."""

import datetime
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sksve.preprocessing import TabularToText


def cell_text(cell, digits=6):
    return TabularToText("{value}", digits=digits).fit_transform([[cell]])[0]


def is_missing(cell):
    return TabularToText("{value}", missing="?").fit_transform([[cell]])[0] == "?"


@pytest.mark.parametrize(
    ("cells", "text"),
    [
        ([3, 3.0, np.int8(3), np.uint64(3), np.float16(3), np.float32(3), Decimal("3.00")], "3"),
        ([0, -0.0, np.float32(-0.0), Decimal("-0")], "0"),
        ([0.1, np.float32(0.1), float(np.float32(0.1)), Decimal("0.1"), Fraction(1, 10)], "0.1"),
        ([-2.5, np.float32(-2.5), np.float16(-2.5), Fraction(-5, 2)], "-2.5"),
        ([1 / 3, np.float32(1 / 3), Fraction(1, 3)], "0.333333"),
        ([1e-5, np.float32(1e-5)], "1e-05"),
        ([999_999.7, np.float32(999_999.7)], "1000000"),
        ([0.9999999], "1"),
        ([1_234_567.5, np.float32(1_234_567.5)], "1234568"),
        ([123_456_789, 123_456_789.0], "123456789"),
        ([123_456_789.4], "123456789"),
        ([2**53 + 1], "9007199254740993"),
        ([10**30, 1e30, np.float32(1e30)], "1e+30"),
        ([-123 * 10**5000], "-1.23e+5002"),
        ([1e-300], "1e-300"),
        ([float("inf"), np.float32("inf")], "inf"),
        ([float("-inf")], "-inf"),
        ([True, np.True_], "True"),
        (["3.0", np.str_("3.0")], "3.0"),
        ([""], ""),
        (
            [
                datetime.date(2020, 1, 2),
                datetime.datetime(2020, 1, 2),
                pd.Timestamp("2020-01-02"),
                np.datetime64("2020-01-02"),
                np.datetime64("2020-01-02", "ns"),
            ],
            "2020-01-02",
        ),
        (
            [datetime.datetime(2020, 1, 2, 3, 4), pd.Timestamp("2020-01-02 03:04")],
            "2020-01-02 03:04:00",
        ),
        (
            [pd.Timestamp("2020-01-02 00:00:00.25"), np.datetime64("2020-01-02T00:00:00.25", "ns")],
            "2020-01-02 00:00:00.250000",
        ),
        ([pd.Timestamp("2020-01-02", tz="UTC")], "2020-01-02 00:00:00+00:00"),
        (
            [datetime.timedelta(days=2), pd.Timedelta("2D"), np.timedelta64(48, "h")],
            "2 days, 0:00:00",
        ),
        ([np.timedelta64(3, "M")], "3 months"),
        ([{"a": 1}], "{'a': 1}"),
        ([[1, 2]], "[1, 2]"),
        ([1 + 2j], "(1+2j)"),
    ],
)
def test_cell_text__equal_values_read_alike(cells, text):
    assert [cell_text(cell) for cell in cells] == [text] * len(cells)


@pytest.mark.parametrize(
    ("digits", "text"), [(1, "3"), (3, "3.14"), (6, "3.14159"), (12, "3.14159265359")]
)
def test_cell_text__digits(digits, text):
    assert cell_text(np.pi, digits) == text
    assert cell_text(1234.0, digits) == "1234", "a whole number is never rounded"


@given(st.floats(width=32, allow_nan=False), st.integers(1, 6))
def test_cell_text__float32_and_float64_read_alike(number, digits):
    assert cell_text(np.float32(number), digits) == cell_text(float(np.float32(number)), digits)


@given(
    st.floats(-(2**22), 2**22).filter(lambda x: x == 0 or abs(x) > 1e-37),
    st.integers(1, 6),
)
def test_cell_text__casting_a_column_to_float32_changes_no_text(number, digits):
    rounded = float(np.float32(number))
    if rounded == int(rounded) != number:
        return  # the cast made it a whole number: another value
    assert cell_text(number, digits) == cell_text(np.float32(number), digits)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_cell_text__is_near_the_number(number):
    assert float(cell_text(number)) == pytest.approx(number, rel=6e-6, abs=0)


@given(st.integers(-(2**53), 2**53))
def test_cell_text__an_int_column_that_became_float(number):
    assert cell_text(number) == cell_text(float(number)) == str(number)


@given(st.floats(-1e15, 1e15), st.floats(-1e15, 1e15))
def test_cell_text__keeps_the_order(a, b):
    low, high = sorted([a, b])
    assert float(cell_text(low)) <= float(cell_text(high))


@pytest.mark.parametrize(
    "cell",
    [
        None,
        float("nan"),
        np.float32("nan"),
        pd.NA,
        pd.NaT,
        np.datetime64("NaT"),
        np.timedelta64("NaT"),
        Decimal("nan"),
        Decimal("snan"),
    ],
    ids=repr,
)
def test_is_missing__every_way_to_say_nothing(cell):
    assert is_missing(cell)


@pytest.mark.parametrize(
    "cell", ["", "nan", 0, False, [], [np.nan, 1.0], np.array([np.nan, 1.0]), {}], ids=repr
)
def test_is_missing__a_value_is_not(cell):
    assert not is_missing(cell)
