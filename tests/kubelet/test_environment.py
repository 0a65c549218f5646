import pytest

from todoku.api.images import ImageConfig
from todoku.kubelet.environment import ConfigError, Facts, command, environment, expand

POD = {
    "metadata": {"name": "web-1", "namespace": "shop", "uid": "u1", "labels": {"b": "2", "a": 'x"y'}},
    "spec": {"nodeName": "n1", "serviceAccountName": "sa", "containers": [
        {"name": "main", "resources": {"requests": {"memory": "10Mi"}, "limits": {"cpu": "1500m"}}}]},
}  # fmt: skip
MAIN = POD["spec"]["containers"][0]


def facts(**more):
    return Facts(pod=POD, pod_ips=("10.1.0.5", "fd00::5"), host_ips=("192.168.0.1",), **more)


@pytest.mark.parametrize(("text", "expected"), [
    ("plain", "plain"), ("$(A)", "1"), ("$(A)$(B)", "12"), ("$$(A)", "$(A)"), ("$$$(A)", "$1"), ("$(C)", "$(C)"),
    ("$A", "$A"), ("$(", "$("), ("100$", "100$"), ("$(A", "$(A"),
])  # fmt: skip
def test_references_are_expanded_as_upstream_does(text, expected):
    assert expand(text, {"A": "1", "B": "2"}) == expected


@pytest.mark.parametrize(("path", "expected"), [
    ("metadata.name", "web-1"), ("metadata.namespace", "shop"), ("metadata.uid", "u1"), ("spec.nodeName", "n1"),
    ("spec.serviceAccountName", "sa"), ("status.hostIP", "192.168.0.1"), ("status.podIP", "10.1.0.5"),
    ("status.podIPs", "10.1.0.5,fd00::5"), ("metadata.labels['b']", "2"), ("metadata.labels['none']", ""),
    ("metadata.labels", 'a="x\\"y"\nb="2"'),
])  # fmt: skip
def test_fields_of_the_pod(path, expected):
    spec = MAIN | {"env": [{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": path}}}]}
    assert environment(spec, facts())["X"] == expected


@pytest.mark.parametrize(("resource", "divisor", "expected"), [
    ("limits.cpu", None, "2"), ("limits.cpu", "1m", "1500"), ("requests.cpu", "1m", "1500"),
    ("requests.memory", "1Mi", "10"), ("limits.memory", "1Ki", "2048"),
])  # fmt: skip
def test_resources_of_the_container_round_up_and_fall_back(resource, divisor, expected):
    reference = {"resource": resource} | ({"divisor": divisor} if divisor else {})
    spec = MAIN | {"env": [{"name": "X", "valueFrom": {"resourceFieldRef": reference}}]}
    assert environment(spec, facts(node_allocatable={"memory": "2Mi"}))["X"] == expected


def test_later_sources_overrule_earlier_ones_and_may_refer_to_them():
    spec = {
        "name": "c",
        "envFrom": [{"configMapRef": {"name": "m"}, "prefix": "P_"}, {"secretRef": {"name": "s"}}],
        "env": [{"name": "K", "value": "own-$(P_A)"}, {"name": "L", "value": "$(M)"}, {"name": "M", "value": "1"}],
    }  # fmt: skip
    found = environment(
        spec, facts(config_maps={"m": {"A": "a", "not a name": "x"}}, secrets={"s": {"K": b"k"}})
    )
    assert found == {"P_A": "a", "K": "own-a", "L": "$(M)", "M": "1"}


@pytest.mark.parametrize(("source", "problem"), [
    ({"configMapKeyRef": {"name": "m", "key": "a"}}, 'configmap "m" not found'),
    ({"secretKeyRef": {"name": "s", "key": "a"}}, 'secret "s" not found'),
    ({"configMapKeyRef": {"name": "there", "key": "a"}}, "couldn't find key a in ConfigMap shop/there"),
])  # fmt: skip
def test_what_is_missing_is_named_unless_it_is_optional(source, problem):
    known = facts(config_maps={"there": {}, "m": None}, secrets={"s": None})
    spec = {"name": "c", "env": [{"name": "X", "valueFrom": source}]}
    with pytest.raises(ConfigError, match=problem):
        environment(spec, known)
    optional = {kind: reference | {"optional": True} for kind, reference in source.items()}
    assert environment({"name": "c", "env": [{"name": "X", "valueFrom": optional}]}, known) == {}


def service(name, namespace, address, *ports):
    return {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"clusterIP": address, "ports": list(ports)},
    }


def test_services_of_the_namespace_become_variables():
    services = [
        service("my-db", "shop", "10.96.0.7", {"port": 5432, "name": "pg"}),
        service("other", "elsewhere", "10.96.0.8", {"port": 1}),
        service("headless", "shop", "None", {"port": 1}),
        service("kubernetes", "default", "10.96.0.1", {"port": 443, "protocol": "TCP"}),
    ]
    found = environment({"name": "c"}, facts(services=services))
    assert found["MY_DB_SERVICE_HOST"] == "10.96.0.7"
    assert found["MY_DB_SERVICE_PORT_PG"] == "5432"
    assert found["MY_DB_PORT_5432_TCP_ADDR"] == "10.96.0.7"
    assert found["KUBERNETES_PORT"] == "tcp://10.96.0.1:443"
    assert not [name for name in found if name.startswith(("OTHER", "HEADLESS"))]


IMAGE = ImageConfig(entrypoint=("/entry",), cmd=("default",))


@pytest.mark.parametrize(("spec", "expected"), [
    ({}, ["/entry", "default"]),
    ({"args": ["a"]}, ["/entry", "a"]),
    ({"command": ["c"]}, ["c"]),
    ({"command": ["c"], "args": ["$(X)"]}, ["c", "1"]),
])  # fmt: skip
def test_command_and_arguments_replace_those_of_the_image(spec, expected):
    assert command({"name": "c"} | spec, IMAGE, {"X": "1"}) == expected


def test_without_any_command_nothing_can_run():
    with pytest.raises(ConfigError):
        command({"name": "c"}, ImageConfig(), {})
