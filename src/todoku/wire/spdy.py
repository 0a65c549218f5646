"""SPDY/3.1 frames: bytes to frames and back, without sockets.

Old kubectls speak it for exec, attach and port-forward, newer ones inside a WebSocket for port-forward.  A `Reader`
and a `Writer` each hold one half of a connection's state, the shared compression of its headers.
Source: SPDY Protocol, draft 3.1.
"""

from __future__ import annotations

import importlib.resources
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

VERSION = 3
MAX_FRAME_BYTES = (1 << 24) - 1

# RST_STREAM and GOAWAY status codes
PROTOCOL_ERROR, INVALID_STREAM, REFUSED_STREAM, CANCEL, INTERNAL_ERROR = 1, 2, 3, 5, 6
GOAWAY_OK = 0

_SYN_STREAM, _SYN_REPLY, _RST_STREAM, _SETTINGS = 1, 2, 3, 4
_PING, _GOAWAY, _HEADERS, _WINDOW_UPDATE = 6, 7, 8, 9
_FIN, _UNIDIRECTIONAL = 1, 2
_MAX_HEADER_BYTES = 1 << 20

Headers: TypeAlias = Mapping[str, Sequence[str]]
"""Lower-case names; a name may have several values."""


class ProtocolError(Exception):
    """The peer broke the framing; the connection cannot go on."""


@dataclass(frozen=True, slots=True)
class SynStream:
    """The peer opens a stream.  `fin`: it will send nothing on it."""

    stream: int
    headers: Headers
    fin: bool = False
    unidirectional: bool = False
    associated: int = 0
    priority: int = 0


@dataclass(frozen=True, slots=True)
class SynReply:
    stream: int
    headers: Headers
    fin: bool = False


@dataclass(frozen=True, slots=True)
class MoreHeaders:
    stream: int
    headers: Headers
    fin: bool = False


@dataclass(frozen=True, slots=True)
class Data:
    stream: int
    data: bytes
    fin: bool = False


@dataclass(frozen=True, slots=True)
class Reset:
    stream: int
    status: int


@dataclass(frozen=True, slots=True)
class Ping:
    id: int


@dataclass(frozen=True, slots=True)
class GoAway:
    last_stream: int
    status: int


@dataclass(frozen=True, slots=True)
class WindowUpdate:
    stream: int
    delta_bytes: int


@dataclass(frozen=True, slots=True)
class Settings:
    """Parsed as far as to be skipped: Kubernetes clients send none."""


Frame: TypeAlias = (
    SynStream | SynReply | MoreHeaders | Data | Reset | Ping | GoAway | WindowUpdate | Settings
)


