"""Bytes that are no JSON, in the words of Go's decoder."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from todoku.api.gojson import syntax_error


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"", "unexpected end of JSON input"),
        (b"  \n", "unexpected end of JSON input"),
        (b"{bad", "invalid character 'b' looking for beginning of object key string"),
        (b'{"a":1', "unexpected end of JSON input"),
        (b'{"a" 1}', "invalid character '1' after object key"),
        (b'{"a":1 "b"}', "invalid character '\"' after object key:value pair"),
        (b'{"a":1,}', "invalid character '}' looking for beginning of object key string"),
        (b"[1 2]", "invalid character '2' after array element"),
        (b"[1,]", "invalid character ']' looking for beginning of value"),
        (b"{}}", "invalid character '}' after top-level value"),
        (b"abc", "invalid character 'a' looking for beginning of value"),
        (b"'a'", "invalid character '\\'' looking for beginning of value"),
        (b"tru", "unexpected end of JSON input"),
        (b"[tru]", "invalid character ']' in literal true (expecting 'e')"),
        (b"fulse", "invalid character 'u' in literal false (expecting 'a')"),
        (b"nul1", "invalid character '1' in literal null (expecting 'l')"),
        (b"-x", "invalid character 'x' in numeric literal"),
        (b"01", "invalid character '1' after top-level value"),
        (b"[1.x]", "invalid character 'x' after decimal point in numeric literal"),
        (b"1e+", "unexpected end of JSON input"),
        (b"1ex", "invalid character 'x' in exponent of numeric literal"),
        (b'"a', "unexpected end of JSON input"),
        (b'"a\n"', "invalid character '\\n' in string literal"),
        (b'"\x01"', "invalid character '\\x01' in string literal"),
        (b'"\\x"', "invalid character 'x' in string escape code"),
        (b'"\\u12g4"', "invalid character 'g' in \\u hexadecimal character escape"),
        (b"\xc3\xa4", "invalid character '\u00c3' looking for beginning of value"),
        (b"[" * 20_000, "exceeded max depth"),
    ],
)
def test_what_is_no_json_is_told_in_gos_words(raw, problem):
    assert syntax_error(raw) == problem


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(VALUES)
def test_nothing_is_wrong_with_json(value):
    assert syntax_error(json.dumps(value, indent=1).encode()) is None


@given(st.binary(max_size=12))
def test_what_is_refused_is_what_the_other_parser_refuses(raw):
    try:
        json.loads(raw.decode("latin-1"), parse_constant=lambda word: 1 / 0)
    except (ValueError, ZeroDivisionError):
        assert syntax_error(raw)
    else:
        assert syntax_error(raw) is None
