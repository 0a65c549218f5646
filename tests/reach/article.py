"""The tutorial's lab as a `World`: three nodes, two hosts outside, three pods on the workers."""

from dataclasses import replace
from typing import Any

from todoku.reach.outcome import Outcome
from todoku.reach.predict import predict
from todoku.reach.probe import Attempt, Tuple5
from todoku.reach.report import Cell, Report
from todoku.reach.targets import Address, At, Source, addresses, machine_sources
from todoku.reach.world import Machine, Route, World

NODES = {"master1": "131", "worker1": "132", "worker2": "133"}
HOSTS = {"rhel8host": "201", "al9host": "202"}
PODS = {
    "httpd-deployment-a": ("10.244.1.2", "worker1.internal"),
    "httpd-deployment-b": ("10.244.1.3", "worker1.internal"),
    "httpd-deployment-c": ("10.244.2.2", "worker2.internal"),
}
LB_IP = "192.168.11.136"


def machine(name: str, *, powered: bool = True, routes: tuple[Route, ...] = ()) -> Machine:
    if name in NODES:
        return Machine(f"{name}.internal", "node", f"192.168.11.{NODES[name]}", powered, routes)
    return Machine(name, "outside", f"192.168.11.{HOSTS[name]}", powered, routes)


def node(name: str) -> dict[str, Any]:
    labels = {"kubernetes.io/hostname": f"{name}.internal"}
    if name == "master1":
        labels["node.kubernetes.io/exclude-from-external-load-balancers"] = ""
    return {"metadata": {"name": f"{name}.internal", "labels": labels}, "spec": {}, "status": {}}


def pod(name: str, ip: str, node_name: str, namespace: str = "service-test") -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": "httpd"}},
        "spec": {"nodeName": node_name, "containers": [{"ports": [{"containerPort": 80}]}]},
        "status": {
            "podIP": ip,
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def service(kind: str = "ClusterIP", **spec: Any) -> dict[str, Any]:
    port = {"port": 8080, "targetPort": 80, "protocol": "TCP"}
    if kind != "ClusterIP":
        port["nodePort"] = 30080
        spec.setdefault("externalTrafficPolicy", "Cluster")
    body: dict[str, Any] = {
        "metadata": {"name": "httpd-service", "namespace": "service-test"},
        "spec": {
            "type": kind,
            "clusterIP": "10.96.7.7",
            "clusterIPs": ["10.96.7.7"],
            "ports": [port],
        },
        "status": {"loadBalancer": {}},
    }
    body["spec"].update(spec)
    return body


def with_ingress(obj: dict[str, Any], ip: str = LB_IP, mode: str = "VIP") -> dict[str, Any]:
    obj["status"] = {"loadBalancer": {"ingress": [{"ip": ip, "ipMode": mode}]}}
    return obj


def endpoint_slice(pods: dict[str, tuple[str, str]] = PODS, **conditions: bool) -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "service-test",
            "name": "httpd-service-x",
            "labels": {"kubernetes.io/service-name": "httpd-service"},
        },
        "addressType": "IPv4",
        "ports": [{"name": "", "port": 80, "protocol": "TCP"}],
        "endpoints": [
            {
                "addresses": [ip],
                "nodeName": where,
                "conditions": {"ready": True, "serving": True, "terminating": False} | conditions,
                "targetRef": {"kind": "Pod", "name": name},
            }
            for name, (ip, where) in pods.items()
        ],
    }


def pool() -> dict[str, Any]:
    return {
        "metadata": {"name": "first-pool", "namespace": "metallb-system"},
        "spec": {"addresses": ["192.168.11.136-192.168.11.139"]},
    }


def advertisement(**spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "default-advertisement", "namespace": "metallb-system"},
        "spec": {"ipAddressPools": ["first-pool"]} | spec,
    }


def world(*services: dict[str, Any], **changes: Any) -> World:
    """The article's world with these Services; `changes` replace fields of `World`."""
    base = World(
        machines=[machine(name) for name in (*NODES, *HOSTS)],
        gateway="drop",
        pod_cidr="10.244.0.0/16",
        service_cidrs=["10.96.0.0/12"],
        nodes=[node(name) for name in NODES],
        pods=[pod(name, ip, where) for name, (ip, where) in PODS.items()],
        services=list(services),
        slices=[endpoint_slice()],
        pools=[pool()],
        l2_advertisements=[advertisement()],
        speakers=frozenset(f"{name}.internal" for name in NODES),
    )
    return replace(base, **changes)


def report(here: World, *, at: tuple[At, ...] = tuple(At), title: str = "") -> Report:
    """A report in which everything happened as predicted, twelve requests a cell, spread evenly."""
    sources = [one for one in machine_sources(here) if one.name in ("master1", *HOSTS)]
    targets = addresses(here, here.services[0], at)
    cells = [_cell(here, source, target) for source in sources for target in targets]
    return Report(title, sources, targets, cells, 0.5)


def _cell(here: World, source: Source, target: Address) -> Cell:
    prediction = predict(here, source, target)
    outcome = sorted(prediction.outcomes)[0]
    if outcome in (Outcome.NOT_APPLICABLE, Outcome.UNKNOWN):
        return Cell(source, target, prediction)
    names = {ip: name for name, (ip, _) in PODS.items()}
    backends = [names[one.partition(":")[0]] for one in sorted(prediction.backends)]
    witness = Tuple5("TCP", source.address, 40000, target.host, target.port)
    attempts = [Attempt(outcome, 0.4, witness if outcome is Outcome.OK else None)] * 12
    return Cell(
        source, target, prediction, attempts, {name: 12 // len(backends) for name in backends}
    )
