"""Frames as the interfaces of another namespace saw them."""

import socket
import time

import pytest

from tests.support.netns import connect, namespaces
from todoku.linux.capture import Capture, Frame

pytestmark = pytest.mark.kernel


def is_ours(frame: Frame) -> bool:
    """The datagram itself, not the ICMP error about it."""
    return frame.data.endswith(b"payload") and frame.data[23] == socket.IPPROTO_UDP


def test_a_frame_is_seen_leaving_and_arriving_with_the_kernels_time():
    with namespaces("a", "b") as (a, b):
        connect(a, b, a_name="eth0", b_name="eth1")
        a.ip("addr add 192.0.2.1/24 dev eth0")
        b.ip("addr add 192.0.2.2/24 dev eth1")
        before = time.time_ns()
        with Capture(a.path) as here, Capture(b.path) as there, a.socket(socket.SOCK_DGRAM) as sock:
            sock.sendto(b"payload", ("192.0.2.2", 9))
            time.sleep(0.05)
            sent = [one for one in here.read() if is_ours(one)]
            got = [one for one in there.read() if is_ours(one)]
            assert here.lost() == 0
        assert [(one.interface, one.outgoing) for one in sent] == [("eth0", True)]
        assert [(one.interface, one.outgoing) for one in got] == [("eth1", False)]
        assert before < sent[0].time_ns <= got[0].time_ns < time.time_ns()


def test_loopback_is_seen_once():
    with namespaces("a") as (a,), Capture(a.path) as capture, a.socket(socket.SOCK_DGRAM) as sock:
        sock.sendto(b"payload", ("127.0.0.1", 9))
        time.sleep(0.05)
        assert [one.interface for one in capture.read() if is_ours(one)] == ["lo"]


def test_what_finds_no_room_is_counted():
    with namespaces("a") as (a,), Capture(a.path) as capture, a.socket(socket.SOCK_DGRAM) as sock:
        for _ in range(400):
            sock.sendto(bytes(40_000), ("127.0.0.1", 9))
        assert capture.lost() > 0
        assert capture.lost() == 0
