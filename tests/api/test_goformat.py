"""Values as Go prints them."""

import pytest

from todoku.api import goformat


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-3, "-3"),
        (65535, "65535"),
        (999_999, "999999"),
        (1_000_000, "1e+06"),
        (2147483647, "2.147483647e+09"),
        (0.5, "0.5"),
        (0.00001, "1e-05"),
        (123456.789, "123456.789"),
    ],
)
def test_numbers_print_as_go_prints_them(value, text):
    assert goformat.number(value) == text
