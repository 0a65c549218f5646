"""Which address a Service gets, and why not another."""

import pytest

from todoku.api.selectors import from_map
from todoku.loadbalancer.addresses import Family, parse_address, parse_entry
from todoku.loadbalancer.pools import Allocation, Allocator, Claim, Pool, Refused, capacity


def pool(name, *texts, **settings):
    return Pool(name, tuple((text, parse_entry(text)) for text in texts), **settings)


def allocator(*pools):
    book = Allocator()
    book.set_pools({one.name: one for one in pools})
    return book


def claim(name="web", namespace="default", **facts):
    facts["ports"] = frozenset(facts.pop("ports", ["TCP/80"]))
    return Claim(namespace, name, **facts)


def ip(text):
    return parse_address(text)


def texts(addresses):
    return [str(one) for one in addresses]


IPV4, IPV6, DUAL = (Family.IPV4,), (Family.IPV6,), (Family.DUAL,)
PREFER = (Family.DUAL, Family.IPV4, Family.IPV6)


def test_addresses_are_given_in_ascending_order_the_first_and_last_of_a_prefix_too():
    book = allocator(pool("a", "10.0.0.0/30"))
    given = [str(book.allocate(claim(f"web-{i}"), IPV4)[0]) for i in range(4)]
    assert given == ["10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.3"]


def test_entries_are_used_in_the_order_of_the_spec():
    book = allocator(pool("a", "10.0.9.0/32", "10.0.1.0/32"))
    assert texts(book.allocate(claim(), IPV4)) == ["10.0.9.0"]


def test_a_full_pool_refuses():
    book = allocator(pool("a", "10.0.0.1/32"))
    book.allocate(claim("first"), IPV4)
    with pytest.raises(Refused, match="no available IPs"):
        book.allocate(claim("second"), IPV4)


def test_a_released_address_is_given_again():
    book = allocator(pool("a", "10.0.0.1/32"))
    book.allocate(claim("first"), IPV4)
    assert book.release("default/first")
    assert not book.release("default/first")
    assert texts(book.allocate(claim("second"), IPV4)) == ["10.0.0.1"]


@pytest.mark.parametrize(
    ("settings", "given"),
    [
        ({"avoid_buggy_ips": False}, "10.0.0.255"),
        ({"avoid_buggy_ips": True}, "10.0.1.1"),
    ],
)
def test_avoiding_buggy_addresses_skips_those_ending_in_0_and_255(settings, given):
    book = allocator(pool("a", "10.0.0.255-10.0.1.1", **settings))
    assert texts(book.allocate(claim(), IPV4)) == [given]


def test_a_buggy_address_cannot_be_asked_for_either():
    book = allocator(pool("a", "10.0.0.0/24", avoid_buggy_ips=True))
    with pytest.raises(Refused, match=r'\["10.0.0.255"\] is not allowed in config'):
        book.assign(claim(), [ip("10.0.0.255")])


def test_a_pool_without_auto_assign_serves_only_those_who_ask():
    book = allocator(pool("a", "10.0.0.0/24", auto_assign=False))
    with pytest.raises(Refused, match="no available IPs"):
        book.allocate(claim("auto"), IPV4)
    assert texts(book.allocate_from(claim("by-pool"), "a", IPV4)) == ["10.0.0.0"]
    assert book.assign(claim("by-address"), [ip("10.0.0.7")]).name == "a"


def test_an_unknown_pool_is_named():
    with pytest.raises(Refused, match='unknown pool "b"'):
        allocator(pool("a", "10.0.0.0/24")).allocate_from(claim(), "b", IPV4)


RED = Allocation(priority=20, namespaces=frozenset(["red"]))
RED_FIRST = Allocation(priority=10, namespaces=frozenset(["red"]))
RED_UNSET = Allocation(namespaces=frozenset(["red"]))
WEB = Allocation(service_selectors=(from_map({"app": "web"}),))
RED_WEB = Allocation(namespaces=frozenset(["red"]), service_selectors=(from_map({"app": "web"}),))
ONLY_PRIORITY = Allocation(priority=1)