class Reader:
    """Turns a connection's incoming bytes into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._inflate = zlib.decompressobj(zdict=_dictionary())

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that are complete with `data`.  Raises ProtocolError; then the connection is lost."""
        self._buffer += data
        while len(self._buffer) >= 8:
            head, rest = struct.unpack_from(">II", self._buffer)
            size = rest & MAX_FRAME_BYTES
            if len(self._buffer) < 8 + size:
                return
            body = bytes(self._buffer[8 : 8 + size])
            del self._buffer[: 8 + size]
            frame = self._frame(head, rest >> 24, body)
            if frame is not None:
                yield frame

    def _frame(self, head: int, flags: int, body: bytes) -> Frame | None:
        if not head >> 31:
            return Data(head & 0x7FFFFFFF, body, bool(flags & _FIN))
        version, kind = head >> 16 & 0x7FFF, head & 0xFFFF
        if version != VERSION:
            raise ProtocolError(f"SPDY version {version}, expected {VERSION}")
        try:
            return self._control(kind, flags, body)
        except struct.error as error:
            raise ProtocolError(f"control frame {kind} is too short") from error

    def _control(self, kind: int, flags: int, body: bytes) -> Frame | None:
        fin = bool(flags & _FIN)
        match kind:
            case 1:  # SYN_STREAM
                stream, associated, priority = struct.unpack_from(">IIB", body)
                headers = self._headers(body[10:])
                one_way = bool(flags & _UNIDIRECTIONAL)
                return SynStream(
                    stream & 0x7FFFFFFF, headers, fin, one_way, associated, priority >> 5
                )
            case 2 | 8:  # SYN_REPLY, HEADERS
                (stream,) = struct.unpack_from(">I", body)
                make = SynReply if kind == _SYN_REPLY else MoreHeaders
                return make(stream & 0x7FFFFFFF, self._headers(body[4:]), fin)
            case 3:
                return Reset(*struct.unpack_from(">II", body))
            case 4:
                return Settings()
            case 6:
                return Ping(*struct.unpack_from(">I", body))
            case 7:
                return GoAway(*struct.unpack_from(">II", body))
            case 9:
                return WindowUpdate(*struct.unpack_from(">II", body))
        return None  # unknown control frames are to be ignored

    def _headers(self, block: bytes) -> Headers:
        """Inflate and read a name/value block; the inflater's state spans the connection."""
        try:
            plain = self._inflate.decompress(block, _MAX_HEADER_BYTES)
        except zlib.error as error:
            raise ProtocolError("a header block does not inflate") from error
        if self._inflate.unconsumed_tail:
            raise ProtocolError(f"a header block is larger than {_MAX_HEADER_BYTES} bytes")
        (count,) = struct.unpack_from(">I", plain)
        headers: dict[str, Sequence[str]] = {}
        position = 4
        for _ in range(count):
            name, position = _text(plain, position)
            value, position = _text(plain, position)
            if not name or name in headers:
                raise ProtocolError("a header block names a header twice, or none")
            headers[name] = value.split("\0")
        return headers


class Writer:
    """Turns frames into a connection's outgoing bytes; frames must be sent in the order they were made."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(zdict=_dictionary())

    def syn_stream(
        self, stream: int, headers: Headers, *, fin: bool = False, associated: int = 0
    ) -> bytes:
        block = struct.pack(">IIH", stream, associated, 0) + self._headers(headers)
        return _control(_SYN_STREAM, fin, block)

    def syn_reply(self, stream: int, headers: Headers, *, fin: bool = False) -> bytes:
        return _control(_SYN_REPLY, fin, struct.pack(">I", stream) + self._headers(headers))

    def data(self, stream: int, data: bytes, *, fin: bool = False) -> bytes:
        """One DATA frame; `data` is at most MAX_FRAME_BYTES long."""
        return struct.pack(">II", stream, int(fin) << 24 | len(data)) + data

    def reset(self, stream: int, status: int) -> bytes:
        return _control(_RST_STREAM, False, struct.pack(">II", stream, status))

    def ping(self, identifier: int) -> bytes:
        return _control(_PING, False, struct.pack(">I", identifier))

    def go_away(self, last_stream: int, status: int = GOAWAY_OK) -> bytes:
        return _control(_GOAWAY, False, struct.pack(">II", last_stream, status))

    def window_update(self, stream: int, delta_bytes: int) -> bytes:
        return _control(_WINDOW_UPDATE, False, struct.pack(">II", stream, delta_bytes))

    def _headers(self, headers: Headers) -> bytes:
        plain = struct.pack(">I", len(headers))
        for name, values in headers.items():
            for text in (name.lower(), "\0".join(values)):
                raw = text.encode()
                plain += struct.pack(">I", len(raw)) + raw
        return self._deflate.compress(plain) + self._deflate.flush(zlib.Z_SYNC_FLUSH)


def _control(kind: int, fin: bool, body: bytes) -> bytes:
    return struct.pack(">HHI", 0x8000 | VERSION, kind, int(fin) << 24 | len(body)) + body


def _text(plain: bytes, position: int) -> tuple[str, int]:
    (size,) = struct.unpack_from(">I", plain, position)
    end = position + 4 + size
    if end > len(plain):
        raise ProtocolError("a header is longer than its block")
    return plain[position + 4 : end].decode("utf-8", "replace"), end


@cache
def _dictionary() -> bytes:
    """The header dictionary of SPDY/3 (draft 3, section 2.6.10.1); Adler-32 e3c6a7c2."""
    return (importlib.resources.files("todoku.wire") / "data" / "spdy3-dictionary.bin").read_bytes()
