"""What a name of the cluster means: pure, from Services and EndpointSlices.

Follows the Kubernetes DNS specification 1.1.0; where that is silent, CoreDNS.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal, Protocol

from todoku.api.meta import Object

TTL_SECONDS = 5
SPEC_VERSION = "1.1.0"
_FAMILY = {"A": "IPv4", "AAAA": "IPv6"}

Kind = Literal["A", "AAAA", "CNAME", "SRV", "PTR", "TXT", "NS", "SOA"]


@dataclass(frozen=True, slots=True)
class Record:
    """One record; names are without the final dot.  `data` is text, and for SRV `priority weight port target`."""

    name: str
    kind: Kind
    data: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What the zone says.  No records and `exists` is NODATA, no records and not `exists` is NXDOMAIN.

    `follow` names a host outside the zone that a CNAME leads to.
    """

    exists: bool = True
    records: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    follow: str = ""


NODATA = Answer()
NXDOMAIN = Answer(exists=False)


class Cluster(Protocol):
    """What a zone reads; never waits."""

    def service(self, namespace: str, name: str) -> Object | None: ...
    def slices(self, namespace: str, name: str) -> Iterable[Object]: ...
    def namespace(self, name: str) -> bool: ...
    def services_at(self, address: str) -> Iterable[Object]: ...
    def slices_at(self, address: str) -> Iterable[Object]: ...


@dataclass(frozen=True, slots=True)
class _Host:
    """A name with an address and a port, of a Service or of one of its endpoints."""

    name: str
    address: str
    port: int
    port_name: str
    protocol: str


