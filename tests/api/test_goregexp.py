"""Regular expressions of users: Go's language, and no text that takes long."""

import time

import pytest

from todoku.api import goregexp


@pytest.mark.parametrize(
    ("expression", "text", "wanted"),
    [
        (r"^(?i)yes$", "YES", True),
        (r"^\pL+$", "日本", True),
        (r"^\d$", "٣", False),  # digits and letters are ASCII
        (r"^\w$", "é", False),
        (r"^a$", "a\n", False),
        (r"a\z", "ba", True),
        (r"^[[:alnum:]]+$", "a1", True),
        (r"^\Qa.b\E$", "a.b", True),
        (r"^x{,2}$", "x{,2}", True),
        (r"([1-9]||58)Ti", "Ti", True),
        (r"(?P<n>b)", "abc", True),
    ],
)  # fmt: skip
def test_what_matches(expression, text, wanted):
    assert goregexp.holds(expression, text) is wanted


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("a(?=b)", "invalid or unsupported Perl syntax: `(?=`"),
        ("a{1,1001}", "invalid repeat count: `{1,1001}`"),
        ("[z-a]", "invalid character class range: `z-a`"),
        ("a**", "invalid nested repetition operator: `**`"),
        ("*", "missing argument to repetition operator: `*`"),
        ("(", "missing closing ): `(`"),
        ("[a", "missing closing ]: `[a`"),
        (r"(a)\1", r"invalid escape sequence: `\1`"),
        ("a\\", "trailing backslash at end of expression: ``"),
    ],
)
def test_what_is_no_expression(expression, told):
    with pytest.raises(goregexp.BadExpression) as raised:
        goregexp.compiled(expression)
    assert str(raised.value) == f"error parsing regexp: {told}"


def test_all_matches_are_found_in_order():
    assert list(goregexp.found("[a-z本]+", "ab1日本c")) == ["ab", "本c"]


def test_no_text_takes_long():
    started = time.monotonic()
    assert not goregexp.holds("^(([a-z])+.)+[A-Z]$", "a" * 5000)
    assert time.monotonic() - started < 1
