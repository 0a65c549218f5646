"""nftables through libnftables and through raw element batches, in namespaces of their own."""

import socket
import struct
from collections.abc import Iterator

import pytest

from tests.support.netns import Netns, namespaces
from todoku.linux.nfnetlink import NetlinkError
from todoku.linux.nftables import DROP, GOTO, IPV4, Element, Elements, Nft, NftError, Verdict

pytestmark = pytest.mark.kernel

TABLE = """
table ip t {
    map answers { typeof ip daddr . meta l4proto . th dport : verdict; }
    set ranges { typeof ip daddr . ip saddr; flags interval; }
    chain web { }
}
"""


@pytest.fixture
def host() -> Iterator[Netns]:
    with namespaces("host") as (host,):
        Nft(host.fd).apply(TABLE)
        yield host


@pytest.fixture
def elements(host: Netns) -> Iterator[Elements]:
    with Elements(IPV4, "t", host.fd) as elements:
        yield elements


def service(number: int, value: Verdict | None = None) -> Element:
    key = socket.inet_aton(f"10.96.{number >> 8}.{number & 255}") + struct.pack(">B3xH2x", 6, 80)
    return Element("answers", key, value or Verdict(GOTO, "web"), comment=f"default/web-{number}")


def test_elements_come_back_as_they_were_added(elements: Elements) -> None:
    wanted = {service(1), service(2, Verdict(DROP))}
    elements.apply(add=wanted)
    assert set(elements.dump("answers")) == wanted


def test_an_element_changes_its_value_in_one_transaction(elements: Elements) -> None:
    elements.apply(add=[service(1)])
    elements.apply(remove=[service(1)], add=[service(1, Verdict(DROP))])
    assert elements.dump("answers") == [service(1, Verdict(DROP))]


def test_ten_thousand_elements_fit_in_one_batch(elements: Elements) -> None:
    wanted = {service(number) for number in range(10_000)}
    elements.apply(add=wanted)
    found: set[Element] = set()
    for _ in range(50):  # the kernel may still be moving them to a bigger hash table
        found |= set(elements.dump("answers"))
        if found == wanted:
            break
    assert found == wanted


def test_a_refused_element_takes_the_whole_batch_with_it(elements: Elements) -> None:
    with pytest.raises(NetlinkError, match="No such file"):
        elements.apply(add=[service(1), service(2, Verdict(GOTO, "nowhere"))])
    assert elements.dump("answers") == []


def test_the_socket_is_usable_after_a_refusal(elements: Elements) -> None:
    with pytest.raises(NetlinkError):
        elements.apply(remove=[service(1)])
    elements.apply(add=[service(1)])
    assert elements.dump("answers") == [service(1)]


def test_ranges_in_a_concatenation_keep_both_ends(elements: Elements) -> None:
    address = socket.inet_aton("192.168.11.136")
    allowed = Element(
        "ranges",
        address + socket.inet_aton("10.0.0.0"),
        key_end=address + socket.inet_aton("10.255.255.255"),
    )
    elements.apply(add=[allowed])
    assert elements.dump("ranges") == [allowed]
    elements.apply(remove=[allowed])
    assert elements.dump("ranges") == []


def test_text_errors_point_at_the_token(host: Netns) -> None:
    with pytest.raises(NftError) as refused:
        Nft(host.fd).apply("add rule ip t web tcp dport frobnicate accept")
    assert "frobnicate" in str(refused.value) and "^^^^" in str(refused.value)


def test_a_bad_line_keeps_the_lines_before_it_from_taking_effect(host: Netns) -> None:
    nft = Nft(host.fd)
    with pytest.raises(NftError):
        nft.apply("add chain ip t extra\nadd rule ip t missing accept")
    assert nft.chains("ip", "t") == {"web"}


def test_json_commands_work_like_text(host: Netns) -> None:
    nft = Nft(host.fd)
    nft.apply([{"add": {"chain": {"family": "ip", "table": "t", "name": "extra"}}}])
    assert nft.chains("ip", "t") == {"web", "extra"}
    assert "chain extra" in nft.show("table ip t")


def test_namespaces_do_not_see_each_other(host: Netns) -> None:
    with namespaces("other") as (other,):
        assert Nft(other.fd).objects() == []
    assert Nft(host.path).chains("ip", "t") == {"web"}
