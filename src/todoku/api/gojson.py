"""What Go's encoding/json says about bytes that are no JSON (scanner.go): clients show these words to people.

Only refused bodies come this way; those that parse never do.
"""

from __future__ import annotations

import re

_SPACE = re.compile(rb"[ \t\r\n]*")
_PLAIN = re.compile(rb'[^"\\\x00-\x1f]*')
_DIGITS = re.compile(rb"[0-9]*")
_HEX = frozenset(b"0123456789abcdefABCDEF")
_LITERALS = {ord("t"): b"true", ord("f"): b"false", ord("n"): b"null"}
_END = "unexpected end of JSON input"


def kind(value: object) -> str:
    """What encoding/json calls a decoded value that it cannot unmarshal."""
    if value is None:
        return "null"
    return {dict: "object", list: "array", str: "string", bool: "bool"}.get(type(value), "number")


def syntax_error(raw: bytes) -> str | None:
    """Go's message for the first byte that cannot be; None for what is JSON."""
    try:
        scan = _Scan(raw)
        scan.value()
        if (found := scan.next()) is not None:
            scan.refuse(found, "after top-level value")
    except _SyntaxError as problem:
        return str(problem)
    except RecursionError:
        return "exceeded max depth"
    return None


class _SyntaxError(Exception):
    pass


class _Scan:
    """A position in the bytes; every method goes past what it is named after."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._at = 0

    def next(self) -> int | None:
        """The byte after white space, where it stays; None at the end."""
        self._skip(_SPACE)
        return self._peek()

    def refuse(self, byte: int | None, where: str) -> None:
        raise _SyntaxError(_END if byte is None else f"invalid character {_quoted(byte)} {where}")

    def value(self) -> None:
        byte = self.next()
        if byte == ord("{"):
            self._object()
        elif byte == ord("["):
            self._array()
        elif byte == ord('"'):
            self._string()
        elif byte in _LITERALS:
            self._literal(_LITERALS[byte])
        elif byte is not None and byte in b"-0123456789":
            self._number()
        else:
            self.refuse(byte, "looking for beginning of value")

    def _object(self) -> None:
        self._at += 1
        if self.next() == ord("}"):
            self._at += 1
            return
        while True:
            if (byte := self.next()) != ord('"'):
                self.refuse(byte, "looking for beginning of object key string")
            self._string()
            self._expect(b":", "after object key")
            self.value()
            if self._expect(b",}", "after object key:value pair") == ord("}"):
                return

    def _array(self) -> None:
        self._at += 1
        if self.next() == ord("]"):
            self._at += 1
            return
        while True:
            self.value()
            if self._expect(b",]", "after array element") == ord("]"):
                return

    def _expect(self, wanted: bytes, where: str) -> int | None:
        byte = self.next()
        if byte is None or byte not in wanted:
            self.refuse(byte, where)
        self._at += 1
        return byte

    def _string(self) -> None:
        self._at += 1
        while True:
            self._skip(_PLAIN)
            byte = self._take()
            if byte == ord('"'):
                return
            if byte != ord("\\"):
                self.refuse(byte, "in string literal")
            self._escape()

    def _escape(self) -> None:
        byte = self._take()
        if byte == ord("u"):
            for _ in range(4):
                if (digit := self._take()) not in _HEX:
                    self.refuse(digit, "in \\u hexadecimal character escape")
        elif byte is None or byte not in b'bfnrt\\/"':
            self.refuse(byte, "in string escape code")

    def _literal(self, word: bytes) -> None:
        self._at += 1
        for wanted in word[1:]:
            if (byte := self._take()) != wanted:
                self.refuse(byte, f"in literal {word.decode()} (expecting '{chr(wanted)}')")

    def _number(self) -> None:
        if self._peek() == ord("-"):
            self._at += 1
            self._digit("in numeric literal")
        else:
            self._at += 1
        if self._raw[self._at - 1] != ord("0"):
            self._skip(_DIGITS)
        if self._peek() == ord("."):
            self._at += 1
            self._digit("after decimal point in numeric literal")
            self._skip(_DIGITS)
        if self._peek() in (ord("e"), ord("E")):
            self._at += 1
            if self._peek() in (ord("+"), ord("-")):
                self._at += 1
            self._digit("in exponent of numeric literal")
            self._skip(_DIGITS)

    def _digit(self, where: str) -> None:
        byte = self._take()
        if byte is None or byte not in b"0123456789":
            self.refuse(byte, where)

    def _skip(self, pattern: re.Pattern[bytes]) -> None:
        found = pattern.match(self._raw, self._at)
        assert found is not None, "the pattern matches nothing too"
        self._at = found.end()

    def _peek(self) -> int | None:
        return self._raw[self._at] if self._at < len(self._raw) else None

    def _take(self) -> int | None:
        byte = self._peek()
        self._at += 1
        return byte


def _quoted(byte: int) -> str:
    """A byte as Go quotes the character of that number."""
    if byte == ord("'"):
        return "'\\''"
    if byte == ord('"'):
        return "'\"'"
    if 0x7F <= byte < 0xA0 or byte == 0xAD:
        return f"'\\u{byte:04x}'" if byte > 0x7F else "'\\x7f'"
    special = {7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 92: "\\\\"}
    shown = special.get(byte) or (f"\\x{byte:02x}" if byte < 0x20 else chr(byte))
    if byte == 0xA0:
        shown = "\\u00a0"
    return f"'{shown}'"
