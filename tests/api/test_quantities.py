from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from todoku.api.quantities import Quantity, QuantityError, canonical, parse


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("0", "0"),
        ("1000m", "1"),
        ("0.5", "500m"),
        ("1.5", "1500m"),
        ("100m", "100m"),
        ("1024Ki", "1Mi"),
        ("1500Mi", "1500Mi"),
        ("1.5Gi", "1536Mi"),
        ("0.5Ki", "512"),
        ("1000", "1k"),
        ("1000k", "1M"),
        ("1234567", "1234567"),
        ("1e3", "1e3"),
        ("1E3", "1e3"),
        ("12e6", "12e6"),
        ("-2", "-2"),
        ("+2", "2"),
        ("0.1n", "1n"),
        ("1Ei", "1Ei"),
        ("9999999999999999999999", "9223372036854775807"),
        (4, "4"),
        (0.25, "250m"),
    ],
)  # fmt: skip
def test_canonical_form(text, wanted):
    assert canonical(text) == wanted


@pytest.mark.parametrize("text", ["", "x", "1.2.3", "10Zi", "--1", "1 Gi", "Mi", "1e", ".", True])
def test_malformed_quantities_are_refused(text):
    with pytest.raises(QuantityError):
        parse(text)


@pytest.mark.parametrize(
    ("text", "units", "milli"), [("100m", 1, 100), ("1.5", 2, 1500), ("1Ki", 1024, 1024000)]
)
def test_rounding_up(text, units, milli):
    assert (parse(text).units(), parse(text).milli()) == (units, milli)


def test_arithmetic_is_exact_and_keeps_the_form():
    assert str(parse("1Gi") + parse("512Mi")) == "1536Mi"
    assert str(parse("1") - parse("100m")) == "900m"
    assert parse("1Gi") > parse("1G")
    assert parse("1000m") == parse("1")


@given(st.integers(-(10**15), 10**15), st.sampled_from(["", "m", "k", "Mi", "n", "e3"]))
def test_canonical_text_means_the_same(number, suffix):
    quantity = parse(f"{number}{suffix}")
    assert parse(str(quantity)) == quantity
    assert str(parse(str(quantity))) == str(quantity)


@given(st.text(max_size=12))
def test_any_text_is_read_or_refused(text):
    try:
        parse(text)
    except QuantityError:
        pass


def test_equal_values_are_interchangeable():
    assert len({parse("1"), parse("1000m"), Quantity(Fraction(1), "binary")}) == 1


LONG = {
    "digits": ("1" * 100_000, str(2**63 - 1)),
    "leading zeros": ("0" * 100_000 + "12", "12"),
    "a fraction": ("0." + "1" * 100_000, "111111112n"),
    "a tiny fraction": ("0." + "0" * 100_000 + "1", "1n"),
    "zeros at the end": ("1." + "0" * 100_000, "1"),
    "an exponent": ("1e" + "0" * 100_000 + "3", "1e3"),
}


@pytest.mark.parametrize(("text", "canonical_text"), LONG.values(), ids=LONG)
def test_texts_of_any_length_are_read(text, canonical_text):
    assert canonical(text) == canonical_text


@pytest.mark.parametrize("exponent", ["9" * 100_000, "-" + "9" * 100_000, str(2**63)])
def test_an_exponent_beyond_64_bits_is_no_suffix(exponent):
    with pytest.raises(QuantityError, match="unable to parse quantity's suffix"):
        parse("1e" + exponent)
