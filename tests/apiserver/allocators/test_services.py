"""Cluster addresses and node ports: what a Service gets, keeps, gives back and is refused."""

import copy
import ipaddress

import pytest

from tests.apiserver.objects import FakeObjects
from todoku.api.errors import InternalError, Invalid
from todoku.apiserver.allocators.addresses import ADDRESSES, CIDRS, Addresses, service_cidr_object
from todoku.apiserver.allocators.bands import address_range, port_range
from todoku.apiserver.allocators.ports import Ports
from todoku.apiserver.allocators.repair import repair
from todoku.apiserver.allocators.services import ServiceAddresses

SINGLE, DUAL = ("10.96.0.0/24",), ("10.96.0.0/24", "fd00::/112")


class Cluster:
    """A server's allocators; `pick` returns 0, so that bands are tried from their lower end."""

    def __init__(self, cidrs=SINGLE, ports=(30000, 30063)):
        self.objects = FakeObjects()
        if cidrs:
            self.objects.add(CIDRS, service_cidr_object(cidrs))
        self.addresses = Addresses(self.objects, cidrs, pick=lambda count: 0)
        self.ports = Ports(*ports, pick=lambda count: 0)
        self.allocator = ServiceAddresses(self.addresses, self.ports)

    async def create(self, *, dry_run=False, **spec):
        name = f"s{len(self.objects.list('services'))}"
        service = {"metadata": {"name": name, "namespace": "a"}, "spec": _spec(spec)}
        held = await self.allocator.on_create(service, dry_run=dry_run)
        await held.commit()
        return service if dry_run else self.objects.add("services", service)

    async def update(self, service, **changes):
        new = copy.deepcopy(service)
        for key, value in changes.items():
            if value is None:
                new["spec"].pop(key, None)
            else:
                new["spec"][key] = value
        held = await self.allocator.on_update(new, service, dry_run=False)
        await held.commit()
        return self.objects.add("services", new)

    @property
    def taken(self):
        return sorted(one["metadata"]["name"] for one in self.objects.list(ADDRESSES))


def _spec(spec):
    return {
        "type": "ClusterIP",
        "ports": [{"port": 80, "protocol": "TCP"}],
        "selector": {"a": "b"},
    } | spec


BANDS = {
    "a /16": (address_range(ipaddress.ip_network("10.96.0.0/16")), "10.96.0.1", 65534, 256),
    "a /24": (address_range(ipaddress.ip_network("10.96.0.0/24")), "10.96.0.1", 254, 16),
    "a /28 has no static band": (address_range(ipaddress.ip_network("10.96.0.0/28")), "10.96.0.1", 14, 0),
    "an IPv6 /112": (address_range(ipaddress.ip_network("fd00::/112")), "fd00::1", 65535, 256),
}  # fmt: skip


@pytest.mark.parametrize(("band", "first", "size", "static"), BANDS.values(), ids=BANDS)
def test_bands_of_service_cidrs(band, first, size, static):
    assert band.first == int(ipaddress.ip_address(first))
    assert (band.size, band.static) == (size, static)


def test_the_node_ports_lower_band_ends_at_30085():
    band = port_range(30000, 32767)
    assert (band.first, band.size, band.static) == (30000, 2768, 86)
    order = list(band.candidates(lambda count: 0))
    assert order[0] == 30086
    assert sorted(order) == list(range(30000, 32768))


async def test_a_picked_address_comes_from_the_upper_band_as_an_ip_address_object():
    cluster = Cluster()
    service = await cluster.create()
    assert service["spec"]["clusterIP"] == "10.96.0.17"
    assert service["spec"]["clusterIPs"] == ["10.96.0.17"]
    assert service["spec"]["ipFamilies"] == ["IPv4"]
    assert service["spec"]["ipFamilyPolicy"] == "SingleStack"
    found = cluster.objects.get(ADDRESSES, "10.96.0.17")
    assert found["spec"]["parentRef"] == {
        "group": "", "resource": "services", "namespace": "a", "name": "s0",
    }  # fmt: skip
    assert found["metadata"]["labels"] == {
        "ipaddress.kubernetes.io/ip-family": "IPv4",
        "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
    }


