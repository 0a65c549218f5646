"""What a pool's `addresses` may say."""

import pytest

from todoku.loadbalancer.addresses import Family, family_of, parse_address, parse_entry


@pytest.mark.parametrize(
    ("text", "prefixes"),
    [
        pytest.param("192.168.11.0/24", ["192.168.11.0/24"], id="prefix"),
        pytest.param("192.168.11.7/24", ["192.168.11.0/24"], id="host-bits-are-masked"),
        pytest.param(
            "192.168.11.136-192.168.11.139", ["192.168.11.136/30"], id="range-is-a-prefix"
        ),
        pytest.param(
            "10.0.0.1 - 10.0.0.6",
            ["10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/31", "10.0.0.6/32"],
            id="range-becomes-the-fewest-prefixes",
        ),
        pytest.param("10.0.0.9-10.0.0.9", ["10.0.0.9/32"], id="range-of-one"),
        pytest.param("fc00:f853::/112", ["fc00:f853::/112"], id="ipv6-prefix"),
        pytest.param("fc00::1-fc00::2", ["fc00::1/128", "fc00::2/128"], id="ipv6-range"),
    ],
)
def test_an_entry_becomes_prefixes(text, prefixes):
    assert [str(one) for one in parse_entry(text)] == prefixes


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("10.0.0.1", 'invalid CIDR "10.0.0.1"'),
        ("10.0.0.0/33", 'invalid CIDR "10.0.0.0/33"'),
        ("10.0.0.0/255.255.255.0", 'invalid CIDR "10.0.0.0/255.255.255.0"'),
        ("010.0.0.0/8", 'invalid CIDR "010.0.0.0/8"'),
        ("", 'invalid CIDR ""'),
        ("ten-10.0.0.1", 'invalid IP range "ten-10.0.0.1": invalid start IP "ten"'),
        ("10.0.0.1-", 'invalid IP range "10.0.0.1-": invalid end IP ""'),
        ("10.0.0.9-10.0.0.1", 'start IP "10.0.0.9" is after the end IP "10.0.0.1"'),
        ("10.0.0.1-fc00::1", "start and end are of different families"),
    ],
)
def test_a_bad_entry_is_refused_with_its_text(text, problem):
    with pytest.raises(ValueError) as refusal:
        parse_entry(text)
    assert problem in str(refusal.value)


def test_a_mapped_address_means_its_ipv4_one():
    assert str(parse_address("::ffff:10.0.0.1")) == "10.0.0.1"


def test_a_scoped_address_names_no_service():
    assert parse_address("fe80::1%eth0") is None


@pytest.mark.parametrize(
    ("texts", "family"),
    [
        (["10.0.0.1"], Family.IPV4),
        (["fc00::1"], Family.IPV6),
        (["fc00::1", "10.0.0.1"], Family.DUAL),
        ([], None),
        (["10.0.0.1", "10.0.0.2"], None),
        (["10.0.0.1", "fc00::1", "fc00::2"], None),
    ],
)
def test_the_family_of_a_list(texts, family):
    addresses = [parse_address(text) for text in texts]
    if family is None:
        with pytest.raises(ValueError, match="invalid address list"):
            family_of(addresses)
    else:
        assert family_of(addresses) is family