class Zone:
    """The names below `origin` (cluster.local) and the reverse names of the cluster's addresses."""

    def __init__(self, cluster: Cluster, origin: str = "cluster.local") -> None:
        self._cluster = cluster
        self.origin = origin.lower().rstrip(".")

    def answer(self, name: str, kind: str) -> Answer | None:
        """What there is for a name (lower case, no final dot); None if it is not the cluster's."""
        if name.endswith((".in-addr.arpa", ".ip6.arpa")):
            return self._reverse(name, kind)
        if name == self.origin:
            return self._apex(kind)
        if not name.endswith("." + self.origin):
            return None
        labels = name[: -len(self.origin) - 1].split(".")
        match labels:
            case ["dns-version"]:
                return _only(kind, Record(name, "TXT", SPEC_VERSION))
            case ["ns", "dns"]:
                return self._name_server(name, kind)
            case ["svc" | "pod" | "dns"]:
                return NODATA
            case [namespace, "svc" | "pod"]:
                return NODATA if self._cluster.namespace(namespace) else NXDOMAIN
            case [host, namespace, "pod"]:
                return self._pod(name, host, namespace, kind)
            case [service, namespace, "svc"]:
                return self._service(name, service, namespace, kind)
            case [port, protocol, service, namespace, "svc"] if port[:1] == protocol[:1] == "_":
                return self._service(
                    name, service, namespace, kind, port=port[1:], protocol=protocol[1:].upper()
                )
            case [endpoint, service, namespace, "svc"]:
                return self._service(name, service, namespace, kind, endpoint=endpoint)
        return NXDOMAIN

    def _apex(self, kind: str) -> Answer:
        if kind == "SOA":
            return Answer(records=(self.soa(),))
        return _only(kind, Record(self.origin, "NS", f"ns.dns.{self.origin}"))

    def soa(self) -> Record:
        """The record that tells how long a denial may be remembered."""
        data = f"ns.dns.{self.origin} hostmaster.{self.origin} 1 7200 1800 86400 {TTL_SECONDS}"
        return Record(self.origin, "SOA", data)

    def _name_server(self, name: str, kind: str) -> Answer:
        service = self._cluster.service("kube-system", "kube-dns")
        addresses = _cluster_ips(service) if service else []
        return _addresses(name, kind, addresses)

    def _pod(self, name: str, host: str, namespace: str, kind: str) -> Answer:
        """10-244-1-5.default.pod: the address in the name, not looked up (as CoreDNS does by default)."""
        address = _dashed(host)
        if address is None or not self._cluster.namespace(namespace):
            return NXDOMAIN
        return _addresses(name, kind, [address])

    def _service(
        self, name: str, service_name: str, namespace: str, kind: str,
        *, port: str = "", protocol: str = "", endpoint: str = "",
    ) -> Answer:  # fmt: skip
        service = self._cluster.service(namespace, service_name)
        if service is None:
            return NXDOMAIN
        if service["spec"].get("type") == "ExternalName":
            return NXDOMAIN if endpoint else self._external(name, service, kind)
        hosts = [
            host
            for host in self._hosts(service, endpoint)
            if (not port or host.port_name == port) and (not protocol or host.protocol == protocol)
        ]
        if not hosts:
            return NXDOMAIN
        if kind == "SRV":
            return self._srv(name, hosts)
        return _addresses(name, kind, [host.address for host in hosts])

    def _external(self, name: str, service: Object, kind: str) -> Answer:
        target = str(service["spec"]["externalName"]).rstrip(".").lower()
        alias = Record(name, "CNAME", target)
        if kind not in _FAMILY:
            return _only(kind, alias)
        inside = self.answer(target, kind)
        if inside is None:
            return Answer(records=(alias,), follow=target)
        return Answer(records=(alias, *inside.records), follow=inside.follow)

    def _srv(self, name: str, hosts: Sequence[_Host]) -> Answer:
        ports = [host for host in hosts if host.port]
        weight = max(100 // max(len(ports), 1), 1)
        records = {
            Record(name, "SRV", f"0 {weight} {host.port} {host.name}"): host for host in ports
        }
        additional = {
            Record(host.name, "AAAA" if ":" in host.address else "A", host.address)
            for host in records.values()
        }
        return Answer(records=tuple(records), additional=tuple(sorted(additional, key=str)))

    def _hosts(self, service: Object, endpoint: str) -> Iterable[_Host]:
        metadata, spec = service["metadata"], service["spec"]
        base = f"{metadata['name']}.{metadata['namespace']}.svc.{self.origin}"
        if spec.get("clusterIP") != "None" and not endpoint:
            for address in _cluster_ips(service):
                for port in spec.get("ports") or [{}]:
                    yield _host(base, address, port)
            return
        for piece in self._cluster.slices(metadata["namespace"], metadata["name"]):
            for item in piece.get("endpoints") or ():
                if (item.get("conditions") or {}).get("ready") is False:
                    continue
                for address in item.get("addresses") or ():
                    label = _endpoint_label(item, address)
                    if endpoint in ("", label):
                        for port in piece.get("ports") or [{}]:
                            yield _host(f"{label}.{base}", address, port)

    def _reverse(self, name: str, kind: str) -> Answer | None:
        address = _reversed(name)
        if address is None:
            return None
        names = [
            f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc.{self.origin}"
            for service in self._cluster.services_at(address)
        ] or list(self._endpoint_names(address))
        if not names:
            return None
        return _only(kind, *(Record(name, "PTR", target) for target in sorted(set(names))))

    def _endpoint_names(self, address: str) -> Iterable[str]:
        """Names of endpoints that have a host name: only those are canonical for their address."""
        for piece in self._cluster.slices_at(address):
            metadata = piece["metadata"]
            service = (metadata.get("labels") or {}).get("kubernetes.io/service-name")
            for item in piece.get("endpoints") or ():
                if service and item.get("hostname") and address in (item.get("addresses") or ()):
                    namespace = metadata["namespace"]
                    yield f"{item['hostname']}.{service}.{namespace}.svc.{self.origin}"


def _host(name: str, address: str, port: Object) -> _Host:
    return _Host(
        name, address, int(port.get("port") or 0), port.get("name") or "",
        port.get("protocol") or "TCP",
    )  # fmt: skip


def _only(kind: str, *records: Record) -> Answer:
    """The records of the kind that was asked for; the name exists either way."""
    return Answer(records=tuple(record for record in records if kind in (record.kind, "ANY")))


def _addresses(name: str, kind: str, addresses: Iterable[str]) -> Answer:
    wanted = [
        Record(name, "AAAA" if ":" in address else "A", address)
        for address in dict.fromkeys(addresses)
    ]
    return _only(kind, *wanted)


def _cluster_ips(service: Object) -> list[str]:
    spec = service["spec"]
    found = spec.get("clusterIPs") or [spec.get("clusterIP")]
    return [address for address in found if address and address != "None"]


def _endpoint_label(item: Object, address: str) -> str:
    return str(item.get("hostname") or address.replace(".", "-").replace(":", "-"))


def _dashed(label: str) -> str | None:
    for separator in (".", ":"):
        try:
            return str(ip_address(label.replace("-", separator)))
        except ValueError:
            continue
    return None


def _reversed(name: str) -> str | None:
    """The address that a name of in-addr.arpa or ip6.arpa stands for (RFC 1035, RFC 3596)."""
    try:
        if name.endswith(".in-addr.arpa"):
            return str(ip_address(".".join(reversed(name[:-13].split(".")))))
        digits = "".join(reversed(name[:-9].split(".")))
        return str(ip_address(":".join(digits[n : n + 4] for n in range(0, 32, 4))))
    except ValueError:
        return None