async def test_the_lower_band_is_used_when_the_upper_one_is_full_and_then_nothing_is_left():
    cluster = Cluster(("10.96.0.0/28",))
    for _ in range(14):
        await cluster.create()
    with pytest.raises(InternalError, match="failed to allocate a serviceIP: range is full"):
        await cluster.create()


ADDRESS_ERRORS = {
    "taken": ({"clusterIP": "10.96.0.17"},
              'spec.clusterIPs: Invalid value: ["10.96.0.17"]: failed to allocate IP 10.96.0.17: provided IP is already allocated'),
    "out of range": ({"clusterIP": "10.97.0.1"},
                     "the provided network does not match the current range"),
    "the network address": ({"clusterIP": "10.96.0.0"}, "is not in the valid range"),
    "the broadcast address": ({"clusterIP": "10.96.0.255"}, "is not in the valid range"),
    "no address": ({"clusterIP": "ten"}, "spec.clusterIPs[0]: Invalid value: \"ten\": must be a valid IP address"),
    "plural without singular": ({"clusterIPs": ["10.96.0.9"]}, "must be empty when `clusterIP` is not specified"),
    "the two disagree": ({"clusterIP": "10.96.0.8", "clusterIPs": ["10.96.0.9"]}, "first value must match `clusterIP`"),
    "None with more": ({"clusterIP": "None", "clusterIPs": ["None", "10.96.0.9"]}, "'None' must be the first and only value"),
    "None for a NodePort": ({"clusterIP": "None", "type": "NodePort"}, "may not be set to 'None' for NodePort services"),
    "dual stack demanded": ({"ipFamilyPolicy": "RequireDualStack"}, 'spec.ipFamilyPolicy: Invalid value: "RequireDualStack": this cluster is not configured for dual-stack services'),
    "a family the cluster lacks": ({"ipFamilies": ["IPv6"]}, 'spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster'),
    "an address of such a family": ({"clusterIP": "fd00::1"}, "IPv6 is not configured on this cluster"),
    "two families, one stack": ({"ipFamilies": ["IPv4", "IPv6"]}, "must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified"),
    "a family twice": ({"ipFamilies": ["IPv4", "IPv4"], "ipFamilyPolicy": "PreferDualStack"}, 'spec.ipFamilies[1]: Duplicate value: "IPv4"'),
    "no family": ({"ipFamilies": ["IPX"]}, 'Unsupported value: "IPX": supported values: "IPv4", "IPv6"'),
    "address and family disagree": ({"clusterIP": "10.96.0.9", "ipFamilies": ["IPv6"]}, "expected an IPv6 value as indicated by `ipFamilies[0]`"),
    "an ExternalName with address": ({"type": "ExternalName", "clusterIP": "10.96.0.9"}, "may not be set for ExternalName services"),
}  # fmt: skip


@pytest.mark.parametrize(("spec", "message"), ADDRESS_ERRORS.values(), ids=ADDRESS_ERRORS)
async def test_refused_addresses_leave_nothing_behind(spec, message):
    cluster = Cluster()
    await cluster.create()
    with pytest.raises(Invalid) as caught:
        await cluster.create(**spec)
    assert message in caught.value.message
    assert cluster.taken == ["10.96.0.17"]


