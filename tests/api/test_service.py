"""Services as the real server treats them: defaults, transitions, refusals, columns."""

import pytest

from todoku.api.meta import copy
from todoku.api.resources import registry

SERVICES = registry().find("services")


def service(**spec):
    spec.setdefault("ports", [{"port": 8080}])
    return {"metadata": {"name": "web", "namespace": "default"}, "spec": spec}


def created(**spec):
    obj = service(**spec)
    SERVICES.strategy.default(obj)
    SERVICES.strategy.prepare_create(obj)
    return obj


def updated(old, **spec):
    new = service(**spec)
    SERVICES.strategy.default(new)
    SERVICES.strategy.prepare_update(new, old)
    return new


def problems(new, old=None):
    return [str(one) for one in SERVICES.strategy.validate(new, old)]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, {"type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster"}),
        ({}, {"ports": [{"port": 8080, "protocol": "TCP", "targetPort": 8080}], "externalTrafficPolicy": None}),
        ({"type": "NodePort"}, {"externalTrafficPolicy": "Cluster"}),
        ({"type": "LoadBalancer"}, {"allocateLoadBalancerNodePorts": True, "externalTrafficPolicy": "Cluster"}),
        ({"externalIPs": ["1.2.3.4"]}, {"externalTrafficPolicy": "Cluster"}),
        ({"type": "ExternalName"}, {"internalTrafficPolicy": None, "externalTrafficPolicy": None}),
        ({"sessionAffinity": "ClientIP"}, {"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}}}),
        ({"clusterIP": "10.96.0.5"}, {"clusterIPs": ["10.96.0.5"]}),
    ],
)  # fmt: skip
def test_defaults(spec, expected):
    found = created(**spec)["spec"]
    assert {key: found.get(key) for key in expected} == expected


def test_load_balancer_status_gets_an_ip_mode():
    old = created(type="LoadBalancer")
    new = copy(old)
    new["status"] = {"loadBalancer": {"ingress": [{"ip": "192.168.11.136"}, {"hostname": "x.io"}]}}
    SERVICES.strategy.prepare_status(new, old)
    ingress = new["status"]["loadBalancer"]["ingress"]
    assert ingress == [{"ip": "192.168.11.136", "ipMode": "VIP"}, {"hostname": "x.io"}]
    assert SERVICES.strategy.validate_status(new, old) == []


ADDRESSED = {"clusterIP": "10.96.0.5", "clusterIPs": ["10.96.0.5"]}


def test_a_manifest_applied_again_keeps_what_was_allocated():
    ports = [
        {"port": 80, "name": "a", "nodePort": 30001},
        {"port": 81, "name": "b", "nodePort": 30002},
    ]
    old = created(type="NodePort", ports=ports, **ADDRESSED)
    new = updated(
        old, type="NodePort", ports=[{"port": 81, "name": "b"}, {"port": 80, "name": "a"}]
    )
    assert [port["nodePort"] for port in new["spec"]["ports"]] == [30002, 30001]
    assert new["spec"]["clusterIPs"] == ["10.96.0.5"]


def test_leaving_node_port_clears_what_it_brought():
    old = created(type="NodePort", ports=[{"port": 80, "nodePort": 30001}], **ADDRESSED)
    ports = [{"port": 80, "nodePort": 30001}]
    new = updated(old, type="ClusterIP", ports=ports, externalTrafficPolicy="Cluster", **ADDRESSED)
    assert "nodePort" not in new["spec"]["ports"][0]
    assert "externalTrafficPolicy" not in new["spec"]
    assert problems(new, old) == []


