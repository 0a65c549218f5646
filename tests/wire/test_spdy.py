"""SPDY/3.1 frames survive any cutting of the byte stream, and damage is a ProtocolError."""

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from todoku.wire.spdy import (
    Data,
    GoAway,
    MoreHeaders,
    Ping,
    ProtocolError,
    Reader,
    Reset,
    Settings,
    SynReply,
    SynStream,
    WindowUpdate,
    Writer,
    _dictionary,
)

HEADERS = {"streamtype": ["stdin"], "many": ["a", "b"], "empty": [""]}


def test_the_dictionary_is_the_one_of_the_draft():
    assert len(_dictionary()) == 1423
    assert zlib.adler32(_dictionary()) == 0xE3C6A7C2


def every_frame():
    writer = Writer()
    return [
        (writer.syn_stream(1, HEADERS), SynStream(1, HEADERS)),
        (writer.syn_stream(3, HEADERS, fin=True), SynStream(3, HEADERS, fin=True)),
        (writer.syn_reply(1, {}), SynReply(1, {})),
        (writer.data(1, b"hello"), Data(1, b"hello")),
        (writer.data(1, b"", fin=True), Data(1, b"", fin=True)),
        (writer.reset(3, 5), Reset(3, 5)),
        (writer.ping(7), Ping(7)),
        (writer.window_update(1, 65536), WindowUpdate(1, 65536)),
        (writer.go_away(3), GoAway(3, 0)),
    ]


@pytest.mark.parametrize("size", [1, 7, 10_000], ids=lambda size: f"pieces of {size}")
def test_frames_round_trip_however_the_bytes_are_cut(size):
    frames = every_frame()
    stream = b"".join(raw for raw, _ in frames)
    reader = Reader()
    got = [
        frame
        for start in range(0, len(stream), size)
        for frame in reader.feed(stream[start : start + size])
    ]
    assert got == [frame for _, frame in frames]


def test_headers_frames_settings_and_unknown_control_frames():
    block = Writer().syn_reply(5, HEADERS)[12:]
    headers = b"\x80\x03\x00\x08" + (4 + len(block)).to_bytes(4, "big") + b"\0\0\0\x05" + block
    settings_frame = b"\x80\x03\x00\x04\x00\x00\x00\x04\x00\x00\x00\x00"
    unknown = b"\x80\x03\x00\x63\x00\x00\x00\x01x"
    got = list(Reader().feed(headers + unknown + settings_frame))
    assert got == [MoreHeaders(5, HEADERS), Settings()]


DAMAGED = {
    "another version": b"\x80\x02\x00\x06\x00\x00\x00\x04\x00\x00\x00\x01",
    "short control frame": b"\x80\x03\x00\x06\x00\x00\x00\x01x",
    "header block that is no zlib": b"\x80\x03\x00\x02\x00\x00\x00\x08\x00\x00\x00\x01abcd",
}


@pytest.mark.parametrize("raw", DAMAGED.values(), ids=DAMAGED)
def test_damage_is_a_protocol_error(raw):
    with pytest.raises(ProtocolError):
        list(Reader().feed(raw))


def test_a_header_bomb_is_refused():
    writer = Writer()
    bomb = writer.syn_stream(1, {"a": ["x" * (2 << 20)]})
    with pytest.raises(ProtocolError, match="larger than"):
        list(Reader().feed(bomb))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 300), st.binary(min_size=1, max_size=4))
def test_random_damage_raises_nothing_else(at, noise):
    stream = b"".join(raw for raw, _ in every_frame())
    at %= len(stream)
    try:
        list(Reader().feed(stream[:at] + noise + stream[at + len(noise) :]))
    except ProtocolError:
        pass