FAMILIES = {
    "single by default": (DUAL, {}, "SingleStack", ["IPv4"]),
    "the other one": (DUAL, {"ipFamilies": ["IPv6"]}, "SingleStack", ["IPv6"]),
    "both when preferred": (DUAL, {"ipFamilyPolicy": "PreferDualStack"}, "PreferDualStack", ["IPv4", "IPv6"]),
    "both, v6 first": (DUAL, {"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6"]}, "RequireDualStack", ["IPv6", "IPv4"]),
    "preferred on one stack": (SINGLE, {"ipFamilyPolicy": "PreferDualStack"}, "PreferDualStack", ["IPv4"]),
    "headless": (SINGLE, {"clusterIP": "None"}, "SingleStack", ["IPv4"]),
    "headless without selector": (SINGLE, {"clusterIP": "None", "selector": {}}, "RequireDualStack", ["IPv4", "IPv6"]),
}  # fmt: skip


@pytest.mark.parametrize(("cidrs", "spec", "policy", "families"), FAMILIES.values(), ids=FAMILIES)
async def test_families(cidrs, spec, policy, families):
    cluster = Cluster(cidrs)
    got = (await cluster.create(**spec))["spec"]
    assert (got["ipFamilyPolicy"], got["ipFamilies"]) == (policy, families)
    if "clusterIP" not in spec:
        assert [f"IPv{ipaddress.ip_address(one).version}" for one in got["clusterIPs"]] == families
        assert got["clusterIP"] == got["clusterIPs"][0]
    else:
        assert got["clusterIPs"] == ["None"]
        assert cluster.taken == []


async def test_upgrade_and_downgrade_between_one_and_two_families():
    cluster = Cluster(DUAL)
    service = await cluster.create()
    both = await cluster.update(service, ipFamilyPolicy="RequireDualStack")
    assert len(both["spec"]["clusterIPs"]) == 2
    assert len(cluster.taken) == 2
    one = await cluster.update(both, ipFamilyPolicy="SingleStack")
    assert one["spec"]["clusterIPs"] == service["spec"]["clusterIPs"]
    assert one["spec"]["ipFamilies"] == ["IPv4"]
    assert cluster.taken == service["spec"]["clusterIPs"]


async def test_a_preferring_service_is_not_upgraded_because_the_cluster_gains_a_family():
    cluster = Cluster(SINGLE)
    service = await cluster.create(ipFamilyPolicy="PreferDualStack")
    cluster.objects.add(CIDRS, {"metadata": {"name": "six"}, "spec": {"cidrs": ["fd00::/112"]}})
    assert (await cluster.update(service))["spec"]["ipFamilies"] == ["IPv4"]
    assert len((await cluster.create(ipFamilyPolicy="PreferDualStack"))["spec"]["clusterIPs"]) == 2


UPDATE_ERRORS = {
    "another address": ({"clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"]}, "spec.clusterIPs[0]: Invalid value: [\"10.96.0.9\"]: may not change once set"),
    "headless": ({"clusterIP": "None", "clusterIPs": ["None"]}, "may not change once set"),
    "another family": ({"ipFamilies": ["IPv6"], "clusterIP": None, "clusterIPs": None}, "expected an IPv6 value"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), UPDATE_ERRORS.values(), ids=UPDATE_ERRORS)
async def test_the_primary_address_cannot_change(change, message):
    cluster = Cluster(DUAL)
    service = await cluster.create()
    with pytest.raises(Invalid) as caught:
        await cluster.update(service, **change)
    assert message in caught.value.message
    assert len(cluster.taken) == 1


async def test_applying_a_manifest_again_keeps_what_was_allocated():
    cluster = Cluster()
    service = await cluster.create(type="NodePort", ports=[{"name": "web", "port": 80}])
    spec = service["spec"]
    again = await cluster.update(
        service, clusterIP=None, clusterIPs=None, ports=[{"name": "web", "port": 81}]
    )
    assert again["spec"]["clusterIP"] == spec["clusterIP"]
    assert again["spec"]["ports"][0]["nodePort"] == spec["ports"][0]["nodePort"]


async def test_a_writer_of_only_the_singular_field_is_understood():
    cluster = Cluster(DUAL)
    service = await cluster.create(clusterIP="10.96.0.9")
    assert service["spec"]["clusterIPs"] == ["10.96.0.9"]
    assert (await cluster.update(service, clusterIPs=None))["spec"]["clusterIPs"] == ["10.96.0.9"]


