"""ARP and NDP on the wire, against the byte layouts of the RFCs."""

import ipaddress

import pytest

from todoku.linux import packets

HOST, NODE = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
ASKER, ADDRESS = ipaddress.IPv4Address("192.168.11.201"), ipaddress.IPv4Address("192.168.11.136")
REQUEST = packets.Arp(packets.REQUEST, HOST, ASKER, b"\0" * 6, ADDRESS, frame_source=HOST)


def test_an_arp_request_is_laid_out_as_rfc_826_has_it():
    expected = "ffffffffffff 020000000001 0806 0001 0800 06 04 0001 020000000001 c0a80bc9 000000000000 c0a80b88"
    assert REQUEST.encode() == bytes.fromhex(expected.replace(" ", ""))


def test_what_was_encoded_is_decoded():
    assert packets.decode_arp(REQUEST.encode()) == REQUEST
    assert packets.decode_arp(REQUEST.encode() + b"\0" * 18) == REQUEST, (
        "Ethernet pads short frames"
    )


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        REQUEST.encode()[:41],
        REQUEST.encode()[:12] + b"\x08\x00" + REQUEST.encode()[14:],
        REQUEST.encode()[:14] + b"\x00\x06" + REQUEST.encode()[16:],
    ],
    ids=["empty", "too-short", "not-arp", "not-ethernet"],
)
def test_other_frames_are_none(frame):
    assert packets.decode_arp(frame) is None


def test_a_reply_goes_back_to_the_asker_alone():
    reply = packets.arp_reply(REQUEST, NODE)
    assert (reply.operation, reply.sender_mac, reply.sender) == (packets.REPLY, NODE, ADDRESS)
    assert (reply.target_mac, reply.target) == (HOST, ASKER)
    assert (reply.frame_source, reply.frame_target) == (NODE, HOST)


def test_an_announcement_is_a_broadcast_request_and_reply_about_itself():
    announced = packets.gratuitous_arp(ADDRESS, NODE)
    assert [one.operation for one in announced] == [packets.REQUEST, packets.REPLY]
    for one in announced:
        assert one.sender == one.target == ADDRESS
        assert (one.sender_mac, one.frame_target) == (NODE, packets.BROADCAST)


TARGET = ipaddress.IPv6Address("fc00:f853::136")


def test_a_solicitation_is_decoded_with_its_link_layer_option():
    found = packets.decode_solicitation(packets.neighbor_solicitation(TARGET, HOST))
    assert found == packets.Solicitation(TARGET, HOST)


@pytest.mark.parametrize(
    ("options", "mac"),
    [
        (b"", None),
        (bytes((1, 0)) + HOST, None),
        (bytes((14, 1)) + b"\0" * 6 + bytes((1, 1)) + HOST, HOST),
        (bytes((1, 1)), None),
    ],
    ids=["no-option", "zero-length", "after-a-nonce", "cut-off"],
)
def test_the_source_option_is_found_or_not(options, mac):
    bare = packets.neighbor_solicitation(TARGET, HOST)[:24]
    assert packets.decode_solicitation(bare + options) == packets.Solicitation(TARGET, mac)


@pytest.mark.parametrize(
    ("solicited", "override", "flags"), [(True, False, 0x40000000), (False, True, 0x20000000)]
)
def test_an_advertisement_carries_flags_target_and_mac(solicited, override, flags):
    message = packets.neighbor_advertisement(TARGET, NODE, solicited=solicited, override=override)
    assert message[0] == 136
    assert int.from_bytes(message[4:8], "big") == flags
    assert message[8:24] == TARGET.packed
    assert message[24:] == bytes((2, 1)) + NODE
    assert packets.decode_solicitation(message) is None


def test_the_group_of_an_address_is_made_of_its_last_three_bytes():
    assert str(packets.solicited_node(TARGET)) == "ff02::1:ff00:136"