def test_becoming_external_name_releases_the_address():
    old = created(ipFamilies=["IPv4"], ipFamilyPolicy="SingleStack", **ADDRESSED)
    new = updated(
        old,
        type="ExternalName",
        externalName="x.io",
        ipFamilies=["IPv4"],
        ipFamilyPolicy="SingleStack",
        **ADDRESSED,
    )
    assert not {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"} & set(new["spec"])
    assert problems(new, old) == []


def test_leaving_load_balancer_clears_its_status():
    old = created(type="LoadBalancer", **ADDRESSED)
    old["status"] = {"loadBalancer": {"ingress": [{"ip": "1.2.3.4", "ipMode": "VIP"}]}}
    new = updated(old, type="ClusterIP")
    assert new["status"]["loadBalancer"] == {}


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"ports": [{"port": 70000}]}, "spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive"),
        ({"ports": []}, "spec.ports: Required value"),
        ({"ports": [{"port": 1}, {"port": 2}]}, "spec.ports[0].name: Required value"),
        ({"ports": [{"port": 1, "name": "a"}, {"port": 2, "name": "a"}]}, 'spec.ports[1].name: Duplicate value: "a"'),
        ({"ports": [{"port": 1, "protocol": "ICMP"}]}, 'spec.ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"'),
        ({"ports": [{"port": 1, "nodePort": 30000}]}, "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"),
        ({"type": "Magic"}, 'spec.type: Unsupported value: "Magic": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"'),
        ({"type": "NodePort", "clusterIP": "None"}, "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"),
        ({"type": "ExternalName"}, "spec.externalName: Required value"),
        ({"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.2"]}, 'spec.clusterIPs: Invalid value: ["10.96.0.2"]: first value must match `clusterIP`'),
        ({"externalTrafficPolicy": "Local"}, 'spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services'),
        ({"loadBalancerSourceRanges": ["10.0.0.0/8"]}, "spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'"),
        ({"externalIPs": ["127.0.0.1"]}, 'spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)'),
        ({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 86401}}}, "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 86401: must be greater than 0 and less than 86400"),
        ({"healthCheckNodePort": 30000}, "spec.healthCheckNodePort: Invalid value: 30000: may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"),
    ],
)  # fmt: skip
def test_refusals(spec, problem):
    assert problem in problems(created(**spec))


def test_all_problems_are_collected():
    found = problems(created(ports=[{"port": 0}, {"port": 99999, "protocol": "x"}]))
    assert len(found) >= 5


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        (ADDRESSED, {"clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"]}, "spec.clusterIPs[0]: Invalid value: [\"10.96.0.9\"]: may not change once set"),
        ({"type": "LoadBalancer", "loadBalancerClass": "a/b", **ADDRESSED}, {"type": "LoadBalancer", "loadBalancerClass": "c/d", **ADDRESSED}, 'spec.loadBalancerClass: Invalid value: "c/d": may not change once set'),
    ],
)  # fmt: skip
def test_what_may_not_change(before, after, problem):
    old = created(**before)
    assert problem in problems(updated(old, **after), old)


@pytest.mark.parametrize(
    ("spec", "status", "cells"),
    [
        ({"clusterIP": "10.96.0.5"}, {}, ["ClusterIP", "10.96.0.5", "<none>", "8080/TCP"]),
        ({"type": "NodePort", "ports": [{"port": 8080, "nodePort": 30080}], "clusterIP": "10.96.0.5"}, {}, ["NodePort", "10.96.0.5", "<none>", "8080:30080/TCP"]),
        ({"type": "LoadBalancer", "clusterIP": "10.96.0.5"}, {}, ["LoadBalancer", "10.96.0.5", "<pending>", "8080/TCP"]),
        ({"type": "LoadBalancer"}, {"loadBalancer": {"ingress": [{"ip": "192.168.11.136"}]}}, ["LoadBalancer", "<none>", "192.168.11.136", "8080/TCP"]),
        ({"type": "ExternalName", "externalName": "x.io", "ports": []}, {}, ["ExternalName", "<none>", "x.io", "<none>"]),
        ({"clusterIP": "None"}, {}, ["ClusterIP", "None", "<none>", "8080/TCP"]),
    ],
)  # fmt: skip
def test_columns(spec, status, cells):
    obj = created(**spec)
    obj["status"] = status
    assert SERVICES.row(obj)[1:5] == cells


def test_names_are_labels_that_may_start_with_a_digit():
    assert SERVICES.name_rule("1web") == []
    assert SERVICES.name_rule("a.b") != []