# -- node ports

PORTS = {
    "picked from the upper band": ([{"port": 80}], [30016]),
    "given": ([{"port": 80, "nodePort": 30005}], [30005]),
    "TCP and UDP of one port share": ([{"port": 53}, {"port": 53, "protocol": "UDP"}], [30016, 30016]),
    "sharing the one given later": ([{"port": 53}, {"port": 53, "protocol": "UDP", "nodePort": 30007}], [30007, 30007]),
    "different ports do not share": ([{"port": 80}, {"port": 81}], [30016, 30017]),
}  # fmt: skip


@pytest.mark.parametrize(("ports", "wanted"), PORTS.values(), ids=PORTS)
async def test_node_ports_at_creation(ports, wanted):
    service = await Cluster().create(type="NodePort", ports=ports)
    assert [port["nodePort"] for port in service["spec"]["ports"]] == wanted


async def test_an_added_port_gets_a_number_of_its_own_and_a_removed_one_gives_it_back():
    cluster = Cluster()
    service = await cluster.create(type="NodePort", ports=[{"name": "t", "port": 53}])
    entry = service["spec"]["ports"][0]
    both = await cluster.update(
        service, ports=[entry, {"name": "u", "port": 53, "protocol": "UDP"}]
    )
    assert [port["nodePort"] for port in both["spec"]["ports"]] == [30016, 30017]
    await cluster.update(both, ports=[both["spec"]["ports"][1]])
    assert 30016 not in cluster.ports
    assert 30017 in cluster.ports


PORT_ERRORS = {
    "taken": ({"nodePort": 30016}, 'spec.ports[0].nodePort: Invalid value: 30016: provided port is already allocated'),
    "out of range": ({"nodePort": 80}, "provided port is not in the valid range. The range of valid ports is 30000-30063"),
}  # fmt: skip


@pytest.mark.parametrize(("port", "message"), PORT_ERRORS.values(), ids=PORT_ERRORS)
async def test_refused_node_ports(port, message):
    cluster = Cluster()
    await cluster.create(type="NodePort")
    with pytest.raises(Invalid) as caught:
        await cluster.create(type="NodePort", ports=[{"port": 80} | port])
    assert message in caught.value.message
    assert cluster.taken == ["10.96.0.17"], "the address was given back"


async def test_a_full_range_of_ports_is_the_servers_fault():
    cluster = Cluster(ports=(30000, 30001))
    await cluster.create(type="NodePort", ports=[{"port": 1}, {"port": 2}])
    with pytest.raises(InternalError, match="failed to allocate a nodePort: range is full"):
        await cluster.create(type="NodePort")


BALANCERS = {
    "a port on every node": ({}, [30016], None),
    "no ports wanted": ({"allocateLoadBalancerNodePorts": False}, [None], None),
    "no ports wanted, one written": ({"allocateLoadBalancerNodePorts": False, "ports": [{"port": 80, "nodePort": 30003}]}, [30003], None),
    "a health check port when Local": ({"externalTrafficPolicy": "Local"}, [30016], 30017),
    "a given one": ({"externalTrafficPolicy": "Local", "healthCheckNodePort": 30009}, [30016], 30009),
}  # fmt: skip


@pytest.mark.parametrize(("spec", "ports", "health"), BALANCERS.values(), ids=BALANCERS)
async def test_load_balancers(spec, ports, health):
    cluster = Cluster()
    service = await cluster.create(type="LoadBalancer", **spec)
    assert [port.get("nodePort") for port in service["spec"]["ports"]] == ports
    assert service["spec"].get("healthCheckNodePort") == health
    await cluster.allocator.on_delete(service)
    assert not any(port in cluster.ports for port in range(30000, 30064))
    assert cluster.taken == []


