"""Quantities (k8s.io/apimachinery api/resource): exact numbers with SI and binary suffixes.

Values are Fractions of whole units; sub-nano fractions round up as upstream's do.  The canonical text keeps the
format family in which the value was written: decimal SI, binary SI or decimal exponent.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

_FORM = re.compile(r"([+-]?)(?:(\d+)(?:\.(\d*))?|\.(\d+))((?:[KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?)")
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_DECIMAL_BY_EXPONENT = {exponent: suffix for suffix, exponent in _DECIMAL.items()}

FORM_ERROR = (
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)
_BAD_SUFFIX = "unable to parse quantity's suffix"
_INT64 = range(-(2**63), 2**63)
_NANO = Fraction(1, 10**9)
_MAX = Fraction(2**63 - 1)
_MAX_DIGITS, _MAX_POWER = 500, 1500
_MAX_REMEMBERED = 64  # characters; longer texts are read again each time rather than kept


class QuantityError(ValueError):
    """The text is not a quantity; the message is the one clients see."""


@functools.total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class Quantity:
    """An exact amount.  Compare, add and subtract; `str()` gives the canonical text."""

    value: Fraction
    form: str = "decimal"  # decimal, binary or exponent

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantity) and self.value == other.value

    def __lt__(self, other: Quantity) -> bool:
        return self.value < other.value

    def __hash__(self) -> int:
        return hash(self.value)

    def __add__(self, other: Quantity) -> Quantity:
        form = other.form if not self.value else self.form
        return Quantity(self.value + other.value, form)

    def __sub__(self, other: Quantity) -> Quantity:
        form = other.form if not self.value else self.form
        return Quantity(self.value - other.value, form)

    def __neg__(self) -> Quantity:
        return Quantity(-self.value, self.form)

    def __mul__(self, factor: int) -> Quantity:
        return Quantity(self.value * factor, self.form)

    def __bool__(self) -> bool:
        return bool(self.value)

    def __str__(self) -> str:
        return _canonical(self)

    def units(self) -> int:
        """Whole units, rounded away from zero upwards as `Quantity.Value` does."""
        return _ceil_away(self.value)

    def milli(self) -> int:
        """Thousandths, rounded up as `Quantity.MilliValue` does."""
        return _ceil_away(self.value * 1000)


ZERO = Quantity(Fraction(0))


def _parse_text(text: str) -> Quantity:
    return _remembered(text) if len(text) <= _MAX_REMEMBERED else _parsed(text)


def _parsed(text: str) -> Quantity:
    if not text:
        raise QuantityError(FORM_ERROR)
    match = _FORM.fullmatch(text)
    if not match:
        raise QuantityError(_explain(text))
    sign, whole, fraction, bare, suffix = match.groups()
    value = _amount(whole or "", fraction or bare or "")
    form, scale = _scale(suffix)
    value = value * scale * (-1 if sign == "-" else 1)
    return Quantity(_bounded(value), form)


_remembered = functools.lru_cache(maxsize=4096)(_parsed)


def _amount(whole: str, fraction: str) -> Fraction:
    """The number that the digits before and after the point make.

    Of very many only the first count, and whether the others are all zero, which decides about rounding.
    """
    digits = (whole + fraction).lstrip("0")
    power = -len(fraction)
    if len(digits) > _MAX_DIGITS:
        rest = digits[_MAX_DIGITS:]
        power += len(rest) - 1
        digits = digits[:_MAX_DIGITS] + ("1" if rest.strip("0") else "0")
    power = max(-_MAX_POWER, min(_MAX_POWER, power))  # beyond every bound either way
    return Fraction(int(digits or "0")) * Fraction(10) ** power


def parse(text: str | int | float) -> Quantity:
    """Read a quantity; numbers count as their JSON text.  Raises QuantityError."""
    if isinstance(text, bool):
        raise QuantityError(FORM_ERROR)
    return _parse_text(text if isinstance(text, str) else repr(text))


def canonical(text: str | int | float) -> str:
    """The canonical text of a quantity: `1000m` is `1`, `1024Ki` is `1Mi`.  Raises QuantityError."""
    if isinstance(text, str) and len(text) <= _MAX_REMEMBERED:
        return _canonical_text(text)
    return str(parse(text))


@functools.lru_cache(maxsize=4096)
def _canonical_text(text: str) -> str:
    return str(_parse_text(text))


@functools.lru_cache(maxsize=4096)
def _remembered_milli(text: str) -> str:
    return _canonical_milli(text)


def _canonical_milli(text: str) -> str:
    quantity = _parse_text(text)
    if (quantity.value * 1000).denominator != 1:
        quantity = Quantity(Fraction(quantity.milli(), 1000), quantity.form)
    return str(quantity)


def canonical_milli(text: str | int | float) -> str:
    """The canonical text with nothing finer than thousandths, rounded up: amounts of resources."""
    if isinstance(text, bool):
        raise QuantityError(FORM_ERROR)
    text = text if isinstance(text, str) else repr(text)
    return (_remembered_milli if len(text) <= _MAX_REMEMBERED else _canonical_milli)(text)


def is_quantity(value: object) -> bool:
    try:
        parse(value)  # type: ignore[arg-type]
    except (QuantityError, TypeError):
        return False
    return True


def _explain(text: str) -> str:
    if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)[eEinumkKMGTP]*[+-]?\d*", text):
        return _BAD_SUFFIX
    return FORM_ERROR


def _scale(suffix: str) -> tuple[str, Fraction]:
    if suffix in _BINARY:
        return "binary", Fraction(2 ** _BINARY[suffix])
    if suffix in _DECIMAL:
        return "decimal", Fraction(10) ** _DECIMAL[suffix]
    sign, digits = suffix[1] if suffix[1] in "+-" else "", suffix[1:].lstrip("+-").lstrip("0")
    if len(digits) > 19 or (exponent := int(f"{sign}{digits or 0}")) not in _INT64:
        raise QuantityError(_BAD_SUFFIX)
    if abs(exponent) > 400:  # beyond every bound; do not build astronomic numbers
        exponent = 400 if exponent > 0 else -400
    return "exponent", Fraction(10) ** exponent


def _bounded(value: Fraction) -> Fraction:
    """Round fractions up to nano units, away from zero, and cap at the largest 64-bit number."""
    if value.denominator != 1:
        value = Fraction(_ceil_away(value / _NANO)) * _NANO
    return max(-_MAX, min(_MAX, value)) if abs(value) > _MAX else value


def _ceil_away(value: Fraction) -> int:
    return ceil(value) if value >= 0 else -ceil(-value)


def _canonical(quantity: Quantity) -> str:
    value = quantity.value
    if not value:
        return "0"
    if quantity.form == "binary" and abs(value) >= 1024 and value.denominator == 1:
        return _binary_text(value.numerator)
    mantissa, exponent = _decimal_parts(value)
    if quantity.form == "exponent":
        return f"{mantissa}e{exponent}" if exponent else str(mantissa)
    return f"{mantissa}{_DECIMAL_BY_EXPONENT[exponent]}"


def _binary_text(value: int) -> str:
    power = 0
    while value % 1024 == 0 and power < 6:
        value //= 1024
        power += 1
    suffix = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")[power]
    return f"{value}{suffix}"


def _decimal_parts(value: Fraction) -> tuple[int, int]:
    """A whole mantissa and the largest multiple-of-three exponent that keeps it whole."""
    nanos = value / _NANO
    mantissa, exponent = _ceil_away(nanos), -9
    while mantissa % 1000 == 0 and exponent < 18:
        mantissa //= 1000
        exponent += 3
    return mantissa, exponent