@pytest.mark.parametrize(
    ("rules", "who", "chosen"),
    [
        pytest.param({"a": None, "b": RED}, claim(namespace="red"), "b", id="pinned-before-common"),
        pytest.param({"a": None, "b": RED}, claim(namespace="blue"), "a", id="other-namespace"),
        pytest.param(
            {"a": RED, "b": RED_FIRST}, claim(namespace="red"), "b", id="lower-priority-number-wins"
        ),
        pytest.param(
            {"a": RED_UNSET, "b": RED}, claim(namespace="red"), "b", id="unset-priority-last"
        ),
        pytest.param({"a": None, "b": WEB}, claim(labels={"app": "web"}), "b", id="service-label"),
        pytest.param(
            {"a": None, "b": WEB}, claim(labels={"app": "db"}), "a", id="other-service-label"
        ),
        pytest.param(
            {"a": None, "b": RED_WEB}, claim(namespace="red"), "a", id="both-conditions-must-hold"
        ),
        pytest.param(
            {"a": ONLY_PRIORITY, "b": None}, claim(), "b", id="a-priority-alone-is-never-chosen"
        ),
    ],
)
def test_automatic_choice_follows_service_allocation(rules, who, chosen):
    pools = [
        pool(name, f"10.0.{i}.0/24", allocation=rule)
        for i, (name, rule) in enumerate(rules.items())
    ]
    book = allocator(*pools)
    book.allocate(who, IPV4)
    assert book.pool_of(who.service) == chosen


def test_when_the_pinned_pool_is_full_the_common_one_serves():
    book = allocator(pool("a", "10.0.0.0/24"), pool("b", "10.0.1.1/32", allocation=RED))
    book.allocate(claim("first", "red"), IPV4)
    assert texts(book.allocate(claim("second", "red"), IPV4)) == ["10.0.0.0"]


def test_an_explicit_request_must_pass_the_pool_s_selectors():
    book = allocator(pool("b", "10.0.1.0/24", allocation=RED))
    with pytest.raises(Refused, match="pool b not compatible for ip assignment"):
        book.assign(claim(namespace="blue"), [ip("10.0.1.1")])
    with pytest.raises(Refused, match="pool b not compatible for ip assignment"):
        book.allocate_from(claim(namespace="blue"), "b", IPV4)


@pytest.mark.parametrize(
    ("pools", "families", "given"),
    [
        pytest.param({"a": ["10.0.0.0/24", "fc00::/120"]}, IPV6, ["fc00::"], id="single-ipv6"),
        pytest.param(
            {"a": ["fc00::/120", "10.0.0.0/24"]},
            DUAL,
            ["10.0.0.0", "fc00::"],
            id="ipv4-comes-first",
        ),
        pytest.param(
            {"a": ["10.0.0.0/24"], "b": ["fc00::/120"]}, DUAL, None, id="both-from-one-pool-or-none"
        ),
        pytest.param(
            {"a": ["10.0.0.0/24"], "b": ["10.0.1.0/24", "fc00::/120"]},
            PREFER,
            ["10.0.1.0", "fc00::"],
            id="prefer-takes-a-dual-pool",
        ),
        pytest.param(
            {"a": ["fc00::/120"], "b": ["10.0.1.0/24"]}, PREFER, ["10.0.1.0"], id="prefer-primary"
        ),
        pytest.param({"a": ["fc00::/120"]}, PREFER, ["fc00::"], id="prefer-secondary"),
    ],
)
def test_families(pools, families, given):
    book = allocator(*[pool(name, *entries) for name, entries in pools.items()])
    if given is None:
        with pytest.raises(Refused):
            book.allocate(claim(), families)
    else:
        assert texts(book.allocate(claim(), families)) == given


SHARED = {"sharing": "key"}