async def test_a_taken_health_check_port_is_the_servers_fault():
    cluster = Cluster()
    await cluster.create(type="NodePort", ports=[{"port": 80, "nodePort": 30009}])
    with pytest.raises(
        InternalError, match="failed to allocate requested HealthCheck NodePort 30009"
    ):
        await cluster.create(
            type="LoadBalancer", externalTrafficPolicy="Local", healthCheckNodePort=30009
        )


async def test_becoming_an_external_name_gives_everything_back():
    cluster = Cluster()
    service = await cluster.create(type="NodePort")
    changed = await cluster.update(
        service,
        type="ExternalName",
        clusterIP=None,
        clusterIPs=None,
        ipFamilies=None,
        ipFamilyPolicy=None,
        ports=[],
    )
    assert cluster.taken == []
    assert 30016 not in cluster.ports
    back = await cluster.update(changed, type="ClusterIP")
    assert back["spec"]["clusterIP"] == "10.96.0.17"


async def test_a_dry_run_keeps_nothing_and_shows_the_base_of_the_range():
    cluster = Cluster()
    service = await cluster.create(dry_run=True, type="NodePort")
    assert service["spec"]["clusterIP"] == "10.96.0.0"
    assert cluster.taken == []
    assert 30016 not in cluster.ports
    await cluster.create()
    with pytest.raises(Invalid, match="already allocated"):
        await cluster.create(dry_run=True, clusterIP="10.96.0.17")


async def test_a_failed_write_gives_everything_back():
    cluster = Cluster()
    service = {"metadata": {"name": "s", "namespace": "a"}, "spec": _spec({"type": "NodePort"})}
    held = await cluster.allocator.on_create(service, dry_run=False)
    assert cluster.taken == ["10.96.0.17"]
    await held.rollback()
    assert cluster.taken == []
    assert 30016 not in cluster.ports


async def test_addresses_come_from_ready_ranges_only():
    cluster = Cluster()
    cluster.objects.add(
        CIDRS,
        {"metadata": {"name": "b", "creationTimestamp": "2026"}, "spec": {"cidrs": ["10.99.0.0/24"]},
         "status": {"conditions": [{"type": "Ready", "status": "False"}]}},
    )  # fmt: skip
    with pytest.raises(Invalid, match="does not match the current range"):
        await cluster.create(clusterIP="10.99.0.5")
    cluster.objects.add(CIDRS, {"metadata": {"name": "b"}, "spec": {"cidrs": ["10.99.0.0/24"]}})
    assert (await cluster.create(clusterIP="10.99.0.5"))["spec"]["clusterIP"] == "10.99.0.5"


async def test_repair_at_start_restores_what_the_services_say():
    cluster = Cluster()
    stored = [
        ("lost", {"clusterIP": "10.96.0.20", "ports": [{"port": 1, "nodePort": 30003}]}),
        ("same", {"clusterIP": "10.96.0.20", "ports": [{"port": 1, "nodePort": 30003}]}),
        ("far", {"clusterIP": "10.1.0.1", "ports": [{"port": 1, "nodePort": 99}]}),
    ]
    for name, spec in stored:
        cluster.objects.add(
            "services", {"metadata": {"name": name, "namespace": "a"}, "spec": spec}
        )
    await cluster.addresses.take("10.96.0.30", {"metadata": {"name": "gone", "namespace": "a"}})
    findings = await repair(cluster.objects, cluster.addresses, cluster.ports, lambda: 0.0)
    assert cluster.taken == ["10.96.0.20"]
    assert 30003 in cluster.ports
    got = {(one.service["metadata"]["name"], one.reason) for one in findings}
    assert got == {
        ("lost", "ClusterIPNotAllocated"),
        ("same", "ClusterIPAlreadyAllocated"),
        ("same", "PortAlreadyAllocated"),
        ("far", "ClusterIPOutOfRange"),
        ("far", "PortOutOfRange"),
    }
    events = {one["reason"] for one in cluster.objects.list("events")}
    assert events == {reason for _, reason in got}
