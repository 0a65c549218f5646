"""The lab file: YAML to `Topology`.  Every problem is collected, with its line, field and remedy."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml

from todoku.lab.topology import (
    CONTROL_PLANE_LABELS,
    CONTROL_PLANE_TAINT,
    GATEWAY,
    LAN,
    Host,
    Node,
    Share,
    Taint,
    Topology,
)

API_VERSION: Final = "todoku.dev/v1"
DEFAULT_NAME: Final = "default"

DEFAULT: Final = """\
# A Todoku lab.  `todoku up -f FILE` starts it; fields left out have the values shown here.
apiVersion: todoku.dev/v1
kind: Lab
name: default

# The LAN that joins all machines.  Every machine has its default route through the gateway.
lan:
  cidr: 192.168.11.0/24
  gateway: 192.168.11.1
# What the gateway does with what it cannot deliver: drop (silence), reject (ICMP), or none (no gateway:
# hosts have no default route; nodes keep theirs, which ClusterIPs need, but nobody answers).
gateway: drop

# The cluster.  The first control-plane node carries the API server.
# A node may also have `labels:` (a mapping) and `taints:` (a list of key, value, effect).
nodes:
  - name: master1.internal
    address: 192.168.11.131
    role: control-plane
  - name: worker1.internal
    address: 192.168.11.132
  - name: worker2.internal
    address: 192.168.11.133

# Machines on the LAN outside the cluster.  `routes:` adds routes, each a prefix and the address it goes through:
#   routes: {10.96.0.0/12: 192.168.11.132}   # through worker1, and ClusterIPs answer out there, too
hosts:
  - name: rhel8host
    address: 192.168.11.201
  - name: al9host
    address: 192.168.11.202

podCIDR: 10.244.0.0/16
serviceCIDR: 10.96.0.0/12

# lab: a power cut is noticed within seconds; kubernetes: the real defaults (40 s, and 5 min to evict).
timings: lab

# images:
#   order: [store, registry, recipe]   # where to look for an image, first to last
# shares:                              # folders of this machine that a hostPath finds on every node
#   - {path: /srv/data, at: /mnt/data, readOnly: true}
"""

IMAGE_SOURCES: Final = ("store", "registry", "recipe")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LAB_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?")
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a lab file; `line` counts from 1."""

    line: int
    field: str
    message: str

    def render(self, file: str) -> str:
        return f"{file}:{self.line}: {self.field + ': ' if self.field else ''}{self.message}"


class LabFileError(ValueError):
    """A lab file that cannot be used; nothing was changed."""

    def __init__(self, file: str, problems: list[Problem]) -> None:
        super().__init__("\n".join(problem.render(file) for problem in problems))
        self.file = file
        self.problems = problems


def parse(text: str, file: str = "lab.yaml", *, name: str = "") -> Topology:
    """Read a lab file; `name` overrides the lab's name.  Raises LabFileError with all problems."""
    reader = _Reader()
    topology = _topology(reader, _compose(text, file), name)
    if reader.problems or topology is None:
        raise LabFileError(file, sorted(reader.problems, key=lambda problem: problem.line))
    return topology


def valid_name(name: str) -> bool:
    """Whether this can be a lab's name (it names folders)."""
    return bool(_LAB_NAME.fullmatch(name))


def default(name: str = DEFAULT_NAME) -> Topology:
    """The article's topology."""
    return parse(DEFAULT, "(built in)", name=name)