@pytest.mark.parametrize(
    ("first", "second", "problem"),
    [
        pytest.param(SHARED, SHARED | {"ports": ["TCP/443"]}, None, id="same-key-other-port"),
        pytest.param(SHARED, SHARED | {"ports": ["UDP/80"]}, None, id="same-port-other-protocol"),
        pytest.param(
            SHARED,
            SHARED | {"ports": ["TCP/443"], "namespace": "other"},
            None,
            id="other-namespace",
        ),
        pytest.param(SHARED, SHARED, 'port TCP/80 is already in use on "10.0.0.1"', id="same-port"),
        pytest.param(
            SHARED,
            {"sharing": "another", "ports": ["TCP/443"]},
            'can\'t change sharing key for "default/second", address also in use by default/first',
            id="other-key",
        ),
        pytest.param({}, {"ports": ["TCP/443"]}, "can't change sharing key", id="no-key"),
        pytest.param(
            SHARED,
            SHARED | {"ports": ["TCP/443"], "backend": "app=web"},
            "can't change sharing key",
            id="local-and-cluster-never-mix",
        ),
        pytest.param(
            SHARED | {"backend": "app=web"},
            SHARED | {"backend": "app=web", "ports": ["TCP/443"]},
            None,
            id="local-with-the-same-pods",
        ),
    ],
)
def test_sharing_an_address(first, second, problem):
    book = allocator(pool("a", "10.0.0.1/32"))
    book.assign(claim("first", **first), [ip("10.0.0.1")])
    newcomer = claim("second", **second)
    if problem is None:
        assert texts(book.allocate(newcomer, IPV4)) == ["10.0.0.1"]
        return
    with pytest.raises(Refused) as refusal:
        book.assign(newcomer, [ip("10.0.0.1")])
    assert problem in str(refusal.value)
    assert book.pool_of(newcomer.service) == ""


def test_the_only_user_may_change_its_own_key_and_ports():
    book = allocator(pool("a", "10.0.0.1/32"))
    book.assign(claim("web", sharing="one"), [ip("10.0.0.1")])
    book.assign(claim("web", sharing="two", ports=["TCP/443"]), [ip("10.0.0.1")])
    book.assign(claim("other", sharing="two"), [ip("10.0.0.1")])


def test_an_edited_pool_keeps_covered_addresses_and_releases_the_others():
    book = allocator(pool("a", "10.0.0.1/32", "10.0.0.2/32"))
    book.allocate(claim("stays"), IPV4)
    book.allocate(claim("goes"), IPV4)
    released = book.set_pools({"b": pool("b", "10.0.0.1/32")})
    assert released == ("default/goes",)
    assert book.pool_of("default/stays") == "b"


def test_a_second_family_is_added_from_the_same_pool():
    book = allocator(pool("a", "10.0.0.0/24", "fc00::/120"))
    who = claim()
    book.assign(who, [ip("10.0.0.5")])
    assert str(book.allocate_second(who)) == "fc00::"
    holding = book.holding(who.service)
    assert texts(holding.addresses) == ["10.0.0.5", "fc00::"]


def test_no_second_family_where_the_pool_has_none():
    book = allocator(pool("a", "10.0.0.0/24"), pool("b", "fc00::/120"))
    who = claim()
    book.assign(who, [ip("10.0.0.5")])
    assert book.allocate_second(who) is None


@pytest.mark.parametrize(
    ("entries", "avoid", "size"),
    [
        (["10.0.0.0/24"], False, 256),
        (["10.0.0.0/24"], True, 254),
        (["10.0.0.0/22"], True, 1016),
        (["10.0.0.0/25"], True, 127),
        (["10.0.0.64/26"], True, 64),
        (["10.0.0.0/32"], True, 0),
        (["10.0.0.0/30", "fc00::/126"], False, 8),
        (["fc00::/16"], False, 2**63 - 1),
    ],
)
def test_how_many_addresses_a_pool_offers(entries, avoid, size):
    assert capacity(pool("a", *entries, avoid_buggy_ips=avoid)) == size


def test_a_shared_address_counts_once_as_used():
    book = allocator(pool("a", "10.0.0.0/24"))
    book.allocate(claim("one", **SHARED), IPV4)
    book.allocate(claim("two", **SHARED, ports=["TCP/443"]), IPV4)
    assert book.addresses_in_use("a") == 1
    assert book.addresses_in_use("a", 6) == 0
