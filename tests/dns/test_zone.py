"""What names mean: a table after the Kubernetes DNS specification 1.1.0."""

from collections.abc import Iterable

import pytest

from tests.support.services import endpoint, service, slice_of
from todoku.api.meta import Object
from todoku.dns.zone import NODATA, NXDOMAIN, Zone

HOSTED = endpoint("10.244.1.7") | {"hostname": "db-0"}
SERVICES = [
    service("web", cluster_ip="10.96.0.20", ports=({"port": 8080, "name": "http"}, {"port": 53, "name": "dns", "protocol": "UDP"})),
    service("db", cluster_ip="None", ports=({"port": 5432, "name": "pg"},)),
    service("bare", cluster_ip="None", ports=()),
    service("empty", cluster_ip="None"),
    service("idle", cluster_ip="10.96.0.21"),
    service("both", cluster_ip="10.96.0.22", clusterIPs=["10.96.0.22", "fd00::22"]),
    service("out", cluster_ip="", type="ExternalName", externalName="example.com"),
    service("alias", cluster_ip="", type="ExternalName", externalName="web.default.svc.cluster.local."),
    service("1st", cluster_ip="10.96.0.23"),
]  # fmt: skip
SLICES = [
    slice_of(endpoint("10.244.1.2"), endpoint("10.244.1.3", ready=False), HOSTED, name="db", port=5432, port_name="pg"),
    slice_of(endpoint("10.244.1.9"), name="bare") | {"ports": []},
    slice_of(HOSTED, name="web"),
]  # fmt: skip


class Fixed:
    """A cluster that never changes."""

    def service(self, namespace: str, name: str) -> Object | None:
        found = (s for s in SERVICES if s["metadata"]["name"] == name and namespace == "default")
        return next(found, None)

    def slices(self, namespace: str, name: str) -> Iterable[Object]:
        label = "kubernetes.io/service-name"
        return [piece for piece in SLICES if piece["metadata"]["labels"][label] == name]

    def namespace(self, name: str) -> bool:
        return name in ("default", "kube-system")

    def services_at(self, address: str) -> Iterable[Object]:
        return [s for s in SERVICES if address in s["spec"]["clusterIPs"]]

    def slices_at(self, address: str) -> Iterable[Object]:
        return [p for p in SLICES if any(address in e["addresses"] for e in p["endpoints"])]


ZONE = Zone(Fixed())

FOUND = [
    ("web.default.svc.cluster.local", "A", ["10.96.0.20"]),
    ("1st.default.svc.cluster.local", "A", ["10.96.0.23"]),
    ("idle.default.svc.cluster.local", "A", ["10.96.0.21"]),
    ("both.default.svc.cluster.local", "A", ["10.96.0.22"]),
    ("both.default.svc.cluster.local", "AAAA", ["fd00::22"]),
    ("db.default.svc.cluster.local", "A", ["10.244.1.2", "10.244.1.7"]),
    ("db-0.db.default.svc.cluster.local", "A", ["10.244.1.7"]),
    ("10-244-1-2.db.default.svc.cluster.local", "A", ["10.244.1.2"]),
    ("db-0.web.default.svc.cluster.local", "A", ["10.244.1.7"]),
    ("bare.default.svc.cluster.local", "A", ["10.244.1.9"]),
    ("_http._tcp.web.default.svc.cluster.local", "A", ["10.96.0.20"]),
    ("_http._tcp.web.default.svc.cluster.local", "SRV", ["0 100 8080 web.default.svc.cluster.local"]),
    ("_dns._udp.web.default.svc.cluster.local", "SRV", ["0 100 53 web.default.svc.cluster.local"]),
    (
        "_pg._tcp.db.default.svc.cluster.local",
        "SRV",
        [
            "0 50 5432 10-244-1-2.db.default.svc.cluster.local",
            "0 50 5432 db-0.db.default.svc.cluster.local",
        ],
    ),
    ("out.default.svc.cluster.local", "CNAME", ["example.com"]),
    ("alias.default.svc.cluster.local", "A", ["web.default.svc.cluster.local", "10.96.0.20"]),
    ("10-244-1-5.default.pod.cluster.local", "A", ["10.244.1.5"]),
    ("fd00--5.default.pod.cluster.local", "AAAA", ["fd00::5"]),
    ("20.0.96.10.in-addr.arpa", "PTR", ["web.default.svc.cluster.local"]),
    ("7.1.244.10.in-addr.arpa", "PTR", ["db-0.db.default.svc.cluster.local", "db-0.web.default.svc.cluster.local"]),
    ("dns-version.cluster.local", "TXT", ["1.1.0"]),
    ("cluster.local", "NS", ["ns.dns.cluster.local"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "kind", "data"), FOUND, ids=[f"{n} {k}" for n, k, _ in FOUND])
def test_names_that_exist(name: str, kind: str, data: list[str]) -> None:
    answer = ZONE.answer(name, kind)
    assert answer is not None
    assert [record.data for record in answer.records] == data


NO_DATA = [
    ("web.default.svc.cluster.local", "AAAA"),
    ("web.default.svc.cluster.local", "MX"),
    ("db.default.svc.cluster.local", "AAAA"),
    ("default.svc.cluster.local", "A"),
    ("svc.cluster.local", "A"),
    ("cluster.local", "A"),
    ("10-244-1-5.default.pod.cluster.local", "AAAA"),
    ("20.0.96.10.in-addr.arpa", "A"),
]


@pytest.mark.parametrize(("name", "kind"), NO_DATA)
def test_a_name_without_such_a_record_exists_nevertheless(name: str, kind: str) -> None:
    assert ZONE.answer(name, kind) == NODATA


DENIED = [
    "nothing.default.svc.cluster.local",
    "web.nowhere.svc.cluster.local",
    "nowhere.svc.cluster.local",
    "empty.default.svc.cluster.local",
    "10-244-1-3.db.default.svc.cluster.local",
    "_other._tcp.web.default.svc.cluster.local",
    "_http._udp.web.default.svc.cluster.local",
    "not-an-address.default.pod.cluster.local",
    "10-244-1-5.nowhere.pod.cluster.local",
    "web.default.svc.default.svc.cluster.local",
    "nothing.cluster.local",
]


@pytest.mark.parametrize("name", DENIED)
def test_names_that_do_not_exist(name: str) -> None:
    assert ZONE.answer(name, "A") == NXDOMAIN


@pytest.mark.parametrize(
    "name",
    ["example.com", "local", "notcluster.local", "9.9.9.9.in-addr.arpa", "x.in-addr.arpa", ""],
)
def test_names_of_others_are_left_to_others(name: str) -> None:
    assert ZONE.answer(name, "A") is None


def test_an_external_name_says_where_to_go_on() -> None:
    answer = ZONE.answer("out.default.svc.cluster.local", "A")
    assert answer is not None
    assert answer.follow == "example.com"


def test_srv_brings_the_addresses_of_its_targets() -> None:
    answer = ZONE.answer("_pg._tcp.db.default.svc.cluster.local", "SRV")
    assert answer is not None
    assert {record.data for record in answer.additional} == {"10.244.1.2", "10.244.1.7"}