def _compose(text: str, file: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise LabFileError(file, [Problem(line, "", f"not YAML: {error.problem}")]) from error
    except yaml.YAMLError as error:
        raise LabFileError(file, [Problem(1, "", f"not YAML: {error}")]) from error


class _Reader:
    """Reads nodes of the YAML tree and collects what is wrong with them."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.lines: dict[str, int] = {}

    def problem(self, where: yaml.Node | int, field: str, message: str) -> None:
        line = where if isinstance(where, int) else where.start_mark.line + 1
        self.problems.append(Problem(line, field, message))

    def mapping(
        self, node: yaml.Node | None, field: str, allowed: tuple[str, ...]
    ) -> dict[str, yaml.Node]:
        """The fields of a mapping; unknown and repeated ones are problems."""
        if node is None:
            return {}
        if not isinstance(node, yaml.MappingNode):
            self.problem(node, field, f"must be a mapping with {_list(allowed)}")
            return {}
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = str(key.value)
            path = f"{field}.{name}" if field else name
            if name not in allowed:
                self.problem(key, path, f"unknown field; known are {_list(allowed)}")
            elif name in found:
                self.problem(key, path, "given twice; remove one")
            else:
                found[name] = value
                self.lines[path] = key.start_mark.line + 1
        return found

    def items(self, node: yaml.Node | None, field: str) -> Iterator[tuple[str, yaml.Node]]:
        """The (path, node) of each element of a list."""
        if node is None or (isinstance(node, yaml.ScalarNode) and node.tag.endswith(":null")):
            return
        if not isinstance(node, yaml.SequenceNode):
            self.problem(node, field, "must be a list")
            return
        for number, item in enumerate(node.value):
            yield f"{field}[{number}]", item

    def text(self, node: yaml.Node | None, field: str, default: str = "") -> str:
        if node is None:
            return default
        if not isinstance(node, yaml.ScalarNode):
            self.problem(node, field, "must be a text")
            return default
        self.lines.setdefault(field, node.start_mark.line + 1)
        return str(node.value)

    def choice(
        self, node: yaml.Node | None, field: str, choices: tuple[str, ...], default: str
    ) -> Any:
        value = self.text(node, field, default)
        if value not in choices:
            assert node is not None  # a default is one of the choices
            self.problem(node, field, f'"{value}" is unknown; use {_list(choices, "or")}')
            return default
        return value

    def flag(self, node: yaml.Node | None, field: str) -> bool:
        value = self.text(node, field, "false")
        if value not in ("true", "false"):
            assert node is not None
            self.problem(node, field, f'"{value}" must be true or false')
        return value == "true"

    def parsed(
        self, node: yaml.Node, field: str, text: str, parse: Callable[[str], Any], what: str
    ) -> Any:
        try:
            return parse(text)
        except ValueError:
            self.problem(node, field, f'"{text}" is not {what}')
            return None

    def strings(self, node: yaml.Node | None, field: str) -> dict[str, str]:
        """A mapping of texts to texts."""
        if node is None:
            return {}
        if not isinstance(node, yaml.MappingNode):
            self.problem(node, field, "must be a mapping, as {key: value}")
            return {}
        return {
            str(key.value): self.text(value, f"{field}.{key.value}") for key, value in node.value
        }


_TOP = (
    "apiVersion",
    "kind",
    "name",
    "lan",
    "gateway",
    "nodes",
    "hosts",
    "podCIDR",
    "serviceCIDR",
    "timings",
    "images",
    "shares",
)


def _topology(reader: _Reader, root: yaml.Node | None, override: str) -> Topology | None:
    top = reader.mapping(root, "", _TOP)
    reader.choice(top.get("apiVersion"), "apiVersion", (API_VERSION,), API_VERSION)
    reader.choice(top.get("kind"), "kind", ("Lab",), "Lab")
    lan_fields = reader.mapping(top.get("lan"), "lan", ("cidr", "gateway"))
    lan = _network(reader, lan_fields.get("cidr"), "lan.cidr", "192.168.11.0/24")
    pods = _network(reader, top.get("podCIDR"), "podCIDR", "10.244.0.0/16")
    services = _network(reader, top.get("serviceCIDR"), "serviceCIDR", "10.96.0.0/12")
    if lan is None or pods is None or services is None:
        _nodes(reader, top.get("nodes"), None)
        return None
    _check_networks(reader, lan, pods, services)
    gateway = _address(reader, lan_fields.get("gateway"), "lan.gateway", lan, str(lan[1]))
    nodes = _nodes(reader, top.get("nodes"), lan)
    hosts = _hosts(reader, top.get("hosts"), lan)
    _check_unique(reader, gateway, nodes, hosts)
    if nodes and not any(node.role == "control-plane" for node in nodes):
        reader.problem(
            reader.lines.get("nodes", 1),
            "nodes",
            "no node has role control-plane; give it to the one that shall carry the API server",
        )
    if not nodes:
        reader.problem(reader.lines.get("nodes", 1), "nodes", "a lab needs at least one node")
    return Topology(
        name=override or _lab_name(reader, top.get("name")),
        lan=str(lan),
        gateway_address=gateway,
        gateway=reader.choice(top.get("gateway"), "gateway", ("drop", "reject", "none"), "drop"),
        nodes=nodes,
        hosts=hosts,
        pod_cidr=str(pods),
        service_cidr=str(services),
        timings=reader.choice(top.get("timings"), "timings", ("lab", "kubernetes"), "lab"),
        image_order=_images(reader, top.get("images")),
        shares=_shares(reader, top.get("shares")),
    )


def _lab_name(reader: _Reader, node: yaml.Node | None) -> str:
    name = reader.text(node, "name", DEFAULT_NAME)
    if not _LAB_NAME.fullmatch(name):
        assert node is not None
        reader.problem(
            node, "name", f'"{name}" must be at most 32 lower-case letters, digits and hyphens'
        )
    return name


def _network(
    reader: _Reader, node: yaml.Node | None, field: str, default: str
) -> ipaddress.IPv4Network | None:
    text = reader.text(node, field, default)
    if node is None:
        return ipaddress.IPv4Network(text)
    example = f'an IPv4 range such as "{default}"'
    network: ipaddress.IPv4Network | None = reader.parsed(
        node, field, text, lambda value: ipaddress.IPv4Network(value, strict=False), example
    )
    if network is None:
        return None
    if "/" not in text or str(network) != text:
        reader.problem(node, field, f'"{text}" has bits outside its prefix; write "{network}"')
    return network


def _check_networks(
    reader: _Reader,
    lan: ipaddress.IPv4Network,
    pods: ipaddress.IPv4Network,
    services: ipaddress.IPv4Network,
) -> None:
    ranges = [("lan.cidr", lan), ("podCIDR", pods), ("serviceCIDR", services)]
    for index, (field, network) in enumerate(ranges):
        for other, wider in ranges[:index]:
            if network.overlaps(wider):
                line = reader.lines.get(field, reader.lines.get(other, 1))
                reader.problem(
                    line, field, f"{network} overlaps {other} {wider}; choose ranges apart"
                )
    if lan.prefixlen > 29:
        reader.problem(
            reader.lines.get("lan.cidr", 1), "lan.cidr", f"{lan} is too small; use /29 or wider"
        )
    if pods.prefixlen > 23:
        reader.problem(
            reader.lines.get("podCIDR", 1),
            "podCIDR",
            f"{pods} holds no /24 for each node; use /23 or wider",
        )
    if not 12 <= services.prefixlen <= 27:
        reader.problem(
            reader.lines.get("serviceCIDR", 1), "serviceCIDR", f"{services} must be a /12 to a /27"
        )


def _address(
    reader: _Reader,
    node: yaml.Node | None,
    field: str,
    lan: ipaddress.IPv4Network | None,
    default: str,
) -> str:
    text = reader.text(node, field, default)
    if node is None:
        return text
    address = reader.parsed(node, field, text, ipaddress.IPv4Address, "an IPv4 address")
    if address is None or lan is None:
        return text
    if address not in lan:
        reader.problem(node, field, f'"{text}" is outside lan.cidr {lan}')
    elif address in (lan.network_address, lan.broadcast_address):
        reader.problem(node, field, f'"{text}" is the network or broadcast address of {lan}')
    return str(address)


def _machine(
    reader: _Reader,
    item: yaml.Node,
    field: str,
    allowed: tuple[str, ...],
    lan: ipaddress.IPv4Network | None,
) -> tuple[str, str, dict[str, yaml.Node]]:
    fields = reader.mapping(item, field, allowed)
    for required in ("name", "address"):
        if required not in fields:
            reader.problem(item, f"{field}.{required}", "is required")
    name = reader.text(fields.get("name"), f"{field}.name")
    if "name" in fields and not _valid_machine_name(name):
        reader.problem(
            fields["name"],
            f"{field}.name",
            f'"{name}" must be a DNS name of lower-case letters, digits and hyphens,'
            f" its first part at most 11 characters and not {GATEWAY} or {LAN}",
        )
    return name, _address(reader, fields.get("address"), f"{field}.address", lan, ""), fields


def _valid_machine_name(name: str) -> bool:
    short = name.partition(".")[0]
    return (
        bool(_NAME.fullmatch(name))
        and len(name) <= 63
        and len(short) <= 11
        and short not in (GATEWAY, LAN)
    )


_DEFAULT_NODES = (
    Node(
        "master1.internal",
        "192.168.11.131",
        "control-plane",
        CONTROL_PLANE_LABELS,
        (CONTROL_PLANE_TAINT,),
    ),
    Node("worker1.internal", "192.168.11.132"),
    Node("worker2.internal", "192.168.11.133"),
)
_DEFAULT_HOSTS = (Host("rhel8host", "192.168.11.201"), Host("al9host", "192.168.11.202"))
_DEFAULT_LAN = ipaddress.IPv4Network("192.168.11.0/24")


def _nodes(
    reader: _Reader, node: yaml.Node | None, lan: ipaddress.IPv4Network | None
) -> tuple[Node, ...]:
    if node is None:
        return _DEFAULT_NODES if lan == _DEFAULT_LAN else ()
    nodes = []
    for field, item in reader.items(node, "nodes"):
        allowed = ("name", "address", "role", "labels", "taints")
        name, address, fields = _machine(reader, item, field, allowed, lan)
        role = reader.choice(
            fields.get("role"), f"{field}.role", ("control-plane", "worker"), "worker"
        )
        implied = CONTROL_PLANE_LABELS if role == "control-plane" else {}
        taints: tuple[Taint, ...] = (CONTROL_PLANE_TAINT,) if role == "control-plane" else ()
        if "taints" in fields:
            taints = tuple(_taints(reader, fields["taints"], f"{field}.taints"))
        labels = {**implied, **reader.strings(fields.get("labels"), f"{field}.labels")}
        nodes.append(Node(name, address, role, labels, taints))
    return tuple(nodes)


def _taints(reader: _Reader, node: yaml.Node, field: str) -> Iterator[Taint]:
    for path, item in reader.items(node, field):
        fields = reader.mapping(item, path, ("key", "value", "effect"))
        key = reader.text(fields.get("key"), f"{path}.key")
        if not key:
            reader.problem(item, f"{path}.key", "is required")
        effect = reader.choice(fields.get("effect"), f"{path}.effect", _EFFECTS, "NoSchedule")
        yield Taint(key, effect, reader.text(fields.get("value"), f"{path}.value"))


def _hosts(reader: _Reader, node: yaml.Node | None, lan: ipaddress.IPv4Network) -> tuple[Host, ...]:
    if node is None:
        return _DEFAULT_HOSTS if lan == _DEFAULT_LAN else ()
    hosts = []
    for field, item in reader.items(node, "hosts"):
        name, address, fields = _machine(reader, item, field, ("name", "address", "routes"), lan)
        routes = reader.strings(fields.get("routes"), f"{field}.routes")
        for prefix, via in routes.items():
            where = f"{field}.routes.{prefix}"
            reader.parsed(fields["routes"], where, prefix, ipaddress.IPv4Network, "an IPv4 range")
            reader.parsed(fields["routes"], where, via, ipaddress.IPv4Address, "an IPv4 address")
        hosts.append(Host(name, address, routes))
    return tuple(hosts)


def _check_unique(
    reader: _Reader, gateway: str, nodes: tuple[Node, ...], hosts: tuple[Host, ...]
) -> None:
    machines: list[tuple[str, Node | Host]] = [
        (f"nodes[{number}]", node) for number, node in enumerate(nodes)
    ]
    machines += [(f"hosts[{number}]", host) for number, host in enumerate(hosts)]
    addresses, names = {gateway: "the gateway"}, dict[str, str]()
    for field, machine in machines:
        if machine.address and machine.address in addresses:
            reader.problem(
                reader.lines.get(f"{field}.address", 1),
                f"{field}.address",
                f'"{machine.address}" is already the address of {addresses[machine.address]}; use another',
            )
        addresses.setdefault(machine.address, machine.name)
        if machine.name and machine.short in names:
            reader.problem(
                reader.lines.get(f"{field}.name", 1),
                f"{field}.name",
                f'"{machine.name}" and "{names[machine.short]}" share the short name'
                f' "{machine.short}"; rename one',
            )
        names.setdefault(machine.short, machine.name)


def _images(reader: _Reader, node: yaml.Node | None) -> tuple[str, ...]:
    fields = reader.mapping(node, "images", ("order",))
    order = [
        reader.choice(item, path, IMAGE_SOURCES, "store")
        for path, item in reader.items(fields.get("order"), "images.order")
    ]
    if len(set(order)) != len(order):
        reader.problem(fields["order"], "images.order", "names a source twice")
    return tuple(order)


def _shares(reader: _Reader, node: yaml.Node | None) -> tuple[Share, ...]:
    shares = []
    for field, item in reader.items(node, "shares"):
        fields = reader.mapping(item, field, ("path", "at", "readOnly"))
        path = reader.text(fields.get("path"), f"{field}.path")
        at = reader.text(fields.get("at"), f"{field}.at", path)
        for name, value in (("path", path), ("at", at)):
            if not value.startswith("/") or ".." in value.split("/"):
                reader.problem(
                    fields.get(name, item), f"{field}.{name}", "must be an absolute path"
                )
        shares.append(Share(path, at, reader.flag(fields.get("readOnly"), f"{field}.readOnly")))
    return tuple(shares)


def _list(words: tuple[str, ...], last: str = "and") -> str:
    return ", ".join(words[:-1]) + f" {last} {words[-1]}" if len(words) > 1 else words[0]
